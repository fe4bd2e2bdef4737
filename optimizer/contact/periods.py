"""The days, weeks and months of a calendar as stretches of time: what a calendar cap counts in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from optimizer.clock import from_us
from optimizer.contact.local_time import earliest

if TYPE_CHECKING:
    from optimizer.contact.policy import CapWindow

_MIDNIGHT = time(0)
_DAY = timedelta(days=1)
_WEEK_DAYS = 7


@dataclass(frozen=True, slots=True)
class Period:
    """One kind of stretch, from one midnight of its clock to another.

    Attributes:
        calendar: day, week or month.
        week_starts: 0 for Monday to 6 for Sunday.
        zone: whose midnight; None: the recipient's.
    """

    calendar: Literal["day", "week", "month"]
    week_starts: int
    zone: ZoneInfo | None

    @classmethod
    def of(cls, window: CapWindow, campaign_zone: str | None) -> Period:
        """That of a cap that is not a rolling one. `campaign_zone` is the campaign's own clock."""
        if window.calendar is None:
            raise ValueError("a rolling window is no period of the calendar")
        zones = {"recipient": None, "utc": "UTC", "campaign": campaign_zone or "UTC"}
        zone = zones[window.clock]
        return cls(window.calendar, window.week_starts.number, ZoneInfo(zone) if zone else None)

    @property
    def longest_us(self) -> int:
        """No stretch of the kind is longer: changes of the clock included."""
        return ({"day": 1, "week": 7, "month": 31}[self.calendar] + 1) * (_DAY // timedelta(microseconds=1))

    def bounds_us(self, at_us: int, recipient: ZoneInfo | None) -> tuple[int, int]:
        """Where the stretch that holds the instant begins, and where the next one does; UTC without a zone."""
        zone = self.zone or recipient
        day = from_us(at_us).astimezone(zone or UTC).date()
        start_us, end_us = _bounds_us(self.calendar, self.week_starts, zone, day)
        # Clocks that are put back over midnight show a date again that was over.
        while at_us >= end_us:
            day += _DAY
            start_us, end_us = _bounds_us(self.calendar, self.week_starts, zone, day)
        while at_us < start_us:
            day -= _DAY
            start_us, end_us = _bounds_us(self.calendar, self.week_starts, zone, day)
        return start_us, end_us


@lru_cache(maxsize=1 << 14)
def _bounds_us(calendar: str, week_starts: int, zone: ZoneInfo | None, day: date) -> tuple[int, int]:
    first, after = day, day + _DAY
    if calendar == "week":
        first = day - ((day.weekday() - week_starts) % _WEEK_DAYS) * _DAY
        after = first + _WEEK_DAYS * _DAY
    elif calendar == "month":
        first = day.replace(day=1)
        after = (first + 31 * _DAY).replace(day=1)
    clock = zone or ZoneInfo("UTC")
    return earliest(first, _MIDNIGHT, clock), earliest(after, _MIDNIGHT, clock)
