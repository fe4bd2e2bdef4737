"""Taking months of the logs away, and all that belongs to their decisions, a page a transaction."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, exists, select, tuple_

from optimizer.store.bulk import change_rows
from optimizer.store.rows import TouchRow
from optimizer.store.tables import (
    decisions,
    event_keys,
    events,
    occasion_keys,
    open_decisions,
    parked,
    request_keys,
    rewards,
    snapshots,
    touch_attempts,
    touch_transitions,
    touches,
    voids,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Column, Connection, Delete, Table

    from optimizer.store.partitions import Month

_PATIENCE: Final = "1s"
"""How long the dropping of a partition waits for a lock: whoever comes later waits behind it."""

_OLD_DECISION: Final = ("tenant", "decision_id", "campaign_id", "request_id", "occasion", "subject_id")
_OLD_EVENT: Final = ("tenant", "record_id", "event_id")


def drop_decisions(
    connection: Connection, month: Month, last: Sequence[Any] | None, limit: int
) -> Sequence[Any] | None:
    """Drop what leads to the next decisions of a month, and on SQLite these themselves; the last of them.

    `last` is what the page before returned, None at first and at the end.
    """
    page = _page(connection, [decisions.columns[name] for name in _OLD_DECISION], month, last, limit)
    asked = [(row.tenant, row.campaign_id, row.request_id, row.decision_id) for row in page if row.request_id]
    _delete(connection, request_keys, ("tenant", "campaign_id", "request_id", "decision_id"), asked)
    repeated = [
        (row.tenant, row.campaign_id, row.occasion, row.subject_id, row.decision_id) for row in page if row.occasion
    ]
    _delete(connection, occasion_keys, ("tenant", "campaign_id", "occasion", "subject_id", "decision_id"), repeated)
    if connection.dialect.name == "sqlite":
        _delete(connection, decisions, ("tenant", "decision_id"), [tuple(row[:2]) for row in page])
    return page[-1] if page else None


def drop_events(connection: Connection, month: Month, last: Sequence[Any] | None, limit: int) -> Sequence[Any] | None:
    """The same for events: their keys, and that they wait for a decision."""
    page = _page(connection, [events.columns[name] for name in _OLD_EVENT], month, last, limit)
    keys = [(row.tenant, row.event_id, row.record_id) for row in page]
    _delete(connection, event_keys, ("tenant", "event_id", "record_id"), keys)
    _delete(connection, parked, ("tenant", "event_id"), [tuple(key[:2]) for key in keys])
    if connection.dialect.name == "sqlite":
        _delete(connection, events, ("tenant", "record_id"), [tuple(row[:2]) for row in page])
    return page[-1] if page else None


def drop_partition(connection: Connection, table: str, month: Month) -> None:
    """Drop a month's partition of a log, if it is there; on SQLite there is none.

    Raises sqlalchemy's OperationalError where others hold the log for too long.
    """
    if connection.dialect.name != "postgresql":
        return
    name = month.partition(table)
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
    connection.info.get("partitions", set()).discard(name)


def leftover_touches(connection: Connection, tenant: str, cut: str, limit: int) -> list[TouchRow]:
    """Some touches of decisions, and of reports of other systems, that have left the logs, which begin at `cut`."""
    told = exists().where(events.c.tenant == touches.c.tenant, events.c.record_id == touches.c.decision_id)
    query = select(*touches.columns).where(_left(touches, tenant, cut), ~told)
    return [TouchRow._make(row) for row in connection.execute(query.order_by(touches.c.decision_id).limit(limit))]


def drop_touches(connection: Connection, tenant: str, decision_ids: Iterable[str]) -> None:
    """Drop touches and what became of them."""
    keys = [(tenant, decision_id) for decision_id in decision_ids]
    for table in (touch_attempts, touch_transitions, touches):
        _delete(connection, table, ("tenant", "decision_id"), keys)


def drop_leftovers(connection: Connection, tenant: str, cut: str, limit: int) -> int:
    """Drop some of what is left of decisions that have left the log; of how many, 0 at the end."""
    dropped = 0
    for table in (rewards, open_decisions, voids, touch_attempts, touch_transitions):
        column = table.columns["decision_id"]
        query = select(column).where(_left(table, tenant, cut)).distinct().order_by(column).limit(limit)
        found = [(tenant, decision_id) for decision_id in connection.execute(query).scalars()]
        _delete(connection, table, ("tenant", "decision_id"), found)
        dropped += len(found)
    return dropped


def unused_snapshots(connection: Connection, tenant: str, cut: str) -> list[str]:
    """The snapshots published before the log begins that no decision names, and that are neither newest nor base."""
    newer = snapshots.alias()
    superseded = exists().where(
        newer.c.tenant == snapshots.c.tenant,
        newer.c.campaign_id == snapshots.c.campaign_id,
        newer.c.learner_key == snapshots.c.learner_key,
        tuple_(newer.c.published_us, newer.c.snapshot_id) > tuple_(snapshots.c.published_us, snapshots.c.snapshot_id),
    )
    old = select(snapshots.c.snapshot_id).where(
        snapshots.c.tenant == tenant, snapshots.c.snapshot_id < cut, ~snapshots.c.base, superseded
    )
    found = connection.execute(old.order_by(snapshots.c.snapshot_id)).scalars().all()
    if not found:
        return []
    # One pass over the log: there is no index by snapshot.
    named = select(decisions.c.snapshot_id).where(decisions.c.tenant == tenant, decisions.c.snapshot_id.is_not(None))
    used = set(connection.execute(named.distinct()).scalars())
    return [snapshot_id for snapshot_id in found if snapshot_id not in used]


def drop_snapshots(connection: Connection, tenant: str, ids: Iterable[str]) -> None:
    """Drop models."""
    _delete(connection, snapshots, ("tenant", "snapshot_id"), [(tenant, snapshot_id) for snapshot_id in ids])


def _left(table: Table, tenant: str, cut: str) -> Any:  # noqa: ANN401 - a condition
    column = table.columns["decision_id"]
    logged = exists().where(decisions.c.tenant == table.columns["tenant"], decisions.c.decision_id == column)
    return and_(table.columns["tenant"] == tenant, column < cut, ~logged)


def _page(
    connection: Connection, columns: Sequence[Column[Any]], month: Month, last: Sequence[Any] | None, limit: int
) -> Sequence[Any]:
    """The next rows of a month; their first two columns are the key."""
    query = select(*columns).where(columns[1] >= month.bound, columns[1] < month.next.bound)
    if last is not None:
        query = query.where(tuple_(*columns[:2]) > tuple_(*last[:2]))
    return connection.execute(query.order_by(*columns[:2]).limit(limit)).all()


def _delete(connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
    """Delete the rows with these values in these columns."""
    change_rows(connection, _deleting(table, names), rows, tuple(f"of_{name}" for name in names))


@lru_cache(maxsize=32)
def _deleting(table: Table, names: tuple[str, ...]) -> Delete:
    return delete(table).where(*(table.columns[name] == bindparam(f"of_{name}") for name in names))
