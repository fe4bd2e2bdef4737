"""Leases: several workers on one database share the campaigns, and each campaign is one worker's at a time.

A worker announces itself by a row that it beats every `BEAT_S`. Another that finds the beat where it was in `LOOKS`
looks in a row takes the worker for dead and its campaigns over; no clock has to agree with another one, and one that is
set back does no harm. Who was taken for dead and is not (paused, or cut off) finds out by its `Fence`: the token of a
campaign grows with every change, and each transaction of its work checks it and holds it until it ends.

Deciding and recording need no lease.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Final

import structlog

from optimizer.errors import Conflict, OptimizerError, Unavailable
from optimizer.runtime import total
from optimizer.store import campaigns, leases
from optimizer.store.leases import CAMPAIGN, NOBODY, WORKER, LeaseRow
from optimizer.tracebacks import told

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.runtime import Runtime

BEAT_S: Final = 2.0
"""Time between two beats of a worker, and between two looks at the others."""

LOOKS: Final = 3
"""In how many looks a beat has to stand still until its worker is taken for dead."""

_log = structlog.get_logger()


class LeaseLost(OptimizerError):
    """The work belongs to another now: nothing of this transaction is kept, and nothing was wrong with it."""

    code = "lease_lost"
    http_status = 503


@dataclass(frozen=True, slots=True)
class Fence:
    """A campaign's lease as it was taken."""

    tenant: str
    campaign_id: str
    holder: str
    token: int

    def check(self, connection: Connection) -> None:
        """Nobody takes the campaign over before this transaction has ended. Raises LeaseLost where somebody has."""
        if leases.hold(connection, self.tenant, CAMPAIGN + self.campaign_id) != (self.holder, self.token):
            raise LeaseLost(f"the work of campaign {self.campaign_id!r} is another worker's now: {self.holder} stops")


def void_fences(connection: Connection, tenant: str, campaign_id: str) -> None:
    """Stop what a worker is doing for a campaign, for its past has changed; it begins again by itself.

    To be called before anything is read: what the worker has in hand is committed by then, and nothing more will be.
    """
    leases.advance(connection, tenant, CAMPAIGN + campaign_id)


