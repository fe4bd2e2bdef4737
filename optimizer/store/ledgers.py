"""The stored ledgers (see `optimizer.history`), by subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from optimizer.store.bulk import insert_rows, one_of, select_in, upsert_rows
from optimizer.store.tables import ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy import Connection

_BY_SUBJECT = select(ledger.c.subject_id, ledger.c.body).where(
    ledger.c.tenant == bindparam("tenant"), one_of(ledger.c.subject_id)
)


def ledgers_by_subjects(connection: Connection, tenant: str, subject_ids: Iterable[str]) -> dict[str, str]:
    """The ledger bodies of those subjects who have one."""
    found = select_in(connection, _BY_SUBJECT, subject_ids, tenant=tenant)
    return {row.subject_id: row.body for row in found}


def put_ledgers(
    connection: Connection, tenant: str, bodies: Mapping[str, str], *, known: Collection[str] | None = None
) -> None:
    """Store ledger bodies by subject, in the place of earlier ones.

    `known` are the subjects who have one, where that is known and the subjects are held: the others' go in faster.
    """
    rows = [(tenant, subject_id, body) for subject_id, body in bodies.items()]
    old = rows if known is None else [row for row in rows if row[1] in known]
    upsert_rows(connection, ledger, old, ("tenant", "subject_id"), ("body",))
    if known is not None:
        insert_rows(connection, ledger, [row for row in rows if row[1] not in known])
