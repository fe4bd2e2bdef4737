"""What filtering by contact rules reads of customers: as it is logged (JSON), and as arrays.

The logged form, under `contact` in a decision's history, names only what says something::

    {"consents": ["email_marketing"],                 given, of those that the catalog's channels ask for
     "barred": {"sms": "no_address"},                 by channel: suppressed or no_address; "": every channel
     "touches": [[at_us, state, campaign, channel, message, offer], ...],
     "outcomes": [[at_us, event, campaign, channel, message, offer], ...],
     "excluded": "lower_priority",                    or excluded_by_other_campaign
     "budget_reached": "offers"}                      what the budget does not pay for any more, see `Reached`

The touches are those that count for limits, as far back as the campaign's rules reach, planned ones included; the
outcomes are the events that its cooldowns follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from optimizer.reasons import ALLOWED, Reached, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from optimizer.catalog import Catalog

OPEN: Final = frozenset({"planned", "leased", "sending", "unknown"})
"""States of touches that are to go out, or may have gone out."""
UNANSWERED: Final = frozenset({"sent", "delivered"})
"""States of touches that went out, arrived for all that is known, and that nothing came of."""
EXTERNAL: Final = "external"
"""In the place of the state of what another system sent: nobody tells us what came of it, so that nobody ignored it."""
SENT: Final = UNANSWERED | {"opened", "clicked", "converted", EXTERNAL}
"""States of touches that went out and did not come back."""
ENDED: Final = frozenset({"cancelled", "expired", "failed"})
"""States of touches that were given up: they count no longer, though a caller may have shown them all the same."""

COUNTED: Final = {"delivered": 0, "sent": 1, "decided": 2}
"""By what a limit counts, the highest standing of the touches that it counts."""
BUDGET: Final = (None, *Reached)
"""What a budget may not pay for any more, in the order of the codes that stand for it; 0 is nothing."""
_STANDINGS: Final = (
    dict.fromkeys(OPEN | SENT, COUNTED["delivered"])
    | {"bounced": COUNTED["sent"]}
    | dict.fromkeys(ENDED, COUNTED["decided"])
)
_OTHER: Final = 255
"""The kind of an outcome that no cooldown follows."""


@dataclass(frozen=True, slots=True)
class Occurrences:
    """Touches or outcomes of n customers, those of each together and in the order of their times.

    Attributes:
        starts: (n + 1,) where those of each customer begin; the last is their number T.
        row: (T,) whose they are.
        at_us: (T,) int64 when they were, or will be.
        kind: (T,) uint8; of touches the standing, see `COUNTED`; of outcomes the index of the event's name.
        channel: (T,) index into the channels that the reader numbers, the catalog's first; -1 for others and none.
        message, offer: (T,) index into the catalog's messages (of touches of this very campaign) and offers, -1 for
            others and none.
        mine: (T,) bool, whether they are of this campaign.
        unanswered: (T,) bool, whether it is a touch in one of the states `UNANSWERED`.
    """

    starts: NDArray[np.intp]
    row: NDArray[np.intp]
    at_us: NDArray[np.int64]
    kind: NDArray[np.uint8]
    channel: NDArray[np.intp]
    message: NDArray[np.intp]
    offer: NDArray[np.intp]
    mine: NDArray[np.bool_]
    unanswered: NDArray[np.bool_]

    def rows(self, start: int, end: int) -> Occurrences:
        """Those of the customers from `start` up to `end`, as views."""
        within = slice(self.starts[start], self.starts[end])
        return self._at(self.starts[start : end + 1] - self.starts[start], self.row[within] - start, within)

    def sorted(self) -> Occurrences:
        """The same, those of each customer in the order of their times."""
        return self._at(self.starts, self.row, np.lexsort((self.at_us, self.row)))

    def _at(self, starts: NDArray[np.intp], row: NDArray[np.intp], places: slice | NDArray[np.intp]) -> Occurrences:
        return Occurrences(
            starts,
            row,
            self.at_us[places],
            self.kind[places],
            self.channel[places],
            self.message[places],
            self.offer[places],
            self.mine[places],
            self.unanswered[places],
        )


@dataclass(frozen=True, slots=True)
class ContactFacts:
    """What filtering reads of n customers beyond their attributes; C is the number of channels, 1 without channels.

    Attributes:
        consents: (n, C) bool, whether the channel's consent is given, or it asks for none.
        barred: (n, C) uint8, code of the reason (suppressed, no_address) for which nothing may go out there, else 0.
        excluded: (n,) uint8, code of the reason for which the customer is not this campaign's, else 0.
        budget: (n,) uint8, what the campaign's budget does not pay for any more: index into `BUDGET`.
        touches, outcomes: the touches that count, and the events that cooldowns follow.
    """

    consents: NDArray[np.bool_]
    barred: NDArray[np.uint8]
    excluded: NDArray[np.uint8]
    budget: NDArray[np.uint8]
    touches: Occurrences
    outcomes: Occurrences

    def rows(self, start: int, end: int) -> ContactFacts:
        """The customers from `start` up to `end`, as views."""
        return ContactFacts(
            self.consents[start:end],
            self.barred[start:end],
            self.excluded[start:end],
            self.budget[start:end],
            self.touches.rows(start, end),
            self.outcomes.rows(start, end),
        )


class FactReader:
    """Reads logged contact facts in the terms of one campaign's catalog.

    Args:
        campaign_id: the campaign's id.
        catalog: its catalog.
        channels: the ids of channels in the order of their numbers, those of the catalog first.
        events: the names of the events that its cooldowns follow, in the order of their numbers.
    """

    def __init__(self, campaign_id: str, catalog: Catalog, channels: Sequence[str], events: Sequence[str]) -> None:
        self._campaign_id = campaign_id
        self._channels = {channel: i for i, channel in enumerate(channels)}
        self._messages = {message.id: i for i, message in enumerate(catalog.messages)}
        self._offers = {offer: i for i, offer in enumerate(catalog.offers)}
        self._own = {channel.id: i for i, channel in enumerate(catalog.channels)}
        self._consents = [channel.consent for channel in catalog.channels] or [None]
        self._events = {name: i for i, name in enumerate(events)}

    def read(self, rows: Sequence[Mapping[str, Any]]) -> ContactFacts:
        """The facts of customers, one mapping each. Raises ValueError or KeyError for states and reasons unknown."""
        touches = [row.get("touches", ()) for row in rows]
        outcomes = [row.get("outcomes", ()) for row in rows]
        consents = np.ones((len(rows), len(self._consents)), np.bool_)
        for channel, consent in enumerate(self._consents):
            if consent is not None:
                consents[:, channel] = [consent in row.get("consents", ()) for row in rows]
        return ContactFacts(
            consents,
            self._barred(rows),
            np.array([Reason(row["excluded"]).code if "excluded" in row else ALLOWED for row in rows], np.uint8),
            np.array([BUDGET.index(row.get("budget_reached")) for row in rows], np.uint8),
            self._occurrences(touches, _STANDINGS.__getitem__),
            self._occurrences(outcomes, lambda name: self._events.get(name, _OTHER)),
        )

    def _barred(self, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.uint8]:
        codes = np.full((len(rows), len(self._consents)), ALLOWED, np.uint8)
        for i, row in enumerate(rows):
            for channel, reason in row.get("barred", {}).items():
                if not channel:
                    codes[i] = Reason(reason).code
                elif channel in self._own:
                    codes[i, self._own[channel]] = Reason(reason).code
        return codes

    def _occurrences(self, listed: Sequence[Sequence[Sequence[Any]]], kind_of: Callable[[str], int]) -> Occurrences:
        starts = np.zeros(len(listed) + 1, np.intp)
        np.cumsum([len(each) for each in listed], out=starts[1:])
        flat = list(chain.from_iterable(listed))
        if not flat:
            return _none(starts)
        at, names, campaigns, channels, messages, offers = zip(*flat, strict=True)
        mine = [campaign == self._campaign_id for campaign in campaigns]
        message = [self._messages.get(name, -1) if own else -1 for name, own in zip(messages, mine, strict=True)]
        return Occurrences(
            starts,
            np.repeat(np.arange(len(listed)), np.diff(starts)),
            np.array(at, np.int64),
            np.array([kind_of(name) for name in names], np.uint8),
            np.array([self._channels.get(name, -1) for name in channels], np.intp),
            np.array(message, np.intp),
            np.array([self._offers.get(name, -1) for name in offers], np.intp),
            np.array(mine, np.bool_),
            np.array([name in UNANSWERED for name in names], np.bool_),
        ).sorted()


def _none(starts: NDArray[np.intp]) -> Occurrences:
    codes, flags = np.empty(0, np.intp), np.empty(0, np.bool_)
    return Occurrences(starts, codes, np.empty(0, np.int64), np.empty(0, np.uint8), codes, codes, codes, flags, flags)
