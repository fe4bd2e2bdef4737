"""The event log, and the events that wait for a decision that does not exist (yet)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from optimizer.store.bulk import change_rows, insert_missing, insert_new, insert_rows, one_of, run, select_in
from optimizer.store.lags import count
from optimizer.store.partitions import ensure_months
from optimizer.store.rows import EventRow
from optimizer.store.tables import event_keys, events, parked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from optimizer.store.rows import DecisionRow

_MINE = select(*events.columns).where(events.c.tenant == bindparam("tenant"))
_BY_ID = _MINE.where(one_of(events.c.record_id))
_RECORDS = select(event_keys.c.record_id).where(
    event_keys.c.tenant == bindparam("tenant"), one_of(event_keys.c.event_id)
)
_BY_DECISION = _MINE.where(one_of(events.c.decision_id))
_BY_REQUEST = _MINE.where(
    events.c.campaign_id == bindparam("campaign_id"), events.c.decision_id.is_(None), one_of(events.c.request_id)
)
_BY_SUBJECT = _MINE.where(
    events.c.decision_id.is_(None),
    events.c.request_id.is_(None),
    events.c.occurred_us.between(bindparam("since_us"), bindparam("until_us")),
    one_of(events.c.subject_id),
)
_PARKED = select(parked.c.event_id).where(parked.c.tenant == bindparam("tenant"))
_PARKED_BY_DECISION = _PARKED.where(one_of(parked.c.decision_id))
_PARKED_BY_REQUEST = _PARKED.where(
    parked.c.campaign_id == bindparam("campaign_id"), parked.c.decision_id.is_(None), one_of(parked.c.request_id)
)
_ANY_PARKED = _PARKED.limit(1)
_UNPARK = delete(parked).where(parked.c.tenant == bindparam("of_tenant"), parked.c.event_id == bindparam("of_event"))


def insert_events(connection: Connection, rows: Sequence[EventRow]) -> set[str]:
    """Append events (their record ids in order); the event ids of those that were new.

    An event whose id is there already is left as it was first reported; of several with one id the first is kept.
    """
    first: dict[str, EventRow] = {}
    for row in rows:
        first.setdefault(row.event_id, row)
    # In the order of their ids, so that two processes that are told the same events do not wait for each other.
    keys = sorted((row.tenant, row.event_id, row.record_id) for row in first.values())
    new = insert_new(connection, event_keys, keys, ("tenant", "event_id"))
    fresh = [row for row in first.values() if row.event_id in new]
    ensure_months(connection, "events", [row.record_id for row in fresh])
    insert_rows(connection, events, fresh)
    return new


def events_by_ids(connection: Connection, tenant: str, ids: Iterable[str]) -> dict[str, EventRow]:
    """The events that exist of those ids, by id."""
    records = [row.record_id for row in select_in(connection, _RECORDS, ids, tenant=tenant)]
    found = select_in(connection, _BY_ID, records, tenant=tenant)
    return {row.event_id: EventRow._make(row) for row in found}


def events_naming_decisions(connection: Connection, tenant: str, decision_ids: Iterable[str]) -> list[EventRow]:
    """Every event that names one of those decisions by its id, in no particular order."""
    found = select_in(connection, _BY_DECISION, decision_ids, tenant=tenant)
    return [EventRow._make(row) for row in found]


def events_naming_requests(
    connection: Connection, tenant: str, campaign_id: str, request_ids: Iterable[str]
) -> list[EventRow]:
    """Every event that names, without a decision id, one of the campaign's requests, in no particular order."""
    found = select_in(connection, _BY_REQUEST, request_ids, tenant=tenant, campaign_id=campaign_id)
    return [EventRow._make(row) for row in found]


def events_of_subjects(
    connection: Connection, tenant: str, subject_ids: Iterable[str], *, since_us: int, until_us: int
) -> list[EventRow]:
    """Every event that names only one of those subjects (no decision, no request), in no particular order.

    It occurred in [since_us, until_us].
    """
    found = select_in(connection, _BY_SUBJECT, subject_ids, tenant=tenant, since_us=since_us, until_us=until_us)
    return [EventRow._make(row) for row in found]


def events_of_subject(
    connection: Connection, tenant: str, subject_id: str, *, after_id: str, limit: int
) -> list[EventRow]:
    """The next events that name a subject, whatever else they name, after that record id ('' to begin with)."""
    query = (
        select(*events.columns)
        .where(events.c.tenant == tenant, events.c.subject_id == subject_id, events.c.record_id > after_id)
        .order_by(events.c.record_id)
        .limit(limit)
    )
    return [EventRow._make(row) for row in connection.execute(query)]


def park_events(connection: Connection, rows: Sequence[EventRow]) -> None:
    """Remember stored events that name a decision which does not exist."""
    values = [(row.tenant, row.event_id, row.decision_id, row.campaign_id, row.request_id) for row in rows]
    insert_missing(connection, parked, values, ("tenant", "event_id"))


def take_parked(connection: Connection, tenant: str, rows: Sequence[DecisionRow]) -> list[EventRow]:
    """The parked events that name one of these new decisions, now parked no longer.

    In the order (received_us, event id).
    """
    if not run(connection, _ANY_PARKED, tenant=tenant):
        return []
    found = list(select_in(connection, _PARKED_BY_DECISION, [row.decision_id for row in rows], tenant=tenant))
    for campaign_id in dict.fromkeys(row.campaign_id for row in rows):
        requests = [row.request_id for row in rows if row.request_id is not None and row.campaign_id == campaign_id]
        found += select_in(connection, _PARKED_BY_REQUEST, requests, tenant=tenant, campaign_id=campaign_id)
    taken = [row.event_id for row in found]
    unpark_events(connection, tenant, taken)
    return sorted(events_by_ids(connection, tenant, taken).values(), key=lambda row: (row.received_us, row.event_id))


def unpark_events(connection: Connection, tenant: str, event_ids: Sequence[str]) -> None:
    """Those events do not wait for a decision, or no longer."""
    change_rows(connection, _UNPARK, [(tenant, event_id) for event_id in event_ids], ("of_tenant", "of_event"))


def count_parked(connection: Connection, tenant: str) -> int:
    """How many events wait for a decision, up to `MANY`."""
    return count(connection, select(parked.c.event_id).where(parked.c.tenant == tenant))
