"""Runs decide each customer of an audience once, start when they are due, and go on where they were stopped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from optimizer import runs
from optimizer.campaign import Schedule
from optimizer.errors import Conflict, NotFound
from optimizer.runs import latest_occurrence, next_occurrence
from optimizer.store import campaigns
from optimizer.store import runs as stored_runs
from optimizer.store.customers import Customer
from tests.optimizer.engine_example import Rig, campaign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from optimizer.store.rows import RunRow


pytestmark = pytest.mark.databases

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)

# Ordinary zones, a gap of half an hour, one at midnight, and a day that never was.
ZONES = ["Etc/UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "Pacific/Apia", "America/Mexico_City"]
EVERY = [timedelta(minutes=30), HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY]


def schedule(every: timedelta, at: time = time(6), zone: str = "Etc/UTC") -> Schedule:
    return Schedule.model_validate({"every": every, "at": f"{at:%H:%M}", "timezone": zone})


schedules = st.builds(
    schedule,
    st.sampled_from(EVERY),
    st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    st.sampled_from(ZONES),
)
# The months around every change of the clocks of these zones, and the day that Apia left out.
instants = st.datetimes(datetime(2011, 12, 20), datetime(2012, 4, 20), timezones=st.just(UTC))  # noqa: DTZ001


def by_definition(of: Schedule, starts_at: datetime, until: datetime) -> Iterator[datetime]:
    """Every occurrence up to `until`, in order: the local times of the days that count, a gap moving one on."""
    zone = ZoneInfo(of.timezone)
    first = starts_at.astimezone(zone).date()
    found = set()
    for number in range((until.astimezone(zone).date() - first).days + 3):
        day = first + number * DAY
        if number % max(of.every // DAY, 1):
            continue
        for minute in range(24 * 60):
            local = datetime.combine(day, time(minute // 60, minute % 60))
            away = local - datetime.combine(day, of.at)
            if away % min(of.every, DAY) == timedelta(0):
                found.add(local.replace(tzinfo=zone).astimezone(UTC))
    yield from sorted(instant for instant in found if starts_at <= instant <= until)


@settings(max_examples=50)
@given(schedules, instants, st.timedeltas(timedelta(0), 20 * DAY))
@example(schedule(DAY), datetime(2012, 3, 10, 1, tzinfo=UTC), 2 * DAY)
def test_the_latest_occurrence_is_the_last_that_the_definition_gives(
    of: Schedule, starts_at: datetime, passed: timedelta
) -> None:
    now = starts_at + passed
    expected = list(by_definition(of, starts_at, now))
    assert latest_occurrence(of, starts_at, now) == (expected[-1] if expected else None)


@settings(max_examples=50)
@given(schedules, instants, st.timedeltas(-3 * DAY, 20 * DAY))
@example(schedule(DAY, zone="America/New_York"), datetime(2012, 3, 1, tzinfo=UTC), 9 * DAY + timedelta(hours=10.9))
@example(schedule(6 * HOUR, time(0), "America/New_York"), datetime(2012, 3, 11, tzinfo=UTC), 4.9 * HOUR)
def test_the_next_occurrence_is_the_first_that_the_definition_gives(
    of: Schedule, starts_at: datetime, passed: timedelta
) -> None:
    now = starts_at + passed
    expected = (each for each in by_definition(of, starts_at, max(now, starts_at) + 15 * DAY) if each > now)
    assert next_occurrence(of, starts_at, now) == next(expected)


@given(schedules, instants, st.integers(1, 30))
def test_going_from_one_occurrence_to_the_next_leaves_none_out(of: Schedule, starts_at: datetime, n: int) -> None:
    now = starts_at - MICROSECOND
    for _ in range(n):
        following = next_occurrence(of, starts_at, now)
        assert latest_occurrence(of, starts_at, following) == following
        assert latest_occurrence(of, starts_at, following - MICROSECOND) == (now if now >= starts_at else None)
        now = following


def test_a_day_that_the_clocks_change_has_its_run_at_the_local_time() -> None:
    of = schedule(DAY, time(2, 30), "America/New_York")
    starts_at = datetime(2026, 3, 1, tzinfo=UTC)
    gap = next_occurrence(of, starts_at, datetime(2026, 3, 8, 0, tzinfo=UTC))
    assert gap == datetime(2026, 3, 8, 7, 30, tzinfo=UTC), "02:30 does not exist: 03:30, by the length of the gap later"
    fold = next_occurrence(schedule(DAY, time(1, 30), "America/New_York"), starts_at, datetime(2026, 11, 1, tzinfo=UTC))
    assert fold == datetime(2026, 11, 1, 5, 30, tzinfo=UTC), "01:30 occurs twice: the first one"


DAILY = {"schedule": {"every": "1d", "at": "16:00", "timezone": "Etc/UTC"}}


def test_a_run_decides_every_loaded_customer_of_the_audience_once_and_a_repeat_changes_nothing() -> None:
    with Rig(campaign(audience={"attr": "age", "op": ">=", "value": 18})) as rig:
        rig.engine.put_customers(
            [Customer("adult", {"age": 30.0}), Customer("child", {"age": 5.0}), Customer("unknown")]
        )
        rig.ask("stranger")
        first = rig.engine.run("camp", "spring")
        assert (first.state, first.decided) == ("finished", 1)
        before = rig.dump("decisions", "touches", "runs")
        rig.pass_by(hours=3)
        assert rig.engine.run("camp", "spring") == first
        assert rig.dump("decisions", "touches", "runs") == before
        assert rig.engine.run("camp", "summer").decided == 1


def test_a_run_without_an_occasion_is_that_of_the_day_or_of_the_schedule() -> None:
    with Rig(campaign(), campaign("timed", settings=DAILY)) as rig:
        rig.customers(2)
        assert rig.engine.run("camp").occasion == "2026-01-12"
        assert rig.engine.run("timed").occasion == "2026-01-11T16:00:00+00:00"
        rig.pass_by(hours=2)
        rig.jobs()
        assert [run.occasion for run in rig.engine.runs("timed")] == [
            "2026-01-12T16:00:00+00:00",
            "2026-01-11T16:00:00+00:00",
        ]
        assert rig.engine.run("timed").decided == 2, "it is the one that the scheduler started"


def test_a_scheduled_run_starts_when_it_is_due_however_often_the_job_looks() -> None:
    with Rig(campaign(settings=DAILY)) as rig:
        rig.customers(3)
        rig.jobs()
        before = len(rig.log())
        for _ in range(4):
            rig.pass_by(minutes=30)
            rig.jobs()
            rig.jobs()
        assert len(rig.log()) == before + 3
        assert rig.engine.next_due_us() is not None


def test_following_the_next_due_instant_misses_no_scheduled_run_across_a_change_of_the_clocks() -> None:
    settings = {"schedule": {"every": "1d", "at": "06:00", "timezone": "America/New_York"}}
    with Rig(campaign(settings=settings)) as rig:
        rig.clock.advance_to(datetime(2026, 3, 7, 10, 30, tzinfo=UTC))  # half an hour before the last run in winter
        rig.jobs()
        while rig.clock.now() < datetime(2026, 3, 11, tzinfo=UTC):
            due_us = rig.engine.next_due_us()
            assert due_us is not None
            rig.clock.advance_to(datetime.fromtimestamp(due_us / 1e6, UTC))
            rig.jobs()
        days = sorted(datetime.fromisoformat(run.occasion).date() for run in rig.engine.runs("camp"))
        assert days == [date(2026, 3, day) for day in range(6, 12)]


def test_a_run_that_was_killed_between_two_pages_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PAGE", 4)
    with Rig(campaign()) as rig:
        ids = rig.customers(11)
        pages = iter([True, True, False])
        whole = runs.Runs._decide_page  # noqa: SLF001 - the process ends here

        def killed(self: runs.Runs, connection: Connection, page: runs._Page) -> int | None:
            if not next(pages):
                raise KeyboardInterrupt
            return whole(self, connection, page)

        with monkeypatch.context() as patch:
            patch.setattr(runs.Runs, "_decide_page", killed)
            with pytest.raises(KeyboardInterrupt):
                rig.engine.run("camp", "spring")
        assert len(rig.log()) == 8
        rig.restart()
        rig.jobs()
        (run,) = rig.engine.runs("camp")
        assert (run.state, run.decided, run.cursor) == ("finished", 11, ids[-1])
        assert len({row.subject_id for row in rig.log()}) == 11


def test_a_run_that_does_not_know_how_far_it_was_decides_nobody_twice() -> None:
    with Rig(campaign()) as rig:
        rig.customers(5)
        rig.engine.run("camp", "spring")
        rig.execute("update runs set state = 'running', cursor = ''")
        rig.customers(7)
        rig.jobs()
        assert len({row.subject_id for row in rig.log()}) == len(rig.log()) == 7


def test_two_who_go_through_the_same_run_decide_each_customer_once_and_count_them_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "PAGE", 3)
    with Rig(campaign()) as rig, ThreadPoolExecutor(3) as pool:
        rig.customers(40)
        done = list(pool.map(lambda _: rig.engine.run("camp", "spring"), range(3)))
        assert len(rig.log()) == 40
        (stored,) = rig.engine.runs("camp")
        assert stored.decided == 40
        assert done == [stored] * 3


def test_a_paused_campaigns_run_is_refused_and_goes_on_when_it_is_resumed() -> None:
    with Rig(campaign()) as rig:
        rig.customers(3)
        rig.engine.pause("camp")
        with pytest.raises(Conflict, match="paused"):
            rig.engine.run("camp", "spring")
        rig.jobs()
        assert not rig.log()
        rig.engine.resume("camp")
        rig.jobs()
        assert len(rig.log()) == 3
        assert rig.engine.run("camp", "spring").decided == 3


def test_a_campaign_paused_in_the_middle_of_a_run_stops_after_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PAGE", 2)
    with Rig(campaign()) as rig:
        rig.customers(6)
        whole = runs.Runs._decide_page  # noqa: SLF001 - to pause after the first page

        def pausing(self: runs.Runs, connection: Connection, page: runs._Page) -> int | None:
            done = whole(self, connection, page)
            campaigns.change_state(connection, "default", "camp", "paused", at_us=rig.now_us, change_id="now")
            return done

        monkeypatch.setattr(runs.Runs, "_decide_page", pausing)
        with pytest.raises(Conflict, match="paused"):
            rig.engine.run("camp", "spring")
        assert len(rig.log()) == 2


def test_a_page_that_was_not_written_is_gone_through_again_and_the_run_does_not_end_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a short pause, or where another process with other customers in its pages went on meanwhile."""
    monkeypatch.setattr(runs, "PAGE", 2)
    whole, moved = stored_runs.hold_run, iter([False, True])

    def elsewhere(connection: Connection, tenant: str, run_id: str) -> RunRow | None:
        run = whole(connection, tenant, run_id)
        return run._replace(cursor="elsewhere") if run and next(moved, False) else run

    monkeypatch.setattr(stored_runs, "hold_run", elsewhere)
    with Rig(campaign()) as rig:
        rig.customers(11)
        finished = rig.engine.run("camp", "spring")
        assert (finished.state, finished.decided) == ("finished", 11)
        assert len({row.subject_id for row in rig.log()}) == len(rig.log()) == 11


