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
    def of(cls, found: Occurrences, places: NDArray[np.intp], groups: NDArray[np.intp], count: int) -> Runs:
        """Every run of `count` of those at these places, which are in the order of their groups, then in time."""
        at_us = found.at_us[places]
        if count == 1:
            return cls(groups, at_us, at_us)
        end = max(len(groups) - count + 1, 0)
        whole = np.flatnonzero(groups[:end] == groups[count - 1 :])
        return cls(groups[whole], at_us[whole], at_us[whole + count - 1])

    def within(self, length_us: int) -> Runs:
        """Those whose first and last are less than so much apart."""
        if self.first_us is self.last_us:
            return self
        near = self.last_us - self.first_us < length_us
        return Runs(self.group[near], self.first_us[near], self.last_us[near])


class Rule(Protocol):
    """What a limit says of time."""

    def runs(self, facts: ContactFacts, chosen: Chosen, times: SendTimes) -> Runs:
        """The runs that forbid any time at all."""
        ...

    def forbids(self, runs: Runs, times: SendTimes, schedules: NDArray[np.intp]) -> NDArray[np.bool_]:
        """(R, J) whether each run forbids each time of its schedule, (R,)."""
        ...


@dataclass(frozen=True, slots=True)
class Rolling:
    """At most `count` touches in any window of `length_us`."""

    count: int
    length_us: int

    def runs(self, facts: ContactFacts, chosen: Chosen, times: SendTimes) -> Runs:
        """See `Rule`."""
        del times
        found = facts.touches
        runs = Runs.of(found, *chosen.among(found, found.kind <= chosen.standing), self.count)
        return runs.within(self.length_us)

    def forbids(self, runs: Runs, times: SendTimes, schedules: NDArray[np.intp]) -> NDArray[np.bool_]:
        """See `Rule`."""
        at_us = times.at_us[schedules]
        after = at_us > (runs.last_us - self.length_us)[:, None]
        return after & (at_us < (runs.first_us + self.length_us)[:, None])


@dataclass(frozen=True, slots=True)
class Calendar:
    """At most `count` touches in a day, week or month."""

    count: int
    period: Period

    def runs(self, facts: ContactFacts, chosen: Chosen, times: SendTimes) -> Runs:
        """See `Rule`."""
        del times
        found = facts.touches
        return Runs.of(found, *chosen.among(found, found.kind <= chosen.standing), self.count)

    def forbids(self, runs: Runs, times: SendTimes, schedules: NDArray[np.intp]) -> NDArray[np.bool_]:
        """See `Rule`."""
        start_us, end_us = times.bounds_us(self.period)[:, schedules]
        inside: NDArray[np.bool_] = (runs.first_us[:, None] >= start_us) & (runs.last_us[:, None] < end_us)
        return inside


@dataclass(frozen=True, slots=True)
class Ignored:
    """After `count` touches within `within_us` from which nothing came in `after_us`, none for `length_us`."""

    count: int
    within_us: int
    after_us: int
    length_us: int

    def runs(self, facts: ContactFacts, chosen: Chosen, times: SendTimes) -> Runs:
        """See `Rule`."""
        found = facts.touches
        old = found.at_us <= times.now_us[times.schedule_of[found.row]] - self.after_us
        runs = Runs.of(found, *chosen.among(found, found.unanswered & old), self.count)
        return runs.within(self.within_us)

    def forbids(self, runs: Runs, times: SendTimes, schedules: NDArray[np.intp]) -> NDArray[np.bool_]:
        """See `Rule`."""
        return _during(runs, self.length_us, times.at_us[schedules])


@dataclass(frozen=True, slots=True)
class Following:
    """After an event, no touch for `length_us`."""

    length_us: int

    def runs(self, facts: ContactFacts, chosen: Chosen, times: SendTimes) -> Runs:
        """See `Rule`."""
        del times
        found = facts.outcomes
        return Runs.of(found, *chosen.among(found, found.kind == chosen.standing), 1)

    def forbids(self, runs: Runs, times: SendTimes, schedules: NDArray[np.intp]) -> NDArray[np.bool_]:
        """See `Rule`."""
        return _during(runs, self.length_us, times.at_us[schedules])


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
        keys = self.chosen.keys
        runs = self.rule.runs(facts, self.chosen, times)
        if not len(runs.group):
            return None
        rows = runs.group if keys == 1 else runs.group // keys
        which, time = np.nonzero(self.rule.forbids(runs, times, times.schedule_of[rows]))
        if not len(which):
            return None
        n = len(times.schedule_of)
        out = np.zeros((n * keys, times.at_us.shape[1]), np.bool_)
        out[runs.group[which], time] = True
        return out.reshape(n, keys, -1)
