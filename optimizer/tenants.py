"""The tenants of one service: an engine for each, on one store, so that nobody's data meets anybody else's."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from optimizer.store.tenants import tenants_with_campaigns

if TYPE_CHECKING:
    from collections.abc import Callable

    from optimizer.engine import Engine, Job


class Tenants:
    """The engine of each tenant, made when it is first needed. Safe to call from any thread.

    Args:
        first: the engine of the operator's own tenant, whose store, clock and sender the others share.
    """

    def __init__(self, first: Engine) -> None:
        self.first = first
        self._engines = {first.runtime.tenant: first}
        self._making = Lock()

    def known(self, tenant: str) -> Engine | None:
        """The engine of a tenant, if it was made already."""
        return self._engines.get(tenant)

    def engine(self, tenant: str) -> Engine:
        """The engine of a tenant; making it reads the database."""
        with self._making:
            if tenant not in self._engines:
                self._engines[tenant] = self.first.of_tenant(tenant)
            return self._engines[tenant]

    def engines(self) -> list[Engine]:
        """The first engine, and those of all other tenants that have campaigns."""
        found = self.first.runtime.store.read(tenants_with_campaigns)
        return [self.first, *(self.engine(tenant) for tenant in found if tenant != self.first.runtime.tenant)]

    def jobs(self) -> list[Job]:
        """The jobs of an engine, each done for every tenant."""
        return [
            replace(job, run=partial(self._each, partial(_job_at, place=place)))
            for place, job in enumerate(self.first.jobs())
        ]

    def refreshing(self) -> Job:
        """The one job of a process that only answers, done for every tenant."""
        return replace(self.first.refreshing(), run=self.refresh)

    def refresh(self) -> None:
        """Serve what was published for any tenant."""
        self._each(lambda engine: engine.refreshing())

    def release(self) -> None:
        """Leave every tenant's campaigns to other workers."""
        for engine in list(self._engines.values()):
            engine.leases.release()

    def _each(self, job: Callable[[Engine], Job]) -> None:
        """Do one job for every tenant: one that fails holds up no other."""
        errors = []
        for engine in self.engines():
            try:
                job(engine).run()
            except Exception as error:  # noqa: BLE001 - raised again below
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup(f"{len(errors)} tenants failed", errors)


def _job_at(engine: Engine, place: int) -> Job:
    return engine.jobs()[place]
