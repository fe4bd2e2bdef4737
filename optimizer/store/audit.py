"""The audit log: who changed which campaign, key or customer, and when. Its rows are never updated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from optimizer.store.bulk import insert_rows
from optimizer.store.tables import audit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


class AuditRow(NamedTuple):
    """One change; `details` is a JSON object as text."""

    tenant: str
    audit_id: str
    at_us: int
    actor: str
    action: str
    object: str
    details: str


def insert_entries(connection: Connection, rows: Sequence[AuditRow]) -> None:
    """Append entries."""
    insert_rows(connection, audit, rows)


def latest_entries(  # noqa: PLR0913 - which of them
    connection: Connection,
    tenant: str,
    *,
    limit: int,
    object_: str | None = None,
    action: str | None = None,
    since_us: int | None = None,
    before_id: str | None = None,
) -> list[AuditRow]:
    """The latest entries, the latest first: of one object or action, from `since_us` on, before that entry."""
    query = select(*audit.columns).where(audit.c.tenant == tenant)
    if object_ is not None:
        query = query.where(audit.c.object == object_)
    if action is not None:
        query = query.where(audit.c.action == action)
    if since_us is not None:
        query = query.where(audit.c.at_us >= since_us)
    if before_id is not None:
        query = query.where(audit.c.audit_id < before_id)
    found = connection.execute(query.order_by(audit.c.audit_id.desc()).limit(limit))
    return [AuditRow._make(row) for row in found]
