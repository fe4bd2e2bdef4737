from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from optimizer.scalars import Day, Instant, Zone

INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


def test_an_instant_is_kept_in_utc() -> None:
    assert INSTANT.validate_python("2026-01-13T01:30:00+02:00") == datetime(2026, 1, 12, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["1700000000", "20260113", "0.5", "-1", "2026", "2026-01-13T00:00:00"])
def test_a_number_of_seconds_or_an_instant_of_no_zone_is_no_instant(text: str) -> None:
    with pytest.raises(ValidationError):
        INSTANT.validate_python(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"])
def test_an_instant_that_utc_does_not_have_is_told(text: str) -> None:
    with pytest.raises(ValidationError, match="years 1 to 9999"):
        INSTANT.validate_python(text)


@pytest.mark.parametrize("text", ["20260113", "1700000000"])
def test_a_number_is_no_day(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Day).validate_python(text)


def test_the_zone_of_a_machine_is_no_zone() -> None:
    with pytest.raises(ValidationError, match="IANA"):
        TypeAdapter(Zone).validate_python("localtime")
