"""What is planned for a subject, of every campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from optimizer.store.bulk import one_of, select_in
from optimizer.store.rows import TouchRow
from optimizer.store.tables import touches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

_PLANNED = select(*touches.columns).where(
    touches.c.tenant == bindparam("tenant"), touches.c.state == "planned", one_of(touches.c.subject_id)
)


def planned_of_subjects(connection: Connection, tenant: str, subject_ids: Iterable[str]) -> list[TouchRow]:
    """The planned touches of those subjects, in no particular order."""
    return [TouchRow._make(row) for row in select_in(connection, _PLANNED, subject_ids, tenant=tenant)]
