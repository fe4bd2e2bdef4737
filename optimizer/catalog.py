"""Messages x channels x timing slots -> arms, and when each arm would be sent to somebody in a given time zone.

A slot ("weekday evening") resolves, for one zone and one instant, to its next window within the horizon. What varies
with the zone is only the weekday and the number of days ahead: these are a slot's finite variants, and the variants of
all slots together are a `Schedule`. Customers of one time zone (and one country, where its holidays count), decided at
one instant, share one schedule; scores are compiled once for each distinct one.

What the contact policy's hours close is cut out of the windows, for each class of channels that keep the same hours: a
**cell** is a slot (or now, without slots) with a class. A slot whose window has nothing left for any of them takes its
next one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.campaign import NO_SEND, CampaignFile, Message, Slot
from optimizer.clock import from_us, to_us
from optimizer.contact.hours import HourRules, Opening
from optimizer.contact.local_time import usual
from optimizer.reasons import ALLOWED, Reason
from optimizer.scalars import Weekday

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from numpy.typing import NDArray

    from optimizer.contact.hours import Hours, Region

WEEKDAYS = tuple(Weekday)

TOUCH_LIFETIME_US = 24 * 3_600_000_000
"""How long a touch without a timing slot waits to be sent or shown."""

_BY_HOURS: Final = (Reason.BLACKOUT.code, Reason.QUIET_HOURS.code)
_MICROSECOND: Final = timedelta(microseconds=1)
_KEPT_DAYS: Final = 1 << 12
"""For how many (zone, date) the windows of slots are kept."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One combination; `channel` and `slot` are None without such a dimension, all three for no_send."""

    message: str | None
    channel: str | None
    slot: str | None

    @property
    def id(self) -> str:
        """`message/channel/slot` with the dimensions that there are, or `no_send`."""
        return "/".join(part for part in (self.message, self.channel, self.slot) if part is not None) or NO_SEND


@dataclass(frozen=True, slots=True)
class Window:
    """A slot's next window, whatever the contact policy leaves of it.

    Attributes:
        send_us, end_us: when it begins, or the instant of deciding if it has begun, and when it is over, UTC
            microseconds.
        weekday, days_ahead, day: where it lies, recipient's local time.
    """

    send_us: int
    end_us: int
    weekday: str
    days_ahead: int
    day: date


@dataclass(frozen=True, slots=True)
class Schedule:
    """The windows of all slots for one zone at one instant; None for a slot without one within the horizon.

    Attributes:
        now_us: the instant.
        windows: one a slot, in the catalog's order; empty where the campaign has no slots.
        openings: one a cell, in the catalog's order: when a touch would be sent in the window, or why it cannot be.
        days: the recipient's local date of each opening; the date at the instant where it has none.
        today: the local date at the instant, UTC's where no zone is known.
        zone: that zone; None where it is not known, and arms with a slot cannot be timed at all.
        region: the countries whose holidays count.
    """

    now_us: int
    windows: tuple[Window | None, ...]
    openings: tuple[Opening, ...]
    days: tuple[date, ...]
    today: date
    zone: ZoneInfo | None
    region: Region

    @property
    def send_us(self) -> tuple[int, ...]:
        """When a touch would be sent in each of the cells, UTC microseconds."""
        return tuple(opening.send_us for opening in self.openings)

    @property
    def variants(self) -> tuple[tuple[str, int] | None, ...]:
        """What of it the scores depend on: weekday and days ahead of each slot."""
        return tuple(None if w is None else (w.weekday, w.days_ahead) for w in self.windows)


