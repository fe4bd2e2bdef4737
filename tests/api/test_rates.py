from __future__ import annotations

import pytest

from api.rates import Rates


class Stopwatch:
    """Seconds that pass when they are told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(rates: Rates, n: int, caller: str = "a") -> int:
    return sum(rates.wait_s(caller) == 0 for _ in range(n))


@pytest.mark.parametrize("rate", [1, 3, 10, 2000])
def test_a_seconds_worth_is_taken_at_once_and_no_more(rate: int) -> None:
    assert taken(Rates(rate, Stopwatch()), 3 * rate) == rate


@pytest.mark.parametrize("rate", [1, 3, 10, 2000])
def test_over_any_time_no_more_than_the_rate_and_one_burst_is_taken(rate: int) -> None:
    watch = Stopwatch()
    rates = Rates(rate, watch)
    count = 0
    for _ in range(50):
        count += taken(rates, rate)
        watch.now += 0.1
    assert rate * 5 <= count <= rate * 6


def test_whoever_waits_as_told_is_taken() -> None:
    watch = Stopwatch()
    rates = Rates(4, watch)
    taken(rates, 4)
    wait_s = rates.wait_s("a")
    assert wait_s == pytest.approx(0.25)
    watch.now += wait_s
    assert rates.wait_s("a") == 0
    assert rates.wait_s("a") > 0


def test_callers_do_not_take_from_one_another() -> None:
    rates = Rates(2, Stopwatch())
    assert taken(rates, 9, "a") == 2
    assert taken(rates, 9, "b") == 2
