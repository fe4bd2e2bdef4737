"""Retention: whole months of the decision and event logs leave the database, and all that belongs to them.

A month goes when everything of it is at its end, closed and learned, and every month before it has gone. Before
anything is dropped the newest snapshot of each learner is kept as the one from which a rebuild starts (`base`), and the
audit log notes where the logs begin from then on (the cut). Then the logs go, and after them what only they gave a
meaning to; of each subject's touches that go, the ledger keeps the count. Killed at any moment, it is finished by
beginning again. A service may run beside it.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from optimizer import audit, budgets, history
from optimizer.audit import Action
from optimizer.contact.facts import ENDED
from optimizer.errors import Conflict, Unavailable
from optimizer.store import customers, dropping, ledgers, retention, snapshots
from optimizer.store.external_touches import EXTERNAL
from optimizer.store.retention import LOG, cut_of
from optimizer.upkeep import archive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta
    from pathlib import Path

    from sqlalchemy import Connection

    from optimizer.engine import Engine
    from optimizer.store import Store
    from optimizer.store.partitions import Month
    from optimizer.tenants import Tenants

PAGE: Final = 2_000
"""How many rows are dropped in one transaction."""

_START: Final = (-1, "")


@dataclass(frozen=True, slots=True)
class Finding:
    """What retention finds of a month."""

    month: Month
    decisions: int
    events: int
    kept: str | None
    """Why it stays; None where it goes."""


class Retention:
    """Takes months away from the logs of every tenant.

    Args:
        tenants: the service.
        keep: how much of the logs stays; a month goes when all of it is older.
        tell: is given what is done, and how much of it, page by page.
        wait: waits for seconds.
        tries: how often a partition is tried to be dropped, a second apart, while others hold it.
    """

    def __init__(
        self,
        tenants: Tenants,
        keep: timedelta,
        *,
        tell: Callable[[str, int], object],
        wait: Callable[[float], object] = time.sleep,
        tries: int = 30,
    ) -> None:
        self._tenants = tenants
        self._store = tenants.first.runtime.store
        self._keep = keep
        self._tell = tell
        self._wait = wait
        self._tries = tries

    def look(self) -> list[Finding]:
        """The months that are old enough, in order, and whether each would go. Changes nothing."""
        now_us = self._tenants.first.runtime.now_us()
        before_us = now_us - round(self._keep.total_seconds() * 1e6)
        engines = self._tenants.engines()
        names = [engine.runtime.tenant for engine in engines]
        months = self._store.read(partial(retention.months, tenants=names, before_us=before_us))
        findings: list[Finding] = []
        for month in months:
            earlier = next((found.month for found in findings if found.kept), None)
            kept = f"{earlier} is kept" if earlier else self._why_kept(engines, month)
            decided, seen = (
                self._store.read(partial(retention.count_rows, name=name, month=month))
                for name in ("decisions", "events")
            )
            findings.append(Finding(month, decided, seen, kept))
        return findings

    def _why_kept(self, engines: Sequence[Engine], month: Month) -> str | None:
        for engine in engines:
            tenant = engine.runtime.tenant
            unclosed, open_touches = self._store.read(partial(retention.standing, tenant=tenant, month=month))
            if unclosed:
                return f"{unclosed:,} decisions of it are not closed yet"
            if open_touches:
                return f"{open_touches:,} touches of it are not at their end yet"
            for campaign in self._store.read(engine.versions.all):
                left = self._store.read(
                    partial(_unlearned, engine=engine, campaign_id=campaign.campaign_id, month=month)
                )
                if left:
                    return f"{left:,} decisions of campaign {campaign.campaign_id!r} are not learned yet"
        return None

    def run(self, export: Path | None = None, *, by: str = audit.SERVICE) -> list[Finding]:
        """Take the months away that can go, and write them into `export` first if it is given; all that were looked at.

        Raises Conflict, before anything is dropped, where an exported file cannot be what the database has.
        """
        findings = self.look()
        going = [found.month for found in findings if found.kept is None]
        if export is not None:
            for month in going:
                archive.export(self._store, export, month, self._tell)
        engines = self._tenants.engines()
        if going:
            self._mark(engines, going, by)
        for month in going:
            self._drop(month)
        for engine in engines:
            self._clear(engine.runtime.tenant)
        return findings

    def _mark(self, engines: Sequence[Engine], going: Sequence[Month], by: str) -> None:
        """Note what a rebuild starts from, and where the logs begin, before anything is gone."""
        for month in going:
            if (kept := self._why_kept(engines, month)) is not None:
                raise Conflict(f"{month} stays after all ({kept}): nothing was dropped; try again")
        details = {"cut": going[-1].next.bound, "months": [str(month) for month in going]}

        def change(connection: Connection) -> None:
            for engine in engines:
                retention.mark_base(connection, engine.runtime.tenant)
                audit.note(connection, engine.runtime, by, Action.DROPPED, {LOG: details})

        self._store.write(change)

    def _drop(self, month: Month) -> None:
        for name, drop in (("events", dropping.drop_events), ("decisions", dropping.drop_decisions)):
            last, done = None, 0
            while True:
                last = self._store.write(partial(drop, month=month, last=last, limit=PAGE))
                if last is None:
                    break
                done += PAGE
                self._tell(f"{name} of {month}", done)
            self._drop_partition(name, month)

    def _drop_partition(self, name: str, month: Month) -> None:
        for left in reversed(range(self._tries)):
            try:
                self._store.write(partial(dropping.drop_partition, table=name, month=month))
            except Unavailable:
                if not left:
                    raise
                self._wait(1)
            else:
                return

    def _clear(self, tenant: str) -> None:
        """Drop what is left of decisions that have left the log."""
        cut = self._store.read(partial(cut_of, tenant=tenant))
        self._tell("what belonged to them", 0)
        forget_touches(self._store, tenant, cut)
        self._tell("what was learned from them", 0)
        while self._store.write(partial(dropping.drop_leftovers, tenant=tenant, cut=cut, limit=PAGE)):
            pass
        self._tell("snapshots", 0)
        unused = self._store.read(partial(dropping.unused_snapshots, tenant=tenant, cut=cut))
        for start in range(0, len(unused), PAGE):
            self._store.write(partial(dropping.drop_snapshots, tenant=tenant, ids=unused[start : start + PAGE]))


def forget_touches(store: Store, tenant: str, cut: str) -> None:
    """Drop the touches of decisions that have left the log; their subjects' ledgers keep the count of them."""
    while store.write(partial(_forget_page, tenant=tenant, cut=cut)):
        pass


