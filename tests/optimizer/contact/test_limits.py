"""Limits over times that are small whole numbers, so that every edge is met often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.contact.facts import ContactFacts, Occurrences
from optimizer.contact.limits import Calendar, Chosen, Following, Ignored, Limit, Rolling
from optimizer.contact.periods import Period
from optimizer.contact.send_times import SendTimes
from optimizer.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from optimizer.contact.limits import Key, Rule

NOW = 15
TIMES = tuple(range(NOW, 40))
PERIOD_US = 5


@dataclass(frozen=True)
class Touch:
    """One of a customer's."""

    at: int
    standing: int
    channel: int
    mine: bool
    unanswered: bool


TOUCHES = st.lists(
    st.builds(
        Touch, st.integers(0, 40), st.integers(0, 2), st.integers(-1, 1), mine=st.booleans(), unanswered=st.booleans()
    ),
    max_size=8,
)
PEOPLE = st.lists(TOUCHES, min_size=1, max_size=4)


class Fives(SendTimes):
    """Times whose calendar has periods of five."""

    def bounds_us(self, period: Period) -> NDArray[np.int64]:
        del period
        starts = self.at_us // PERIOD_US * PERIOD_US
        return np.stack([starts, starts + PERIOD_US])


def occurrences(people: list[list[Touch]]) -> Occurrences:
    rows = [sorted(each, key=lambda t: t.at) for each in people]
    flat = [touch for row in rows for touch in row]
    none = np.full(len(flat), -1)
    return Occurrences(
        np.cumsum([0, *map(len, rows)]),
        np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
        np.array([t.at for t in flat], np.int64),
        np.array([t.standing for t in flat], np.uint8),
        np.array([t.channel for t in flat], np.intp),
        none,
        none,
        np.array([t.mine for t in flat], np.bool_),
        np.array([t.unanswered for t in flat], np.bool_),
    )


def check(rule: Rule, chosen: Chosen, people: list[list[Touch]], expected: Callable[[list[Touch], int], bool]) -> None:
    """The limit forbids each customer, key and time just where it is expected of the touches that it looks at."""
    n = len(people)
    found, nothing = occurrences(people), occurrences([[] for _ in people])
    codes = np.zeros(n, np.uint8)
    is_event = isinstance(rule, Following)
    touches, outcomes = (nothing, found) if is_event else (found, nothing)
    facts = ContactFacts(np.ones((n, 1), np.bool_), codes[:, None], codes, codes, touches, outcomes)
    # Two schedules, one a step later.
    at_us = np.array([TIMES, [at + 1 for at in TIMES]], np.int64)
    schedule_of = np.arange(n) % 2
    times = Fives(at_us, np.array([NOW, NOW]), schedule_of, (None, None))
    forbidden = Limit(Reason.CAP_REACHED, chosen, rule, np.zeros(1, np.intp)).forbidden(facts, times)
    for row, touches_of in enumerate(people):
        for key in range(chosen.keys):
            counted = [
                t
                for t in touches_of
                if (t.standing == chosen.standing if is_event else t.standing <= chosen.standing)
                and (t.mine or not chosen.mine)
                and (not chosen.channels or t.channel in chosen.channels)
                and (chosen.key == "customer" or t.channel == key)
            ]
            for j, at in enumerate(at_us[schedule_of[row]].tolist()):
                assert (forbidden is not None and bool(forbidden[row, key, j])) == expected(counted, at)


def chosen_ones() -> st.SearchStrategy[Chosen]:
    listed: tuple[tuple[Key, int], ...] = (("customer", 1), ("channel", 2))
    keys = st.sampled_from(listed)
    channels = st.sampled_from([(), (0,), (0, 1)])
    return st.builds(
        lambda key, standing, mine, among: Chosen(key[0], key[1], standing, mine=mine, channels=among),
        keys,
        st.integers(0, 2),
        st.booleans(),
        channels,
    )


@settings(max_examples=300)
@given(PEOPLE, chosen_ones(), st.integers(1, 3), st.integers(1, 12))
def test_a_rolling_cap_lets_no_window_of_its_length_hold_more(
    people: list[list[Touch]], chosen: Chosen, count: int, length: int
) -> None:
    def too_many(touches: list[Touch], at: int) -> bool:
        windows = (range(start, start + length) for start in range(at - length + 1, at + 1))
        return any(sum(t.at in window for t in touches) + 1 > count for window in windows)

    check(Rolling(count, length), chosen, people, too_many)


@settings(max_examples=200)
@given(PEOPLE, chosen_ones(), st.integers(1, 3))
def test_a_calendar_cap_lets_no_period_hold_more(people: list[list[Touch]], chosen: Chosen, count: int) -> None:
    def too_many(touches: list[Touch], at: int) -> bool:
        return sum(t.at // PERIOD_US == at // PERIOD_US for t in touches) + 1 > count

    check(Calendar(count, Period("day", 0, None)), chosen, people, too_many)


@settings(max_examples=200)
@given(PEOPLE, chosen_ones(), st.integers(1, 3), st.integers(1, 12), st.integers(0, 5), st.integers(1, 12))
def test_after_so_many_ignored_touches_nothing_is_sent_for_a_time(  # noqa: PLR0913, PLR0917 -- the sizes of a cooldown
    people: list[list[Touch]], chosen: Chosen, count: int, within: int, after: int, length: int
) -> None:
    def cools(touches: list[Touch], at: int) -> bool:
        ignored = [t.at for t in touches if t.unanswered and t.at + after <= NOW]
        lasts = [last for last in ignored if sum(last - within < other <= last for other in ignored) >= count]
        return any(last <= at < last + length for last in lasts)

    every = Chosen(chosen.key, chosen.keys, 2, mine=chosen.mine, channels=chosen.channels)
    check(Ignored(count, within, after, length), every, people, cools)


@settings(max_examples=200)
@given(PEOPLE, chosen_ones(), st.integers(1, 12))
def test_after_an_event_nothing_is_sent_for_a_time(people: list[list[Touch]], chosen: Chosen, length: int) -> None:
    check(Following(length), chosen, people, lambda events, at: any(e.at <= at < e.at + length for e in events))
