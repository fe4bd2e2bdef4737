"""The touches of other systems (see `optimizer.external`): a projection of the events that tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, select

from optimizer.store.bulk import insert_rows, one_of, run, select_in
from optimizer.store.rows import EventRow, TouchRow
from optimizer.store.tables import events, touches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

EXTERNAL: Final = "external"
"""How the touches of other systems are dispatched."""

_TENANT = events.c.tenant == bindparam("tenant")
_NAMED = events.c.name == bindparam("name")
_REPORTS = select(*events.columns).where(_TENANT, _NAMED, one_of(events.c.subject_id))
_SUBJECTS = (
    select(events.c.subject_id)
    .where(_TENANT, _NAMED, events.c.subject_id > bindparam("after"))
    .group_by(events.c.subject_id)
    .order_by(events.c.subject_id)
    .limit(bindparam("size"))
)


def insert_external(connection: Connection, rows: Sequence[TouchRow]) -> None:
    """Store touches that no decision of ours made. They have no transitions: the event is all that is known."""
    insert_rows(connection, touches, rows)


def external_of_subject(
    connection: Connection, tenant: str, subject_id: str, *, after_id: str, limit: int
) -> list[TouchRow]:
    """A subject's next touches of other systems after that id ('' to begin with), in the order of their reports."""
    query = (
        select(*touches.columns)
        .where(touches.c.tenant == tenant, touches.c.subject_id == subject_id, touches.c.dispatch == EXTERNAL)
        .where(touches.c.decision_id > after_id)
        .order_by(touches.c.decision_id)
        .limit(limit)
    )
    return [TouchRow._make(row) for row in connection.execute(query)]


def reports_of(connection: Connection, tenant: str, name: str, subject_ids: Iterable[str]) -> list[EventRow]:
    """The events of that name about those subjects, in no particular order."""
    return [EventRow._make(row) for row in select_in(connection, _REPORTS, subject_ids, tenant=tenant, name=name)]


def subjects_reported(connection: Connection, tenant: str, name: str, after: str, limit: int) -> list[str]:
    """The next subjects, after that one ('' to begin with), whom events of that name are about, in order."""
    return [row.subject_id for row in run(connection, _SUBJECTS, tenant=tenant, name=name, after=after, size=limit)]