def test_the_scheduled_run_missed_in_a_pause_starts_when_the_campaign_is_resumed() -> None:
    with Rig(campaign(settings=DAILY)) as rig:
        rig.customers(2)
        rig.jobs()
        made = len(rig.log())
        rig.engine.pause("camp")
        rig.pass_by(days=3)
        rig.jobs()
        assert len(rig.log()) == made
        rig.engine.resume("camp")
        rig.jobs()
        rig.jobs()
        assert len(rig.log()) == made + 2, "one run, not three"


@pytest.mark.parametrize(
    "settings", [{"starts_at": "2026-02-01T00:00:00Z"}, {"ends_at": "2026-01-10T00:00:00Z"}], ids=["before", "after"]
)
def test_a_campaign_outside_its_dates_runs_over_nobody_and_says_so(settings: dict[str, str]) -> None:
    with Rig(campaign(settings=settings)) as rig:
        rig.customers(2)
        with pytest.raises(Conflict, match="not active now"):
            rig.engine.run("camp")
        assert not rig.log()
        assert not rig.engine.runs("camp"), "the day's occasion is still to be had"


def test_a_run_ends_with_its_campaign() -> None:
    with Rig(campaign(settings={"ends_at": "2026-01-13T00:00:00Z"})) as rig:
        rig.customers(2)
        rig.engine.pause("camp")
        with pytest.raises(Conflict):
            rig.engine.run("camp", "spring")
        rig.pass_by(days=2)
        rig.engine.resume("camp")
        rig.jobs()
        (run,) = rig.engine.runs("camp")
        assert (run.state, run.decided) == ("finished", 0)


def test_a_campaign_that_is_not_loaded_cannot_be_run() -> None:
    with Rig() as rig, pytest.raises(NotFound):
        rig.engine.run("camp")
