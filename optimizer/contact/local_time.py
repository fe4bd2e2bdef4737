"""Local times of a zone as instants, daylight saving included.

Clocks that are put forward leave out times (a gap), clocks that are put back show times twice. What is meant then
depends on what the time bounds, so that nobody is contacted while clocks show a time at which nobody may be: what is
closed lasts from `earliest` to `latest`, what is open from `latest` to `earliest`. A timing slot, which is an intention
and no promise, lasts from `usual` to `usual`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from optimizer.clock import from_us, to_us

if TYPE_CHECKING:
    from datetime import date, time
    from zoneinfo import ZoneInfo


def usual(day: date, at: time, zone: ZoneInfo) -> int:
    """The time as an instant, UTC microseconds: of two the first; in a gap, moved forward by the gap."""
    return to_us(datetime.combine(day, at, zone))


def earliest(day: date, at: time, zone: ZoneInfo) -> int:
    """The first instant, UTC microseconds, at which clocks show the time: of two the first; in a gap, the gap's end."""
    moved = datetime.combine(day, at, zone)
    other_us, moved_us = to_us(moved.replace(fold=1)), to_us(moved)
    return moved_us if moved_us <= other_us else _change_us(other_us, moved_us, zone)


def latest(day: date, at: time, zone: ZoneInfo) -> int:
    """The time as an instant, UTC microseconds: of two the second; in a gap, moved forward by the gap."""
    moved = datetime.combine(day, at, zone)
    return max(to_us(moved), to_us(moved.replace(fold=1)))


def _change_us(before_us: int, after_us: int, zone: ZoneInfo) -> int:
    """When, between two instants, clocks are put forward; such changes happen at whole seconds."""
    first, last = from_us(before_us), from_us(after_us)
    offset = last.astimezone(zone).utcoffset()
    while last - first > timedelta(seconds=1):
        middle = first + (last - first) // 2
        middle -= timedelta(microseconds=middle.microsecond)
        if middle.astimezone(zone).utcoffset() == offset:
            last = middle
        else:
            first = middle
    return to_us(last)
