"""Passes of campaigns over their audience."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from optimizer.store.bulk import insert_missing
from optimizer.store.rows import RunRow
from optimizer.store.tables import customers, runs

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ALL = select(*runs.columns)


def start_run(connection: Connection, row: RunRow) -> RunRow:
    """The campaign's run for that occasion: `row`, now stored, or the one that was there before."""
    insert_missing(connection, runs, [row], ("tenant", "campaign_id", "occasion"))
    query = _ALL.where(runs.c.tenant == row.tenant, runs.c.campaign_id == row.campaign_id)
    return RunRow._make(connection.execute(query.where(runs.c.occasion == row.occasion)).one())


def advance_run(connection: Connection, tenant: str, run_id: str, cursor: str, decided: int) -> None:
    """Note the last customer done, and how many decisions the run has made so far."""
    _change(connection, tenant, run_id, {"cursor": cursor, "decided": decided})


def finish_run(connection: Connection, tenant: str, run_id: str, finished_us: int) -> None:
    """Note that the whole audience is done."""
    _change(connection, tenant, run_id, {"state": "finished", "finished_us": finished_us})


def forget_customer(connection: Connection, tenant: str, customer_id: str) -> None:
    """Let no run name that customer: one that is at it stands at the customer before, whom it has done as well."""
    before = select(func.max(customers.c.customer_id)).where(
        customers.c.tenant == tenant, customers.c.customer_id < customer_id
    )
    connection.execute(
        update(runs)
        .where(runs.c.tenant == tenant, runs.c.cursor == customer_id)
        .values(cursor=func.coalesce(before.scalar_subquery(), ""))
    )


def hold_run(connection: Connection, tenant: str, run_id: str) -> RunRow | None:
    """Like `run_by_id`, and nobody else goes on with it until this transaction ends."""
    query = _ALL.where(runs.c.tenant == tenant, runs.c.run_id == run_id).with_for_update()
    row = connection.execute(query).first()
    return RunRow._make(row) if row else None


def run_of(connection: Connection, tenant: str, campaign_id: str, occasion: str) -> RunRow | None:
    """The campaign's run for that occasion, where there is one."""
    query = _ALL.where(runs.c.tenant == tenant, runs.c.campaign_id == campaign_id, runs.c.occasion == occasion)
    row = connection.execute(query).first()
    return RunRow._make(row) if row else None


def run_by_id(connection: Connection, tenant: str, run_id: str) -> RunRow | None:
    """One run."""
    row = connection.execute(_ALL.where(runs.c.tenant == tenant, runs.c.run_id == run_id)).first()
    return RunRow._make(row) if row else None


def unfinished_runs(connection: Connection, tenant: str) -> list[RunRow]:
    """The runs that have not gone through their audience yet, in the order (scheduled_us, run id)."""
    query = _ALL.where(runs.c.tenant == tenant, runs.c.state == "running").order_by(runs.c.scheduled_us, runs.c.run_id)
    return [RunRow._make(row) for row in connection.execute(query)]


def runs_of(connection: Connection, tenant: str, campaign_id: str, limit: int) -> list[RunRow]:
    """The campaign's latest runs, the latest first."""
    query = (
        _ALL.where(runs.c.tenant == tenant, runs.c.campaign_id == campaign_id)
        .order_by(runs.c.scheduled_us.desc(), runs.c.run_id.desc())
        .limit(limit)
    )
    return [RunRow._make(row) for row in connection.execute(query)]


def _change(connection: Connection, tenant: str, run_id: str, values: dict[str, str | int]) -> None:
    connection.execute(update(runs).where(runs.c.tenant == tenant, runs.c.run_id == run_id).values(values))
