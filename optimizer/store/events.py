"""The event log, and the events that wait for a decision that does not exist (yet)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from optimizer.store.bulk import CHUNK, insert_missing, insert_new, select_in
from optimizer.store.rows import EventRow
from optimizer.store.tables import events, parked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Column, Connection, Select

    from optimizer.store.rows import DecisionRow

_ALL = select(*events.columns)


def insert_events(connection: Connection, rows: Sequence[EventRow]) -> set[str]:
    """Append events; the ids of those that were new.

    An event whose id is there already is left as it was first reported.
    """
    return insert_new(connection, events, rows, ("tenant", "event_id"))


def events_by_ids(connection: Connection, tenant: str, ids: Iterable[str]) -> dict[str, EventRow]:
    """The events that exist of those ids, by id."""
    query = _ALL.where(events.c.tenant == tenant)
    found = select_in(connection, ids, lambda chunk: query.where(events.c.event_id.in_(chunk)))
    return {row.event_id: EventRow._make(row) for row in found}


def events_naming_decisions(connection: Connection, tenant: str, decision_ids: Iterable[str]) -> list[EventRow]:
    """Every event that names one of those decisions by its id, in no particular order."""
    query = _ALL.where(events.c.tenant == tenant)
    found = select_in(connection, decision_ids, lambda chunk: query.where(events.c.decision_id.in_(chunk)))
    return [EventRow._make(row) for row in found]


def events_naming_requests(
    connection: Connection, tenant: str, campaign_id: str, request_ids: Iterable[str]
) -> list[EventRow]:
    """Every event that names, without a decision id, one of the campaign's requests, in no particular order."""
    query = _ALL.where(events.c.tenant == tenant, events.c.campaign_id == campaign_id, events.c.decision_id.is_(None))
    found = select_in(connection, request_ids, lambda chunk: query.where(events.c.request_id.in_(chunk)))
    return [EventRow._make(row) for row in found]


def events_of_subjects(
    connection: Connection, tenant: str, subject_ids: Iterable[str], *, since_us: int, until_us: int
) -> list[EventRow]:
    """Every event that names only one of those subjects (no decision, no request), in no particular order.

    It occurred in [since_us, until_us].
    """
    query = _ALL.where(
        events.c.tenant == tenant,
        events.c.decision_id.is_(None),
        events.c.request_id.is_(None),
        events.c.occurred_us.between(since_us, until_us),
    )
    found = select_in(connection, subject_ids, lambda chunk: query.where(events.c.subject_id.in_(chunk)))
    return [EventRow._make(row) for row in found]


def park_events(connection: Connection, rows: Sequence[EventRow]) -> None:
    """Remember stored events that name a decision which does not exist."""
    values = [(row.tenant, row.event_id, row.decision_id, row.campaign_id, row.request_id) for row in rows]
    insert_missing(connection, parked, values, ("tenant", "event_id"))


def take_parked(connection: Connection, tenant: str, rows: Sequence[DecisionRow]) -> list[EventRow]:
    """The parked events that name one of these new decisions, now parked no longer.

    In the order (received_us, event id).
    """
    if connection.execute(select(parked.c.event_id).where(parked.c.tenant == tenant).limit(1)).first() is None:
        return []
    naming = select(parked.c.event_id).where(parked.c.tenant == tenant)
    by_decision = naming.where(parked.c.decision_id.is_not(None))
    ids = _event_ids(connection, by_decision, parked.c.decision_id, [row.decision_id for row in rows])
    for campaign_id in dict.fromkeys(row.campaign_id for row in rows):
        requests = [row.request_id for row in rows if row.request_id is not None and row.campaign_id == campaign_id]
        by_request = naming.where(parked.c.decision_id.is_(None), parked.c.campaign_id == campaign_id)
        ids |= _event_ids(connection, by_request, parked.c.request_id, requests)
    taken = sorted(ids)
    for start in range(0, len(taken), CHUNK):
        chunk = taken[start : start + CHUNK]
        connection.execute(delete(parked).where(parked.c.tenant == tenant, parked.c.event_id.in_(chunk)))
    return sorted(events_by_ids(connection, tenant, taken).values(), key=lambda row: (row.received_us, row.event_id))


def count_parked(connection: Connection, tenant: str) -> int:
    """How many events wait for a decision."""
    return connection.execute(select(func.count()).where(parked.c.tenant == tenant)).scalar_one()


def _event_ids(connection: Connection, query: Select[str], column: Column[str], values: Iterable[str]) -> set[str]:
    found = select_in(connection, values, lambda chunk: query.where(column.in_(chunk)))
    return {row.event_id for row in found}
