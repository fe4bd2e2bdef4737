"""Limits of how often: cooldowns, caps and gaps as masks over arms.

Every limit looks at touches (or events) of one customer that have something in common, its **key**: nothing but the
customer, or the channel, the message, the offer. What forbids a time t is a **run** of them, consecutive in time:

- A rolling cap of c in w: another touch at t makes some window of length w hold more than c with t among them exactly
  where c touches, the first at a and the last at b, fit with t into less than w: max(t, b) - min(t, a) < w. With
  b - a < w that is b - w < t < a + w. Planned touches after t are runs like those before. A gap is a cap of 1.
- A calendar cap of c: c touches lie in the day, week or month that t lies in.
- A cooldown of n ignored touches within w, for f: n of them with b - a < w forbid b <= t < b + f; an event at b does
  the same.

So a limit costs a few operations on arrays that hold one entry for each run and time of sending.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.contact.facts import ContactFacts, Occurrences
    from optimizer.contact.periods import Period
    from optimizer.contact.send_times import SendTimes
    from optimizer.reasons import Reason

Key: TypeAlias = Literal["customer", "channel", "message", "offer"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The touches (or events) that a limit looks at.

    Attributes:
        key: what they must have in common.
        keys: how many values that has.
        standing: the highest standing that counts, see `COUNTED`; of events the index of the name.
        mine: whether only those of this campaign.
        channels: the numbers of the channels; none: all, and those without one too.
    """

    key: Key
    keys: int
    standing: int
    mine: bool = False
    channels: tuple[int, ...] = ()

    def among(self, found: Occurrences, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The places of those `chosen` that have a key, by it, then in time; and customer and key as one number."""
        if self.mine:
            chosen = chosen & found.mine
        if self.channels:
            chosen = chosen & np.isin(found.channel, self.channels)
        if self.key == "customer":
            places = np.flatnonzero(chosen)
            return places, found.row[places]
        key = {"channel": found.channel, "message": found.message, "offer": found.offer}[self.key]
        places = np.flatnonzero(chosen & (key >= 0) & (key < self.keys))
        groups = found.row[places] * self.keys + key[places]
        order = np.argsort(groups, kind="stable")
        return places[order], groups[order]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of so many touches of a customer and key: whose they are, and when the first and the last are; (R,) each."""

    group: NDArray[np.intp]
    first_us: NDArray[np.int64]
    last_us: NDArray[np.int64]

    @classmethod
    def of(cls, at_us: NDArray[np.int64], groups: NDArray[np.intp], count: int) -> Runs:
        """Every run of `count` that follow one another in the order given."""
        end = max(len(groups) - count + 1, 0)
        whole = np.flatnonzero(groups[:end] == groups[count - 1 :])
        return cls(groups[whole], at_us[whole], at_us[whole + count - 1])

    def where(self, chosen: NDArray[np.bool_]) -> Runs:
        """Those chosen, bool (R,)."""
        return Runs(self.group[chosen], self.first_us[chosen], self.last_us[chosen])


class Rule(Protocol):
    """What a limit says of time."""

    def forbidden(self, facts: ContactFacts, chosen: Chosen, times: SendTimes) -> tuple[Runs, NDArray[np.bool_]]:
        """Runs, and (R, J) whether each forbids each time of its customer."""
        ...


@dataclass(frozen=True, slots=True)
class Rolling:
    """At most `count` touches in any window of `length_us`."""

    count: int
    length_us: int

    def forbidden(self, facts: ContactFacts, chosen: Chosen, times: SendTimes) -> tuple[Runs, NDArray[np.bool_]]:
        """See `Rule`."""
        places, groups = chosen.among(facts.touches, facts.touches.kind <= chosen.standing)
        runs = Runs.of(facts.touches.at_us[places], groups, self.count)
        runs = runs.where(runs.last_us - runs.first_us < self.length_us)
        at_us = _times_of(runs, chosen, times)
        return runs, (at_us > (runs.last_us - self.length_us)[:, None]) & (
            at_us < (runs.first_us + self.length_us)[:, None]
        )


@dataclass(frozen=True, slots=True)
class Calendar:
    """At most `count` touches in a day, week or month."""

    count: int
    period: Period

    def forbidden(self, facts: ContactFacts, chosen: Chosen, times: SendTimes) -> tuple[Runs, NDArray[np.bool_]]:
        """See `Rule`."""
        places, groups = chosen.among(facts.touches, facts.touches.kind <= chosen.standing)
        runs = Runs.of(facts.touches.at_us[places], groups, self.count)
        start_us, end_us = times.bounds_us(self.period)[:, times.schedule_of[runs.group // chosen.keys]]
        return runs, (runs.first_us[:, None] >= start_us) & (runs.last_us[:, None] < end_us)


@dataclass(frozen=True, slots=True)
class Ignored:
    """After `count` touches within `within_us` from which nothing came in `after_us`, none for `length_us`."""

    count: int
    within_us: int
    after_us: int
    length_us: int

    def forbidden(self, facts: ContactFacts, chosen: Chosen, times: SendTimes) -> tuple[Runs, NDArray[np.bool_]]:
        """See `Rule`."""
        touches = facts.touches
        old = touches.at_us <= times.now_us[times.schedule_of[touches.row]] - self.after_us
        places, groups = chosen.among(touches, touches.unanswered & old)
        runs = Runs.of(touches.at_us[places], groups, self.count)
        runs = runs.where(runs.last_us - runs.first_us < self.within_us)
        return runs, _during(runs, self.length_us, _times_of(runs, chosen, times))


@dataclass(frozen=True, slots=True)
class Following:
    """After an event, no touch for `length_us`."""

    length_us: int

    def forbidden(self, facts: ContactFacts, chosen: Chosen, times: SendTimes) -> tuple[Runs, NDArray[np.bool_]]:
        """See `Rule`."""
        places, groups = chosen.among(facts.outcomes, facts.outcomes.kind == chosen.standing)
        runs = Runs.of(facts.outcomes.at_us[places], groups, 1)
        return runs, _during(runs, self.length_us, _times_of(runs, chosen, times))


def _times_of(runs: Runs, chosen: Chosen, times: SendTimes) -> NDArray[np.int64]:
    """(R, J) the times of the customer of each run."""
    return times.at_us[times.schedule_of[runs.group // chosen.keys]]


def _during(runs: Runs, length_us: int, at_us: NDArray[np.int64]) -> NDArray[np.bool_]:
    last_us = runs.last_us[:, None]
    return (at_us >= last_us) & (at_us < last_us + length_us)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a campaign, compiled.

    Attributes:
        reason: that of arms which it removes.
        chosen: the touches or events that it looks at.
        rule: what it says of time.
        key_of_arm: (K,) the key of each arm, -1 where the arm does not obey it.
    """

    reason: Reason
    chosen: Chosen
    rule: Rule
    key_of_arm: NDArray[np.intp]

    def forbidden(self, facts: ContactFacts, times: SendTimes) -> NDArray[np.bool_] | None:
        """(n, keys, J) whether each time is forbidden to each customer, by key; None where none is."""
        runs, forbids = self.rule.forbidden(facts, self.chosen, times)
        which, time = np.nonzero(forbids)
        if not len(which):
            return None
        n, keys = len(times.schedule_of), self.chosen.keys
        out = np.zeros((n * keys, times.at_us.shape[1]), np.bool_)
        out[runs.group[which], time] = True
        return out.reshape(n, keys, -1)
