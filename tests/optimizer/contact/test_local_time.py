from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from optimizer.clock import from_us, to_us
from optimizer.contact.hours import HourRules
from optimizer.contact.local_time import earliest, latest, usual
from optimizer.contact.periods import Period
from optimizer.contact.policy import ContactPolicy
from optimizer.scalars import ZONES

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
YEARS = 10


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("zone", "local", "first", "meant", "last"),
    [
        # An ordinary time.
        ("Europe/Berlin", "2026-01-05T09:00", "2026-01-05T08:00Z", "2026-01-05T08:00Z", "2026-01-05T08:00Z"),
        # 02:00 to 03:00 does not exist: closed from 03:00 on, or up to 03:30.
        ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00Z", "2026-03-29T01:30Z", "2026-03-29T01:30Z"),
        ("Europe/Berlin", "2026-03-29T02:00", "2026-03-29T01:00Z", "2026-03-29T01:00Z", "2026-03-29T01:00Z"),
        # 02:00 to 03:00 is there twice.
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30Z", "2026-10-25T00:30Z", "2026-10-25T01:30Z"),
        ("Europe/Berlin", "2026-10-25T03:00", "2026-10-25T02:00Z", "2026-10-25T02:00Z", "2026-10-25T02:00Z"),
        # Half an hour, in the south.
        ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30Z", "2026-10-03T15:45Z", "2026-10-03T15:45Z"),
        ("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45Z", "2026-04-04T14:45Z", "2026-04-04T15:15Z"),
        # A midnight that does not exist.
        ("America/Santiago", "2026-09-06T00:00", "2026-09-06T04:00Z", "2026-09-06T04:00Z", "2026-09-06T04:00Z"),
    ],
)
def test_a_local_time_that_does_not_exist_or_exists_twice(
    zone: str, local: str, first: str, meant: str, last: str
) -> None:
    when, place = at(local), ZoneInfo(zone)
    found = [each(when.date(), when.time(), place) for each in (earliest, usual, latest)]
    assert [from_us(us) for us in found] == [at(text) for text in (first, meant, last)]


class Change(NamedTuple):
    """An instant at which a zone's clocks are changed; before it they showed `before`, from it on `after`."""

    instant: datetime
    before: datetime
    after: datetime


def offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    found = instant.astimezone(zone).utcoffset()
    assert found is not None
    return found


def changes(zone: ZoneInfo) -> tuple[Change, ...]:
    """All of the years, found day by day and then by halving."""
    found = []
    days = [SINCE + ahead * DAY for ahead in range(YEARS * 366)]
    offsets = [offset(zone, day) for day in days]
    for day, before, after in zip(days, offsets, offsets[1:], strict=False):
        if before != after:
            first, last = day, day + DAY
            while last - first > MINUTE:
                middle = first + (last - first) // 2 // MINUTE * MINUTE
                first, last = (middle, last) if offset(zone, middle) == before else (first, middle)
            found.append(Change(last, (last + before).replace(tzinfo=None), (last + after).replace(tzinfo=None)))
    return tuple(found)


@lru_cache(maxsize=1)
def every_change() -> dict[tuple[Change, ...], ZoneInfo]:
    """The zones of the world whose clocks are changed; one of those that are changed alike stands for all."""
    alike: dict[tuple[timedelta, ...], list[ZoneInfo]] = {}
    for name in sorted(ZONES):
        zone = ZoneInfo(name)
        # Weeks tell most zones apart; the days of the rest are looked at.
        key = tuple(offset(zone, SINCE + ahead * 7 * DAY) for ahead in range(YEARS * 53))
        if len(set(key)) > 1:
            alike.setdefault(key, []).append(zone)
    return {changes(zone): zone for zones in alike.values() for zone in zones}


def test_the_clocks_of_many_zones_are_changed_in_many_ways() -> None:
    shifts = {change.after - change.before for listed in every_change() for change in listed}
    assert len(every_change()) >= 30
    assert {timedelta(hours=1), timedelta(hours=-1), timedelta(minutes=30), timedelta(hours=-2)} <= shifts