class Catalog:
    """The arms of a campaign, in a fixed order: messages, within them channels, within them slots; no_send last.

    Attributes:
        arms: all K combinations, those that nobody can get included (they are removed with their reason).
        message_of, channel_of, slot_of: (K,) index into the campaign's messages, channels and slots, -1 where there is
            none.
        cell_of: (K,) index of each arm's cell, slots first, within them classes of channels; 0 of no_send.
        hours: the contact policy's rules about hours.
        offers: the ids of the messages' offers.
        offer_of: (messages,) index into `offers`, -1 for messages without one.
        no_send: index of no_send, -1 where the campaign does not have it.
    """

    def __init__(self, campaign: CampaignFile) -> None:
        spec = campaign.catalog
        self.messages: tuple[Message, ...] = tuple(spec.messages)
        self.channels = tuple(spec.channels)
        self.slots: tuple[Slot, ...] = tuple(spec.timing.slots) if spec.timing else ()
        self.horizon = spec.timing.horizon if spec.timing else timedelta(0)
        self._ends_us = to_us(campaign.campaign.ends_at) if campaign.campaign.ends_at else None
        channels: list[tuple[int, str | None]] = [(i, c.id) for i, c in enumerate(self.channels)]
        slots: list[tuple[int, str | None]] = [(i, s.id) for i, s in enumerate(self.slots)]
        rows = [
            (Arm(m.id, channel, slot), i, j, k)
            for i, m in enumerate(self.messages)
            for j, channel in channels or [(-1, None)]
            for k, slot in slots or [(-1, None)]
        ]
        if spec.no_send:
            rows.append((Arm(None, None, None), -1, -1, -1))
        self.arms = tuple(row[0] for row in rows)
        self.message_of = np.array([row[1] for row in rows])
        self.channel_of = np.array([row[2] for row in rows])
        self.slot_of = np.array([row[3] for row in rows])
        self._sends = self.message_of >= 0
        self.hours = HourRules(
            campaign.contact_policy, [channel.id for channel in self.channels], self.horizon.days + 3
        )
        class_of = np.array(self.hours.class_of)[np.maximum(self.channel_of, 0)]
        cells = np.maximum(self.slot_of, 0) * len(self.hours.local) + class_of
        self.cell_of = np.where(self._sends, cells, 0)
        offers = [message.offer.id if message.offer else None for message in self.messages]
        self.offers = tuple(dict.fromkeys(offer for offer in offers if offer is not None))
        self.offer_of = np.array([self.offers.index(offer) if offer is not None else -1 for offer in offers])
        self.no_send = len(rows) - 1 if spec.no_send else -1
        missing = [arm.channel not in self.messages[m].creatives if arm.channel else False for arm, m, _, _ in rows]
        self._without_creative = np.where(missing, Reason.NO_CREATIVE_FOR_CHANNEL.code, ALLOWED).astype(np.uint8)
        self.index = {arm.id: i for i, arm in enumerate(self.arms)}
        self._slot_days = lru_cache(maxsize=_KEPT_DAYS)(self._windows)
        self._codes = lru_cache(maxsize=_KEPT_DAYS)(self._codes_of)

    def __len__(self) -> int:
        return len(self.arms)

    def schedule(self, zone: ZoneInfo | None, now: datetime, region: Region = ()) -> Schedule:
        """When each slot would come next in `zone` (None: not known) after `now`.

        A local time inside a daylight-saving gap is moved forward by the gap; of a time that occurs twice the first is
        meant. `region` are the countries whose holidays the recipients keep, see `HourRules.region`.
        """
        now_us, today = to_us(now), now.astimezone(zone or UTC).date()
        region = region or self.hours.nowhere
        if self.slots and zone is None:
            cells = len(self.slots) * len(self.hours.local)
            none = (Opening(Reason.NO_TIMEZONE.code, now_us, now_us),) * cells
            return Schedule(now_us, (None,) * len(self.slots), none, (today,) * cells, today, zone, region)
        hours = self.hours.around(zone, region, today)
        if zone is None or not self.slots:
            openings = self._openings(hours, now_us, now_us + TOUCH_LIFETIME_US)
            days = tuple(
                today if o.send_us == now_us else from_us(o.send_us).astimezone(zone or UTC).date() for o in openings
            )
            return Schedule(now_us, (), openings, days, today, zone, region)
        windows: list[Window | None] = []
        found: list[Opening] = []
        dates: list[date] = []
        for listed in self._slot_days(zone, today):
            window, openings = self._next(listed, hours, now_us)
            windows.append(window)
            found += openings
            dates += (window.day if window else today,) * len(openings)
        return Schedule(now_us, tuple(windows), tuple(found), tuple(dates), today, zone, region)

    def _windows(self, zone: ZoneInfo, today: date) -> tuple[tuple[Window, ...], ...]:
        """The windows of each slot from a local date on, as far as any horizon that begins on it reaches."""
        # One day more for the part of a day in the horizon, one for a night that is shorter than others.
        ahead = [(days, today + timedelta(days=days)) for days in range(self.horizon.days + 3)]
        return tuple(
            tuple(
                Window(usual(day, slot.start, zone), usual(day, slot.end, zone), weekday.value, days, day)
                for days, day in ahead
                if (weekday := WEEKDAYS[day.weekday()]) in slot.days
            )
            for slot in self.slots
        )

    def _next(
        self, windows: tuple[Window, ...], hours: tuple[Hours, ...], now_us: int
    ) -> tuple[Window | None, tuple[Opening, ...]]:
        """The next of a slot's windows that some class has something left of, and what; else the next one at all."""
        first: tuple[Window, tuple[Opening, ...]] | None = None
        for window in windows:
            send_us = max(window.send_us, now_us)
            if send_us >= window.end_us:
                continue
            if send_us >= now_us + self.horizon // _MICROSECOND:
                break
            late = self._ends_us is not None and send_us >= self._ends_us
            if late and first is not None:
                break
            openings = self._openings(hours, send_us, window.end_us)
            begun = window if send_us == window.send_us else replace(window, send_us=send_us)
            if late or any(opening.code == ALLOWED for opening in openings):
                return begun, openings
            first = first or (begun, openings)
        return first or (None, (Opening(Reason.OUTSIDE_HORIZON.code, now_us, now_us),) * len(hours))

    def _openings(self, hours: tuple[Hours, ...], from_us: int, until_us: int) -> tuple[Opening, ...]:
        """What each class has left of a window, before the campaign ends."""
        if self._ends_us is not None:
            if from_us >= self._ends_us:
                return (Opening(Reason.OUTSIDE_HORIZON.code, from_us, until_us),) * len(hours)
            until_us = min(until_us, self._ends_us)
        return tuple(each.opening(from_us, until_us) for each in hours)

    def removed(self, schedule: Schedule) -> NDArray[np.uint8]:
        """(K,) code of the reason for which an arm cannot be had by anybody on this schedule, 0 where it can.

        A message's active days are judged by the recipient's local date at the send, by UTC's where no zone is known.
        What the hours of the contact policy close is no part of it, see `closed`.
        """
        return self._codes(tuple(opening.code for opening in schedule.openings), schedule.days)[0]

    def closed(self, schedule: Schedule) -> NDArray[np.uint8]:
        """(K,) code of blackout or quiet_hours where nothing is left of an arm's window, 0 for the others."""
        return self._codes(tuple(opening.code for opening in schedule.openings), schedule.days)[1]

    def _codes_of(self, codes: tuple[int, ...], days: tuple[date, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """`removed` and `closed` for cells with these codes, on these days."""
        cells = np.array(codes, np.uint8)
        hours = np.isin(cells, _BY_HOURS)
        removed = self._without_creative.copy()
        untimed = np.where(self._sends, np.where(hours, ALLOWED, cells)[self.cell_of], ALLOWED)
        removed = np.where(removed == ALLOWED, untimed, removed).astype(np.uint8)
        for m, message in enumerate(self.messages):
            if message.active is not None:
                inactive = np.array([not message.active.start <= day <= message.active.until for day in days])
                removed[(self.message_of == m) & (removed == ALLOWED) & inactive[self.cell_of]] = (
                    Reason.ARM_INACTIVE.code
                )
        closed = np.where(self._sends, np.where(hours, cells, ALLOWED)[self.cell_of], ALLOWED).astype(np.uint8)
        for each in (removed, closed):
            each.setflags(write=False)
        return removed, closed
