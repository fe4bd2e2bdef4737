"""What was answered to requests with an `Idempotency-Key`: the first one claims the key, and leaves its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import delete, select, update

from optimizer.store.bulk import insert_new
from optimizer.store.tables import idempotency_keys

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection


class AnswerRow(NamedTuple):
    """A row of `idempotency_keys`, its columns in order. `created_us` tells the claims of one key apart."""

    tenant: str
    caller: str
    idempotency_key: str
    request_hash: str
    created_us: int
    status: int | None = None
    media_type: str | None = None
    answer: bytes | None = None


def claim(connection: Connection, row: AnswerRow, *, lost_us: int, over_us: int) -> AnswerRow | None:
    """Claim a key for the request of `row`: None, or the row that stands in its way.

    A claim made before `lost_us` that has no answer, and any answer claimed before `over_us`, stand in nobody's way.
    """
    table = idempotency_keys
    old = (table.c.status.is_(None) & (table.c.created_us < lost_us)) | (table.c.created_us < over_us)
    connection.execute(delete(table).where(_key(row), old))
    if insert_new(connection, table, [row], ("tenant", "caller", "idempotency_key")):
        return None
    found = connection.execute(select(*table.columns).where(_key(row))).one_or_none()
    # Whoever was in the way may just have given up: it ran until now.
    return AnswerRow(*found) if found else row


def answered(connection: Connection, row: AnswerRow) -> None:
    """Keep the answer of whoever has this claim; one that was taken over keeps nothing."""
    values = {"status": row.status, "media_type": row.media_type, "answer": row.answer}
    connection.execute(update(idempotency_keys).where(_claim(row)).values(values))


def release(connection: Connection, row: AnswerRow) -> None:
    """Give a claim up: the next request under this key is the first one."""
    connection.execute(delete(idempotency_keys).where(_claim(row)))


def forget(connection: Connection, over_us: int) -> int:
    """Remove every tenant's rows that were claimed before `over_us`; how many."""
    return connection.execute(delete(idempotency_keys).where(idempotency_keys.c.created_us < over_us)).rowcount


def _key(row: AnswerRow) -> ColumnElement[bool]:
    table = idempotency_keys
    same = (table.c.tenant == row.tenant) & (table.c.caller == row.caller)
    return same & (table.c.idempotency_key == row.idempotency_key)


def _claim(row: AnswerRow) -> ColumnElement[bool]:
    return _key(row) & (idempotency_keys.c.created_us == row.created_us)
