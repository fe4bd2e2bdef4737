"""What came of every attempt to send a touch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, select

from optimizer.store.bulk import insert_missing, one_of, select_in
from optimizer.store.tables import touch_attempts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

_BY_ID = (
    select(*touch_attempts.columns)
    .where(touch_attempts.c.tenant == bindparam("tenant"), one_of(touch_attempts.c.decision_id))
    .order_by(touch_attempts.c.decision_id, touch_attempts.c.attempt)
)


class AttemptRow(NamedTuple):
    """One attempt, counted from 1; `detail` and `provider_id` are the sender's, without personal data."""

    tenant: str
    decision_id: str
    attempt: int
    at_us: int
    sender: str
    outcome: str
    detail: str | None
    provider_id: str | None


def insert_attempts(connection: Connection, rows: Sequence[AttemptRow]) -> None:
    """Append what came of attempts; what was said of one before stands."""
    insert_missing(connection, touch_attempts, rows, ("tenant", "decision_id", "attempt"))


def attempts_by_ids(connection: Connection, tenant: str, decision_ids: Iterable[str]) -> dict[str, list[AttemptRow]]:
    """The attempts of those touches of which something was heard, in order, by decision id."""
    found: dict[str, list[AttemptRow]] = {}
    for row in select_in(connection, _BY_ID, decision_ids, tenant=tenant):
        found.setdefault(row.decision_id, []).append(AttemptRow._make(row))
    return found
