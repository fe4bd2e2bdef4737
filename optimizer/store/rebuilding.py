"""What a rebuild reads of the logs, and how it brings the projections to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import bindparam, delete, exists, select

from optimizer.store.bulk import one_of, run, select_in, upsert_rows
from optimizer.store.external_touches import EXTERNAL
from optimizer.store.rows import EventRow, TouchRow
from optimizer.store.tables import (
    decisions,
    event_keys,
    events,
    occasion_keys,
    parked,
    request_keys,
    rewards,
    touch_transitions,
    touches,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import BindParameter, Connection, Delete, Table


class PastDecision(NamedTuple):
    """What the projections need of a decision."""

    decision_id: str
    campaign_id: str
    config_hash: str
    subject_id: str
    request_id: str | None
    occasion: str | None
    arm: str | None
    send_us: int | None
    expires_us: int | None
    decided_us: int
    removed: bytes


class Open(NamedTuple):
    """A report that a touch was opened; it names the decision by id, or by campaign and request."""

    decision_id: str | None
    request_id: str | None
    occurred_us: int


_TENANT: Final[BindParameter[str]] = bindparam("tenant")
_SUBJECTS = (
    select(decisions.c.subject_id)
    .where(decisions.c.tenant == _TENANT, decisions.c.subject_id > bindparam("after"))
    .group_by(decisions.c.subject_id)
    .order_by(decisions.c.subject_id)
    .limit(bindparam("size"))
)
_OF_SUBJECTS = (
    select(*(decisions.columns[name] for name in PastDecision._fields))
    .where(decisions.c.tenant == _TENANT, one_of(decisions.c.subject_id))
    .order_by(decisions.c.decision_id)
)
_OPENS = select(*(events.columns[name] for name in Open._fields)).where(
    events.c.tenant == _TENANT, events.c.name == "opened"
)
_OPENS_BY_DECISION = _OPENS.where(one_of(events.c.decision_id))
_OPENS_BY_REQUEST = _OPENS.where(
    events.c.campaign_id == bindparam("campaign_id"), events.c.decision_id.is_(None), one_of(events.c.request_id)
)
_EVENTS = (
    select(*events.columns)
    .where(events.c.tenant == _TENANT, events.c.record_id > bindparam("after"))
    .order_by(events.c.record_id)
    .limit(bindparam("size"))
)


def _without(table: Table, other: Table, *names: str) -> Delete:
    """The rows of a table to which another has none with the same tenant and values in these columns."""
    same = [table.columns[name] == other.columns[name] for name in ("tenant", *names)]
    return delete(table).where(table.columns["tenant"] == _TENANT, ~exists().where(*same))


_OURS: Final = touches.c.dispatch != EXTERNAL
_REPORTED: Final = exists().where(events.c.tenant == touches.c.tenant, events.c.record_id == touches.c.decision_id)
_STRAY: Final = (
    *(_without(table, decisions, "decision_id") for table in (request_keys, occasion_keys, rewards)),
    *(_without(touches, table, "decision_id").where(_OURS) for table in (decisions, touch_transitions)),
    delete(touches).where(touches.c.tenant == _TENANT, ~_OURS, ~_REPORTED),
    _without(event_keys, events, "record_id"),
    _without(parked, event_keys, "event_id"),
)


def subjects_after(connection: Connection, tenant: str, after: str, limit: int) -> list[str]:
    """The next subjects of decisions after that one ('' to begin with), in order."""
    return [row.subject_id for row in run(connection, _SUBJECTS, tenant=tenant, after=after, size=limit)]


def decisions_of(connection: Connection, tenant: str, subject_ids: Iterable[str]) -> list[PastDecision]:
    """Every decision about those subjects, in the order of their making."""
    return [PastDecision._make(row) for row in select_in(connection, _OF_SUBJECTS, subject_ids, tenant=tenant)]


def opens_of(connection: Connection, tenant: str, rows: Sequence[PastDecision]) -> list[tuple[str, int]]:
    """When the touches of those decisions were opened, as was reported: (decision id, instant), in no order."""
    found = select_in(connection, _OPENS_BY_DECISION, (row.decision_id for row in rows), tenant=tenant)
    opens = [(row.decision_id, row.occurred_us) for row in found]
    for campaign_id in dict.fromkeys(row.campaign_id for row in rows):
        asked = {row.request_id: row.decision_id for row in rows if row.request_id and row.campaign_id == campaign_id}
        by_request = select_in(connection, _OPENS_BY_REQUEST, asked, tenant=tenant, campaign_id=campaign_id)
        opens += [(asked[row.request_id], row.occurred_us) for row in by_request]
    return opens


def put_touches(connection: Connection, rows: Sequence[TouchRow]) -> None:
    """Store touches in the place of what was known of them."""
    upsert_rows(connection, touches, rows, ("tenant", "decision_id"), TouchRow._fields[2:])


def put_decision_keys(connection: Connection, tenant: str, rows: Sequence[PastDecision]) -> None:
    """Store which request and occasion those decisions answer."""
    asked = [(tenant, row.campaign_id, row.request_id, row.decision_id) for row in rows if row.request_id]
    upsert_rows(connection, request_keys, asked, ("tenant", "campaign_id", "request_id"), ("decision_id",))
    repeated = [
        (tenant, row.campaign_id, row.occasion, row.subject_id, row.decision_id) for row in rows if row.occasion
    ]
    key = ("tenant", "campaign_id", "occasion", "subject_id")
    upsert_rows(connection, occasion_keys, repeated, key, ("decision_id",))


def events_after(connection: Connection, tenant: str, after: str, limit: int) -> list[EventRow]:
    """The next events after that record ('' to begin with), in the order of their recording."""
    return [EventRow._make(row) for row in run(connection, _EVENTS, tenant=tenant, after=after, size=limit)]


def put_event_keys(connection: Connection, tenant: str, rows: Sequence[EventRow]) -> None:
    """Store where those events are."""
    keys = [(tenant, row.event_id, row.record_id) for row in rows]
    upsert_rows(connection, event_keys, keys, ("tenant", "event_id"), ("record_id",))


def hold_parked(connection: Connection) -> None:
    """Nobody parks an event, or takes one, until this transaction ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE parked IN SHARE ROW EXCLUSIVE MODE")


def sweep_strays(connection: Connection, tenant: str) -> int:
    """Remove the rows of projections that nothing in the logs stands for; how many."""
    return sum(connection.execute(query, {"tenant": tenant}).rowcount for query in _STRAY)
