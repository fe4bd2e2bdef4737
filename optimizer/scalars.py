"""What configuration files are made of: durations, times, instants, numbers, and the base of every part.

Numbers, truth values and texts are never converted into one another, so that a mistake in a file is not read as
something else. Every kind can be written out as JSON and read back.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Final, TypeAlias
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    StringConstraints,
    WithJsonSchema,
)

ID_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$"
Id: TypeAlias = Annotated[str, StringConstraints(strict=True, pattern=ID_PATTERN)]
"""A name given in a file: a letter, then at most 63 letters, digits, `_`, `.` or `-`."""

ZONES: Final = frozenset(available_timezones()) - {"localtime"}
"""The IANA time zones; what some machines call `localtime` is another zone on others."""

_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DATED: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


MICRO: Final = 1_000_000
"""How many of the whole amounts in which costs are summed make one of the campaign's unit."""


def micro(amount: float) -> int:
    """An amount in millionths, rounded to the nearest."""
    return round(amount * MICRO)


def _parse_duration(value: object) -> object:
    if isinstance(value, str):
        if short := re.fullmatch(r"(\d{1,9})([smhdw])", value):
            return timedelta(seconds=int(short[1]) * _UNIT_S[short[2]])
        if value.startswith("P"):
            return value
    elif isinstance(value, timedelta):
        return value
    raise ValueError(f"expected a duration such as 90s, 15m, 48h, 7d, 2w or (ISO 8601) PT48H, got {value!r}")


def _whole_seconds(value: timedelta) -> timedelta:
    if value.microseconds:
        raise ValueError("expected whole seconds")
    return value


def _format_duration(value: timedelta) -> str:
    return f"{value // timedelta(seconds=1)}s"


def _parse_time(value: object) -> time:
    if isinstance(value, time):
        return value
    if isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        return time.fromisoformat(value)
    raise ValueError(f'expected a time of day from "00:00" to "23:59", got {value!r}')


def _only_text_or(kind: type, expected: str) -> BeforeValidator:
    def check(value: object) -> object:
        # Pydantic takes a text of digits for seconds since 1970.
        if isinstance(value, kind) or (isinstance(value, str) and _DATED.match(value)):
            return value
        # Without the value: instants are also sent by callers, who are never told what they have sent.
        raise ValueError(f"expected an ISO 8601 {expected}")

    return BeforeValidator(check)


def _check_zone(name: str) -> str:
    if name not in ZONES:
        raise ValueError(f"{name!r} is not an IANA time zone such as America/Mexico_City")
    return name


def at_most(days: int, *, or_empty: bool = False) -> AfterValidator:
    """Limits a duration to so many days, and, unless `or_empty`, to more than nothing."""

    def check(value: timedelta) -> timedelta:
        if timedelta(0) < value <= timedelta(days=days) or (or_empty and not value):
            return value
        raise ValueError(f"expected a duration {'from' if or_empty else 'longer than'} 0s, {days}d at most")

    return AfterValidator(check)


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected an instant of the years 1 to 9999 in UTC") from error


_DURATION_SCHEMA: Final = WithJsonSchema(
    {"type": "string", "pattern": r"^(\d{1,9}[smhdw]|P.+)$", "examples": ["48h", "7d", "PT48H"]}
)
Duration: TypeAlias = Annotated[
    timedelta,
    BeforeValidator(_parse_duration),
    AfterValidator(_whole_seconds),
    PlainSerializer(_format_duration, return_type=str),
    _DURATION_SCHEMA,
]
"""A length of time: `90s`, `15m`, `48h`, `7d`, `2w`, or ISO 8601."""

Span: TypeAlias = Annotated[Duration, at_most(366)]
"""A duration that is not empty, of a year at most."""

TimeOfDay: TypeAlias = Annotated[
    time,
    PlainValidator(_parse_time),
    PlainSerializer(lambda value: value.isoformat("minutes"), return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d$", "examples": ["06:00"]}),
]
Instant: TypeAlias = Annotated[
    AwareDatetime, _only_text_or(datetime, "instant such as 2026-01-13T09:30:00Z"), AfterValidator(_in_utc)
]
Day: TypeAlias = Annotated[date, _only_text_or(date, "date such as 2026-01-13")]
Zone: TypeAlias = Annotated[str, AfterValidator(_check_zone)]
Number: TypeAlias = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Cost: TypeAlias = Annotated[Number, Field(ge=0)]
Share: TypeAlias = Annotated[Number, Field(ge=0, le=1)]
Flag: TypeAlias = Annotated[bool, Strict()]
Count: TypeAlias = Annotated[int, Strict(), Field(ge=1)]
Text: TypeAlias = Annotated[str, Strict(), Field(min_length=1)]


class Weekday(StrEnum):
    """A day of the week."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"

    @property
    def number(self) -> int:
        """0 for Monday to 6 for Sunday, as `date.weekday()`."""
        return tuple(Weekday).index(self)


def _all_days(value: object) -> object:
    return tuple(Weekday) if value == "all" else value


def _in_week_order(days: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
    if len(set(days)) != len(days):
        raise ValueError("a day is listed twice")
    return tuple(day for day in Weekday if day in days)


Days: TypeAlias = Annotated[
    tuple[Weekday, ...],
    Field(min_length=1),
    BeforeValidator(_all_days),
    AfterValidator(_in_week_order),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "all"},
                {"type": "array", "minItems": 1, "items": {"enum": [day.value for day in Weekday]}},
            ]
        }
    ),
]
"""`all`, or a list of days of the week."""


class Part(BaseModel):
    """A part of a campaign file: unchangeable, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)
