"""Passes of a campaign over its audience: started by a schedule, a command or a caller, resumed where they stopped."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from optimizer.clock import from_us
from optimizer.errors import Conflict, Unavailable
from optimizer.facts import Subject, context_of
from optimizer.reasons import Reason
from optimizer.runtime import total
from optimizer.store import customers, decisions, runs
from optimizer.store.rows import RunRow
from optimizer.store.transactions import StartAgain

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from optimizer.campaign import CampaignFile, Schedule
    from optimizer.decisions import Decisions
    from optimizer.leases import Fence, Leases
    from optimizer.runtime import Runtime
    from optimizer.versions import Version, Versions

PAGE = 2_000
"""Customers decided in one transaction."""

_DAY = timedelta(days=1)


def latest_occurrence(schedule: Schedule, starts_at: datetime, now: datetime) -> datetime | None:
    """The last scheduled instant at or before `now` and not before `starts_at`; None while there is none.

    Days are counted from the first one, in the schedule's zone; a local time that does not exist is moved forward by
    the gap, of one that occurs twice the first is meant.
    """
    zone = ZoneInfo(schedule.timezone)
    first, today = starts_at.astimezone(zone).date(), now.astimezone(zone).date()
    for back in range(_period(schedule) + 2):
        past = [at for at in _occurrences(schedule, first, today - back * _DAY) if starts_at <= at <= now]
        if past:
            return max(past)
    return None


def next_occurrence(schedule: Schedule, starts_at: datetime, now: datetime) -> datetime:
    """The first scheduled instant after `now` and not before `starts_at`; see `latest_occurrence`."""
    zone = ZoneInfo(schedule.timezone)
    first = starts_at.astimezone(zone).date()
    # A gap may have moved an occurrence of the day before past midnight.
    day = max(now, starts_at).astimezone(zone).date() - _DAY
    while True:
        coming = [at for at in _occurrences(schedule, first, day) if at >= starts_at and at > now]
        if coming:
            return min(coming)
        day += _DAY


def _occurrences(schedule: Schedule, first: date, day: date) -> list[datetime]:
    """The instants, in UTC, that belong to a local day; none if it is not one of those counted from the first."""
    if day < first or (day - first).days % _period(schedule):
        return []
    step = min(schedule.every, _DAY)
    earliest = timedelta(hours=schedule.at.hour, minutes=schedule.at.minute) % step
    times = (
        datetime.combine(day, time.min, ZoneInfo(schedule.timezone)) + earliest + i * step for i in range(_DAY // step)
    )
    return [each.astimezone(UTC) for each in times]


def _period(schedule: Schedule) -> int:
    """How many days after a day with occurrences the next one comes."""
    return max(schedule.every // _DAY, 1)


class Runs:
    """Starts runs and goes through their audiences, a page a transaction."""

    def __init__(self, runtime: Runtime, versions: Versions, decisions_: Decisions, leases: Leases) -> None:
        self._runtime = runtime
        self._versions = versions
        self._decisions = decisions_
        self._leases = leases

    def start_due(self) -> int:
        """Start the run of every active campaign of this worker whose scheduled time has come; how many were new."""
        now_us = self._runtime.now_us()
        due = self._runtime.store.read(partial(self._due, now_us=now_us))

        def start(fence: Fence) -> int:
            run = self._new(fence.campaign_id, due[fence.campaign_id], now_us)
            return int(self._runtime.store.write(partial(runs.start_run, row=run)).run_id == run.run_id)

        return self._leases.each(list(due), start)

    def _due(self, connection: Connection, now_us: int) -> dict[str, str]:
        """The occasion that has come and has no run yet, by campaign."""
        tenant, found = self._runtime.tenant, {}
        for row in self._versions.all(connection):
            settings = self._versions.get(connection, row.campaign_id, row.config_hash).campaign.campaign
            if settings.schedule is None or row.state != "active":
                continue
            due = latest_occurrence(settings.schedule, settings.starts_at, from_us(now_us))
            if due is None or (settings.ends_at is not None and due >= settings.ends_at):
                continue
            if runs.run_of(connection, tenant, row.campaign_id, due.isoformat()) is None:
                found[row.campaign_id] = due.isoformat()
        return found

    def _new(self, campaign_id: str, occasion: str, now_us: int) -> RunRow:
        run_id = self._runtime.ids.uuid7(now_us)
        return RunRow(self._runtime.tenant, run_id, campaign_id, occasion, now_us, "", "running", now_us, None, 0)

    def run(self, campaign_id: str, occasion: str | None = None) -> RunRow:
        """Run a campaign over its audience and return the finished run. A repeat of the same occasion changes nothing.

        Without an occasion it is that of the schedule that was due last, or else the UTC day. Raises NotFound, and
        Conflict where the campaign is paused, or not active by its dates.
        """
        runtime = self._runtime
        now_us = runtime.now_us()
        version = runtime.store.read(lambda connection: self._versions.current(connection, campaign_id))
        named = occasion or _usual_occasion(version.campaign, from_us(now_us))
        row = runtime.store.write(partial(self._begin, version=version, occasion=named, now_us=now_us))
        self._finish(row)
        finished = runtime.store.read(lambda connection: runs.run_by_id(connection, runtime.tenant, row.run_id))
        if runtime.stopping.is_set() and finished is not None and finished.state != "finished":
            raise Unavailable(
                f"the service is stopping: run {named!r} of {campaign_id!r} goes on when it is started again"
            )
        if finished is None or finished.state != "finished":
            raise Conflict(f"campaign {campaign_id!r} is paused: its run {named!r} goes on when it is resumed")
        return finished

    def _begin(self, connection: Connection, version: Version, occasion: str, now_us: int) -> RunRow:
        settings = version.campaign.campaign
        new = self._new(settings.id, occasion, now_us)
        row = runs.start_run(connection, new)
        if row.run_id == new.run_id and not version.runs_at(from_us(now_us)):
            ends = f", ends_at {settings.ends_at.isoformat()}" if settings.ends_at else ""
            raise Conflict(
                f"campaign {settings.id!r} is not active now (starts_at {settings.starts_at.isoformat()}{ends}): "
                "nothing was decided"
            )
        return row

    def advance(self) -> int:
        """Go on with every unfinished run of this worker's campaigns until all are finished; how many decisions."""
        tenant = self._runtime.tenant
        waiting = self._runtime.store.read(lambda connection: runs.unfinished_runs(connection, tenant))

        def go_on(fence: Fence) -> int:
            return total(self._finish, [row for row in waiting if row.campaign_id == fence.campaign_id])

        return self._leases.each(list(dict.fromkeys(row.campaign_id for row in waiting)), go_on)

    def _finish(self, row: RunRow) -> int:
        """Go through the rest of the audience; ends early where the campaign is paused or the service stops.

        Returns how many decisions were made here.
        """
        tenant, made, before = self._runtime.tenant, 0, None
        while row != before and row.state == "running" and not self._runtime.stopping.is_set():
            made += self._go_on(row)
            before = row
            now = self._runtime.store.read(partial(runs.run_by_id, tenant=tenant, run_id=row.run_id))
            assert now is not None  # noqa: S101 - runs are never deleted
            row = now
        return made

    def _go_on(self, row: RunRow) -> int:
        """Decide page after page from where the run is, up to one that is not to be decided from here.

        While one page is written the next is decided, where the database takes two transactions at a time. Returns how
        many decisions were made.
        """
        made = 0
        cursor: str | None = row.cursor
        last: Future[int | None] | None = None
        with ThreadPoolExecutor(2, thread_name_prefix="run") as pool:
            while cursor is not None and not self._runtime.stopping.is_set():
                page = _Page(row.run_id, cursor, last)
                this = pool.submit(self._runtime.store.write, partial(self._decide_page, page=page))
                this.add_done_callback(page.ended)
                cursor = page.decided.result()
                if last is not None:
                    if (decided := last.result()) is None:
                        break
                    made += decided
                last = this
        return made + ((last.result() or 0) if last else 0)

    def _decide_page(self, connection: Connection, page: _Page) -> int | None:
        """Decide the next customers of a run: how many, or None where the run is not to go on from here.

        A paused campaign's run waits, and others may be going through it at the same time: whoever comes to a page
        second leaves it. The last page finishes the run.
        """
        tenant, now_us = self._runtime.tenant, self._runtime.now_us()
        run = runs.run_by_id(connection, tenant, page.run_id)
        assert run is not None  # noqa: S101 - runs are never deleted
        # All of them: which campaign of an exclusion group has a customer depends on the others too.
        standing = self._versions.all(connection)
        campaign = next(row for row in standing if row.campaign_id == run.campaign_id)
        if run.state != "running" or campaign.state != "active":
            return None
        version = self._versions.get(connection, campaign.campaign_id, campaign.config_hash)
        people = customers.audience_page(connection, tenant, page.after, PAGE)
        if not version.runs_at(from_us(now_us)):
            people = []
        ids = [row.subject_id for row in people]
        done = decisions.decided_subjects(connection, tenant, campaign.campaign_id, run.occasion, ids)
        subjects = [
            Subject(row, context_of(version, row, {}, None), occasion=run.occasion)
            for row in people
            if row.subject_id not in done
        ]
        prepared = self._decisions.prepare(connection, version, subjects, paused=False, first_to_wait=page.is_next)
        if people:
            page.pass_on(people[-1].customer_id)
        if not page.is_next():
            return None
        run = runs.hold_run(connection, tenant, page.run_id)
        assert run is not None  # noqa: S101 - see above
        if run.cursor != page.after:
            return None
        self._versions.kept(connection, [run.campaign_id])
        if self._versions.all(connection) != standing:
            # One was paused or loaded since: the page is decided anew, by how they stand now.
            raise StartAgain
        if not people:
            runs.finish_run(connection, tenant, run.run_id, now_us)
            return None
        # Those outside of the audience were not asked for; of them nothing is logged.
        inside = [row for row in prepared.rows if row.reason != Reason.NOT_IN_AUDIENCE]
        rows = self._decisions.write(connection, replace(prepared, rows=inside))
        runs.advance_run(connection, tenant, run.run_id, people[-1].customer_id, run.decided + len(rows))
        return len(rows)


class _Page:
    """The customers of a run after one of them, and the page before, which has to be on disk first.

    Attributes:
        decided: the last customer of the page, once all of it is decided; None where there is nothing to decide.
    """

    def __init__(self, run_id: str, after: str, before: Future[int | None] | None) -> None:
        self.run_id = run_id
        self.after = after
        self.decided: Future[str | None] = Future()
        self._before = before

    def pass_on(self, last_customer_id: str) -> None:
        """The next page may begin."""
        # A transaction that lost against another is run again.
        if not self.decided.done():
            self.decided.set_result(last_customer_id)

    def is_next(self) -> bool:
        """Whether the page before was decided, once that is on disk; raises what it raised."""
        return self._before is None or self._before.result() is not None

    def ended(self, _page: Future[int | None]) -> None:
        """There is no next page, unless it was told before."""
        if not self.decided.done():
            self.decided.set_result(None)


def _usual_occasion(campaign: CampaignFile, now: datetime) -> str:
    schedule = campaign.campaign.schedule
    due = latest_occurrence(schedule, campaign.campaign.starts_at, now) if schedule else None
    return due.isoformat() if due else now.date().isoformat()
