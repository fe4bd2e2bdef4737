"""Rebuilding: touches, ledgers, claims, budgets, keys, rewards and models made again, from the logs alone.

It never sends. The API may go on meanwhile, for each page of subjects is one transaction that holds them; workers may
not. Killed at any moment, it can be begun again.

What has left the log (`optimizer.upkeep.retention`) cannot be made again: the part of a ledger that comes from it
stays, and models are learned on from the snapshots that were kept for that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from optimizer import budgets
from optimizer.leases import void_fences
from optimizer.store import rebuilding
from optimizer.store.exclusions import sweep_claims
from optimizer.store.retention import cut_of
from optimizer.upkeep.projections import NOTHING, Projections
from optimizer.upkeep.retention import forget_touches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from optimizer.engine import Engine
    from optimizer.trainer import Relearned
    from optimizer.upkeep.projections import Page

SUBJECTS: Final = 500
"""How many subjects are made again in one transaction."""

EVENTS: Final = 5_000
"""How many events are looked at in one transaction."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild went through, and where what was stored differed from what the logs say."""

    projected: Page
    events: int
    parked: int
    strays: int
    """Rows that nothing in the logs stood for, and that are gone."""
    rewards: int
    models: Sequence[Relearned]


class Rebuild:
    """Makes the projections of an engine's tenant again.

    Args:
        engine: the service, whose jobs do not run meanwhile.
        tell: is given what is being made, and how many of it are done, page by page.
        restored: what happened after the logs is not in them, see `Projections`.
        wait: waits for seconds.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        tell: Callable[[str, int], object],
        restored: bool = False,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._engine = engine
        self._tenant = engine.runtime.tenant
        self._store = engine.runtime.store
        self._tell = tell
        self._restored = restored
        self._wait = wait

    def run(self) -> Rebuilt:
        """Make everything again. Raises Conflict, and changes nothing, where a worker lives."""
        self._engine.leases.alone(self._wait)
        cut = self._store.read(partial(cut_of, tenant=self._tenant))
        forget_touches(self._store, self._tenant, cut)
        projections = Projections(self._engine.runtime, self._engine.versions, cut=cut, restored=self._restored)
        projected = self._subjects(projections)
        known, waiting = self._events(projections)
        self._tell("strays", 0)
        strays = self._store.write(partial(rebuilding.sweep_strays, tenant=self._tenant))
        strays += self._store.write(partial(sweep_claims, tenant=self._tenant, cut=cut))
        # Before decisions are closed again, which may change what touches take.
        self._store.write(partial(budgets.make_again, tenant=self._tenant))
        rewards = self._rewards()
        self._tell("models", 0)
        models = self._engine.trainer.relearn()
        return Rebuilt(projected, known, waiting, strays, rewards, models)

    def _subjects(self, projections: Projections) -> Page:
        done = NOTHING
        while page := self._store.write(partial(projections.subjects, after=done.last, limit=SUBJECTS)):
            done = done.plus(page)
            self._tell("subjects", done.subjects)
        return done

    def _events(self, projections: Projections) -> tuple[int, int]:
        """How many events there are, and how many of them wait for a decision."""
        known, waiting, after = 0, 0, ""
        while page := self._store.write(partial(projections.events, after=after, limit=EVENTS)):
            after, seen, parked = page
            known, waiting = known + seen, waiting + parked
            self._tell("events", known)
        return known, waiting

    def _rewards(self) -> int:
        """Close everything again, as much of it as is mature; how many decisions."""
        for campaign in self._store.read(self._engine.versions.all):
            self._store.write(partial(self._reopen, campaign_id=campaign.campaign_id))
        self._tell("rewards", 0)
        return self._engine.closing.close_due()

    def _reopen(self, connection: Connection, campaign_id: str) -> None:
        void_fences(connection, self._tenant, campaign_id)
        self._engine.versions.reopen(connection, campaign_id)
