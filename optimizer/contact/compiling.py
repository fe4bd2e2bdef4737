"""The limits of a campaign file, compiled for its catalog, in the order in which the first cause stands."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from optimizer.contact.facts import COUNTED
from optimizer.contact.limits import Calendar, Chosen, Following, Ignored, Key, Limit, Rolling
from optimizer.contact.periods import Period
from optimizer.contact.policy import Cap, ContactPolicy
from optimizer.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from optimizer.campaign import CampaignFile
    from optimizer.catalog import Catalog
    from optimizer.contact.policy import Cooldown, MessageCap, Scope

_MICROSECOND = timedelta(microseconds=1)


class Compiler:
    """Compiles the limits of one campaign version.

    Attributes:
        channels: the channels that its limits know, in the order of their numbers: the catalog's, then others that they
            name.
        events: the names of the events that its cooldowns follow, in the order of their numbers.
    """

    def __init__(self, campaign: CampaignFile, catalog: Catalog) -> None:
        self._catalog = catalog
        self._policy = campaign.contact_policy or ContactPolicy()
        settings = campaign.campaign
        self._zone = settings.timezone.fallback or (settings.schedule.timezone if settings.schedule else None)
        own = [channel.id for channel in catalog.channels]
        capped = [channel for cap in self._policy.caps for channel in cap.channels or ()]
        apart = self._policy.min_gap.channels if self._policy.min_gap else ()
        self.channels: tuple[str, ...] = tuple(dict.fromkeys([*own, *capped, *apart]))
        followed = (cooldown.after.event for cooldown in self._policy.cooldowns)
        self.events: tuple[str, ...] = tuple(dict.fromkeys(name for name in followed if name is not None))

    def limits(self) -> Iterator[Limit]:
        """Cooldowns, then caps, then gaps."""
        for cooldown in self._policy.cooldowns:
            yield self._cooldown(cooldown)
        for cap in self._policy.caps:
            yield self._cap(cap, self._chosen(cap.scope, cap.counts, cap.channels or ()), self._keys(cap.scope, cap))
        for place, message in enumerate(self._catalog.messages):
            keys = np.where(self._catalog.message_of == place, place, -1)
            for each in message.caps:
                yield self._cap(each, self._chosen("message", each.counts), keys)
        gap = self._policy.min_gap
        if gap is not None and gap.overall is not None:
            yield Limit(
                Reason.MIN_GAP,
                self._chosen("all_campaigns", "sent"),
                Rolling(1, gap.overall // _MICROSECOND),
                self._keys("all_campaigns"),
            )
        for channel, length in gap.channels.items() if gap is not None else ():
            yield Limit(
                Reason.MIN_GAP,
                self._chosen("all_campaigns", "sent", (channel,)),
                Rolling(1, length // _MICROSECOND),
                self._on((channel,), self._keys("all_campaigns")),
            )

    def _cap(self, cap: MessageCap, chosen: Chosen, keys: NDArray[np.intp]) -> Limit:
        window = cap.window
        if window.rolling is not None:
            return Limit(Reason.CAP_REACHED, chosen, Rolling(cap.count, window.rolling // _MICROSECOND), keys)
        return Limit(Reason.CAP_REACHED, chosen, Calendar(cap.count, Period.of(window, self._zone)), keys)

    def _cooldown(self, cooldown: Cooldown) -> Limit:
        after, length_us = cooldown.after, cooldown.length // _MICROSECOND
        keys = self._keys(cooldown.scope)
        if after.event is not None:
            chosen = self._chosen(cooldown.scope, self.events.index(after.event))
            return Limit(Reason.COOLDOWN, chosen, Following(length_us), keys)
        within, count = after.within or timedelta(0), after.ignored_touches or 1
        rule = Ignored(count, within // _MICROSECOND, after.ignored_after // _MICROSECOND, length_us)
        return Limit(Reason.COOLDOWN, self._chosen(cooldown.scope, "sent"), rule, keys)

    def _chosen(self, scope: Scope, counts: str | int, channels: Collection[str] = ()) -> Chosen:
        catalog = self._catalog
        of_key: dict[Scope, tuple[Key, int]] = {
            "channel": ("channel", len(self.channels)),
            "message": ("message", len(catalog.messages)),
            "offer": ("offer", len(catalog.offers)),
        }
        key, keys = of_key.get(scope, ("customer", 1))
        standing = counts if isinstance(counts, int) else COUNTED[counts]
        numbers = tuple(self.channels.index(channel) for channel in channels)
        return Chosen(key, keys, standing, mine=scope == "campaign", channels=numbers)

    def _keys(self, scope: Scope, cap: Cap | None = None) -> NDArray[np.intp]:
        catalog = self._catalog
        sends = catalog.message_of >= 0
        keys = {
            "channel": catalog.channel_of,
            "message": catalog.message_of,
            "offer": np.where(sends, catalog.offer_of[catalog.message_of], -1),
        }.get(scope, np.where(sends, 0, -1))
        return self._on(cap.channels, keys) if cap is not None and cap.channels else keys

    def _on(self, channels: Sequence[str], keys: NDArray[np.intp]) -> NDArray[np.intp]:
        """The keys of arms on these channels; -1 for the others."""
        numbers = [self.channels.index(channel) for channel in channels]
        return np.where(np.isin(self._catalog.channel_of, numbers), keys, -1)