class Leases:
    """The campaigns of one worker. Safe to call from any thread.

    Args:
        runtime: the store, and whose campaigns.
        worker: a name that no other worker has; the same one after a restart takes what it held back at once.
        monotonic: seconds that pass whatever is done to the machine's clock.
    """

    def __init__(
        self, runtime: Runtime, worker: str | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._runtime = runtime
        self._monotonic = monotonic
        self.worker: Final = worker or os.urandom(8).hex()
        self._token = 0
        self._fences: dict[str, Fence] = {}
        self._known: frozenset[str] = frozenset()
        self._others: dict[str, tuple[LeaseRow, int]] = {}
        self._busy: Counter[str] = Counter()
        self._looked_s = float("-inf")
        self._looking, self._lock = Lock(), Lock()

    def each(self, campaign_ids: Sequence[str], act: Callable[[Fence], int]) -> int:
        """Do something for those of these campaigns that are this worker's; the sum of what was done."""
        if not self._known.issuperset(campaign_ids):
            self._look(due=False)
        return total(partial(self._act, act), campaign_ids)

    def _act(self, act: Callable[[Fence], int], campaign_id: str) -> int:
        """Once more where the lease was lost and is ours again, as after a change of the past."""
        for _ in range(2):
            with self._using(campaign_id) as fence:
                if fence is None:
                    break
                try:
                    return act(fence)
                except LeaseLost:
                    _log.info("lease_lost", campaign=campaign_id, worker=self.worker)
            self._look(due=False)
        return 0

    @contextmanager
    def _using(self, campaign_id: str) -> Iterator[Fence | None]:
        with self._lock:
            fence = self._fences.get(campaign_id)
            self._busy[campaign_id] += 1
        try:
            yield fence
        finally:
            with self._lock:
                self._busy[campaign_id] -= 1

    def beat(self) -> None:
        """Say that this worker lives, and share the campaigns with the others that do: a job, run every `BEAT_S`."""
        self._look(due=True)

    def alone(self, wait: Callable[[float], object] = time.sleep) -> None:
        """Make sure that no other worker lives, and forget those that are dead; `wait` is given seconds.

        Raises Conflict, and changes nothing, where one lives.
        """
        seen = self._others_now()
        for _ in range(LOOKS if seen else 0):
            wait(BEAT_S)
            for name, row in self._others_now().items():
                if seen.get(name) != row:
                    raise Conflict(
                        f"a worker ({name.removeprefix(WORKER)}) is at work on this database: stop every process that "
                        "runs `optimizer serve` as a worker, or as everything, and try again; nothing was changed"
                    )
        if seen:
            self._runtime.store.write(partial(self._sweep, rows=seen.values()))

    @staticmethod
    def _sweep(connection: Connection, rows: Iterable[LeaseRow]) -> None:
        for row in rows:
            leases.sweep(connection, row)

    def _others_now(self) -> dict[str, LeaseRow]:
        rows = self._runtime.store.read(partial(leases.all_leases, tenant=self._runtime.tenant))
        mine = WORKER + self.worker
        return {row.name: row for row in rows if row.name.startswith(WORKER) and row.name != mine}

    def release(self) -> None:
        """Leave everything to the other workers, at a clean end."""
        with self._looking:
            if not self._token:
                return
            try:
                self._runtime.store.write(self._leave)
            except Unavailable as error:
                _log.warning("leases_not_released", worker=self.worker, error=told(error))
            self._token, self._fences, self._known = 0, {}, frozenset()

    def _leave(self, connection: Connection) -> None:
        tenant = self._runtime.tenant
        for campaign_id, fence in self._fences.items():
            leases.give_back(connection, tenant, CAMPAIGN + campaign_id, fence.holder, fence.token)
        leases.leave(connection, tenant, WORKER + self.worker, self._token)

    def _look(self, *, due: bool) -> None:
        """Beat, see who else lives, and bring what is held to this worker's share."""
        with self._looking:
            now_s = self._monotonic()
            # A look sooner than that tells nothing of who lives: they need not have beaten meanwhile.
            paced = now_s - self._looked_s >= 0.75 * BEAT_S
            if due and not paced:
                return
            store, tenant = self._runtime.store, self._runtime.tenant
            if paced:
                self._token = store.write(self._beat)
                self._looked_s = now_s
            loaded = store.read(partial(campaigns.all_campaigns, tenant=tenant))
            rows = {row.name: row for row in store.read(partial(leases.all_leases, tenant=tenant))}
            dead = self._watch(rows.values(), paced=paced)
            live = {name for name in rows if name.startswith(WORKER)} - {row.name for row in dead}
            stands = {
                row.campaign_id: rows.get(name := CAMPAIGN + row.campaign_id, LeaseRow(tenant, name, NOBODY, 0, 0))
                for row in loaded
            }
            self._share(stands, live, dead)

    def _beat(self, connection: Connection) -> int:
        name = WORKER + self.worker
        if self._token and leases.beat(connection, self._runtime.tenant, name, self._token):
            return self._token
        return leases.advance(connection, self._runtime.tenant, name)

    def _watch(self, rows: Iterable[LeaseRow], *, paced: bool) -> list[LeaseRow]:
        """The other workers whose beat has stood still for too long."""
        others = {}
        for row in rows:
            if row.name.startswith(WORKER) and row.name != WORKER + self.worker:
                before, still = self._others.get(row.name, (None, 0))
                others[row.name] = (row, still + paced if row == before else 0)
        self._others = others
        return [row for row, still in others.values() if still >= LOOKS]

    def _share(self, stands: Mapping[str, LeaseRow], live: Collection[str], dead: Sequence[LeaseRow]) -> None:
        """Take what nobody who lives holds, up to an equal share of all, and give back what is above it."""
        with self._lock:
            busy = {campaign_id for campaign_id, users in self._busy.items() if users}
        mine = {
            campaign_id: fence
            for campaign_id, fence in self._fences.items()
            if campaign_id in stands and stands[campaign_id][2:4] == (self.worker, fence.token)
        }
        share = -(-len(stands) // max(len(live), 1))
        surplus = [mine[campaign_id] for campaign_id in sorted(mine)[share:] if campaign_id not in busy]
        free = {
            campaign_id: row
            for campaign_id, row in stands.items()
            if campaign_id not in mine and (row.holder == self.worker or WORKER + row.holder not in live)
        }
        wanted = dict(islice(free.items(), max(share - len(mine), 0)))
        taken: dict[str, Fence] = {}
        if surplus or wanted or dead:
            taken = self._runtime.store.write(partial(self._change, surplus=surplus, wanted=wanted, dead=dead))
        given = {fence.campaign_id for fence in surplus}
        with self._lock:
            self._fences = {each: fence for each, fence in mine.items() if each not in given} | taken
        self._known = frozenset(stands)
        if taken or given:
            _log.info("leases_changed", worker=self.worker, taken=sorted(taken), given=sorted(given))

    def _change(
        self,
        connection: Connection,
        surplus: Sequence[Fence],
        wanted: Mapping[str, LeaseRow],
        dead: Sequence[LeaseRow],
    ) -> dict[str, Fence]:
        self._sweep(connection, dead)
        for fence in surplus:
            leases.give_back(connection, fence.tenant, CAMPAIGN + fence.campaign_id, fence.holder, fence.token)
        tokens = {campaign_id: leases.take(connection, row, self.worker) for campaign_id, row in wanted.items()}
        tenant = self._runtime.tenant
        return {each: Fence(tenant, each, self.worker, token) for each, token in tokens.items() if token is not None}