def _forget_page(connection: Connection, tenant: str, cut: str) -> int:
    gone = dropping.leftover_touches(connection, tenant, cut, PAGE)
    counts: dict[str, Counter[str]] = {}
    for touch in gone:
        ours = touch.dispatch != EXTERNAL
        counts.setdefault(touch.subject_id, Counter())[touch.campaign_id] += ours and touch.state not in ENDED
    customers.hold_subjects(connection, tenant, counts)
    stored = ledgers.ledgers_by_subjects(connection, tenant, counts)
    bodies = {
        subject_id: history.dumps(history.archive(history.loads(body), +counts[subject_id]))
        for subject_id, body in stored.items()
    }
    ledgers.put_ledgers(connection, tenant, bodies)
    budgets.archive(connection, tenant, gone)
    dropping.drop_touches(connection, tenant, [touch.decision_id for touch in gone])
    return len(gone)


def _unlearned(connection: Connection, engine: Engine, campaign_id: str, month: Month) -> int:
    tenant = engine.runtime.tenant
    _, key = engine.versions.learning(connection, campaign_id)
    newest = snapshots.latest_snapshot(connection, tenant, campaign_id, key)
    watermark = (newest.watermark_us, newest.watermark_id) if newest else _START
    return retention.unlearned(connection, tenant, campaign_id, month, watermark)