def shown(zone: ZoneInfo, instant: datetime) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def test_every_local_time_around_every_change_of_every_zone_is_where_the_clocks_show_it() -> None:
    for listed, zone in every_change().items():
        for change in listed:
            low, high = sorted((change.before, change.after))
            shift = change.after - change.before
            for local in (low - MINUTE, low, low + MINUTE, low + (high - low) / 2, high - MINUTE, high, high + MINUTE):
                first, meant, last = (
                    from_us(each(local.date(), local.time(), zone)) for each in (earliest, usual, latest)
                )
                if low <= local < high and shift > timedelta(0):
                    # Skipped: moved forward by the gap, or its end.
                    assert first == change.instant
                    assert shown(zone, meant) == shown(zone, last) == local + shift
                elif low <= local < high:
                    # There twice.
                    assert shown(zone, first) == shown(zone, last) == local
                    assert last - first == -shift
                    assert meant == first
                else:
                    assert first == meant == last
                    assert shown(zone, first) == local


@pytest.mark.parametrize(
    ("start", "end"), [("21:00", "08:00"), ("00:30", "02:30"), ("02:30", "03:15"), ("23:30", "00:15")]
)
def test_nobody_is_ever_contacted_while_clocks_show_quiet_hours_or_are_outside_send_windows(
    start: str, end: str
) -> None:
    """Every zone, every change of ten years, every quarter of an hour from a day before to a day after."""
    first, last = time.fromisoformat(start), time.fromisoformat(end)
    span = (datetime.combine(date.min, last) - datetime.combine(date.min, first)) % DAY
    quiet = HourRules(ContactPolicy.model_validate({"quiet_hours": [{"from": start, "to": end}]}), (), 1)
    window = HourRules(ContactPolicy.model_validate({"send_windows": [{"from": start, "to": end}]}), (), 1)
    for listed, zone in every_change().items():
        for change in listed:
            instants = [change.instant + quarter * 15 * MINUTE for quarter in range(-60, 60)]
            today = shown(zone, instants[0]).date()
            left = quiet.around(zone, (), today)[0].open
            opened = window.around(zone, (), today)[0].open
            for instant in instants:
                local = shown(zone, instant)
                inside = first <= local.time() < last if first < last else not last <= local.time() < first
                if inside:
                    assert to_us(instant) not in left
                else:
                    assert to_us(instant) not in opened
                # They are longer than they say only beside a change, as far as clocks jump.
                if abs(instant - change.instant) >= 2 * abs(change.after - change.before):
                    assert (to_us(instant) in left) == (not inside)
                    assert (to_us(instant) in opened) == inside
            # Where clocks skip some of them, that much at most is missing.
            for us, until_us in zip(left.ends, left.starts[1:], strict=False):
                assert from_us(until_us) - from_us(us) >= span - max(change.after - change.before, timedelta(0))


@pytest.mark.parametrize("kind", ["day", "week", "month"])
def test_every_instant_around_every_change_lies_in_one_period_and_that_is_the_one_clocks_show(
    kind: Literal["day", "week", "month"],
) -> None:
    period = Period(kind, 0, None)
    for listed, zone in every_change().items():
        for change in listed[:4]:
            for quarter in range(-100, 100, 7):
                instant = change.instant + quarter * 15 * MINUTE
                start_us, end_us = period.bounds_us(to_us(instant), zone)
                assert start_us <= to_us(instant) < end_us
                assert end_us - start_us <= period.longest_us
                assert period.bounds_us(start_us, zone) == (start_us, end_us)
                assert period.bounds_us(end_us, zone)[0] == end_us
                assert period.bounds_us(start_us - 1, zone)[1] == start_us
                assert shown(zone, from_us(start_us)).date() <= shown(zone, instant).date()
