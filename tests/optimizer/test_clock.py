from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer import clock
from optimizer.clock import SystemClock, VirtualClock, from_us, now_us, to_us

instants = st.datetimes(timezones=st.just(UTC))


@given(instants)
def test_an_instant_survives_the_way_to_microseconds_and_back(instant: datetime) -> None:
    assert from_us(to_us(instant)) == instant


def test_an_instant_of_another_zone_is_the_same_instant() -> None:
    assert to_us(datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == 0
    assert to_us(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)) == 1_000_005


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="no timezone"):
        to_us(datetime(2026, 1, 1))  # noqa: DTZ001 -- the point of the test


def test_the_system_clock_stands_still_while_the_machine_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([from_us(1_000), from_us(400), from_us(1_500)])

    class SetBack(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            assert tz is UTC
            return next(told)

    system = SystemClock()
    monkeypatch.setattr(clock, "datetime", SetBack)
    assert [now_us(system) for _ in range(3)] == [1_000, 1_000, 1_500]


def test_a_virtual_clock_moves_only_forward_and_only_when_told() -> None:
    virtual = VirtualClock(from_us(5))
    assert now_us(virtual) == now_us(virtual) == 5
    virtual.advance_to(from_us(9))
    virtual.advance_to(from_us(7))
    assert virtual.now() == from_us(9)
    assert virtual.now().tzinfo is UTC
