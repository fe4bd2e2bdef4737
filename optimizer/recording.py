"""Events in: stored once, resolved as far as possible, and applied to touches, ledgers and who may be reached.

Nothing is lost: an event that names an unknown decision is parked and applied when the decision appears; a late one is
kept and shown. Whether an event counts for a reward is decided at the close, from the log alone.

Some names act, in the transaction that stores the event: those that tell what became of a touch; those by which a
customer is not to be reached any more (`optimizer.refusals`); and `contacted`, a touch of another system
(`optimizer.external`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from optimizer import history, metrics
from optimizer.clock import to_us
from optimizer.contact.facts import ENDED
from optimizer.errors import InvalidInput
from optimizer.external import CONTACTED, flaw, touch_of
from optimizer.refusals import REFUSALS, refusal_of, refuse
from optimizer.store import customers, decisions, events, external_touches, ledgers, touches
from optimizer.store.rows import DecisionHead, EventRow, TouchRow
from optimizer.store.touches import TouchChange
from optimizer.store.transactions import after_commit
from optimizer.touches import sent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from optimizer.refusals import Refusal
    from optimizer.runtime import Runtime

SENT_EVENTS = frozenset({"sent", "shown"})
"""With these a caller says that a touch of its own was made."""

_ADVANCES = {"delivered": 1, "opened": 2, "clicked": 3, "converted": 4, "bounced": 5}
_PROGRESS = {"sent": 0, **_ADVANCES}
_PERHAPS_SENT = frozenset({"sending", "unknown"})
"""Whoever reacts to such a touch proves that it was sent."""


@dataclass(frozen=True, slots=True)
class EventIn:
    """Something observed, as it is reported.

    It names a decision by `decision_id`, or by `campaign_id` and `request_id`; or only a customer (within a campaign if
    `campaign_id` is given). `event_id` is the reporter's own: the same id is the same event. `occurred_at` is now if it
    is not given.
    """

    event_id: str
    name: str
    occurred_at: datetime | None = None
    decision_id: str | None = None
    campaign_id: str | None = None
    request_id: str | None = None
    customer_id: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raises InvalidInput where it names nothing, or half a thing, or cannot be stored as it is."""
        if not self.event_id or not self.name:
            raise InvalidInput("an event needs event_id and name")
        if self.occurred_at is not None and self.occurred_at.tzinfo is None:
            raise InvalidInput(f"occurred_at {self.occurred_at.isoformat()} needs its UTC offset")
        if self.request_id is not None and self.campaign_id is None:
            raise InvalidInput("request_id names a decision only together with campaign_id")
        if self.decision_id is None and self.request_id is None and self.customer_id is None:
            raise InvalidInput("an event names a decision_id, a campaign_id with request_id, or a customer_id")
        try:
            orjson.dumps(dict(self.fields))
        except TypeError as error:
            raise InvalidInput(f"fields of event {self.event_id!r} cannot be stored: {error}") from None
        if self.name == CONTACTED:
            others = {"decision_id": self.decision_id, "campaign_id": self.campaign_id, "request_id": self.request_id}
            wrong = flaw(self.customer_id, others, self.fields)
            if wrong is not None:
                raise InvalidInput(wrong)


class Status(StrEnum):
    """What became of a reported event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """The same event_id was reported before; the first report stands."""
    PARKED = "parked"
    """It names a decision that is not known yet."""
    LATE = "late"
    """Its decision's reward is closed: it is kept and shown, not learned from."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to one reported event."""

    event_id: str
    status: Status


class Recording:
    """Stores events and lets them act, inside the store's transactions."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def record(self, connection: Connection, reported: Sequence[EventIn]) -> list[Receipt]:
        """Take checked events; one receipt each, in order."""
        tenant, now_us = self._runtime.tenant, self._runtime.now_us()
        named = [e.customer_id for e in reported if e.customer_id is not None]
        subjects = (
            customers.ensure_subjects(connection, tenant, named, now_us, self._runtime.ids.uuid4) if named else {}
        )
        rows: dict[str, EventRow] = {}
        for event, record_id in zip(reported, self._runtime.ids.uuid7s(now_us, len(reported)), strict=True):
            subject_id = None if event.customer_id is None else subjects[event.customer_id]
            rows.setdefault(event.event_id, _row(tenant, record_id, event, subject_id, now_us))
        new = events.insert_events(connection, list(rows.values()))
        fresh = [row for row in rows.values() if row.event_id in new]
        heads = self._heads(connection, fresh)
        unknown = _unknown(fresh, heads)
        events.park_events(connection, unknown)
        self._act(connection, fresh, heads)
        receipts = self._receipts(reported, new, {row.event_id for row in unknown}, heads, now_us)
        after_commit(connection, partial(metrics.count, metrics.EVENTS, [(tenant, each.status) for each in receipts]))
        return receipts

    @staticmethod
    def _receipts(
        reported: Sequence[EventIn], new: set[str], unknown: set[str], heads: Mapping[str, DecisionHead], now_us: int
    ) -> list[Receipt]:
        receipts, told = [], set()
        for event in reported:
            status = Status.ACCEPTED
            if event.event_id not in new or event.event_id in told:
                status = Status.DUPLICATE
            elif event.event_id in unknown:
                status = Status.PARKED
            elif event.event_id in heads and heads[event.event_id].mature_us < now_us:
                status = Status.LATE
            told.add(event.event_id)
            receipts.append(Receipt(event.event_id, status))
        return receipts

    def take_parked(self, connection: Connection, rows: Sequence[EventRow]) -> None:
        """Let events act whose decision has just appeared."""
        self._act(connection, rows, self._heads(connection, rows))

    def unknown(self, connection: Connection, rows: Sequence[EventRow]) -> list[EventRow]:
        """Those of the events that name a decision which does not exist."""
        return _unknown(rows, self._heads(connection, rows))

    def _heads(self, connection: Connection, rows: Sequence[EventRow]) -> dict[str, DecisionHead]:
        """The decision that each event names and that exists, by event id."""
        tenant = self._runtime.tenant
        by_id = decisions.heads_by_ids(connection, tenant, [row.decision_id for row in rows if row.decision_id])
        found = {row.event_id: by_id[row.decision_id] for row in rows if row.decision_id in by_id}
        requests = [row for row in rows if row.decision_id is None and row.request_id is not None and row.campaign_id]
        for campaign_id in dict.fromkeys(row.campaign_id for row in requests if row.campaign_id):
            mine = [row for row in requests if row.campaign_id == campaign_id]
            heads = decisions.heads_by_requests(
                connection, tenant, campaign_id, [r.request_id for r in mine if r.request_id]
            )
            found |= {row.event_id: heads[row.request_id] for row in mine if row.request_id in heads}
        return found

    def _act(self, connection: Connection, rows: Sequence[EventRow], heads: Mapping[str, DecisionHead]) -> None:
        """Let events act that have a name to do so; the order in which they come does not matter."""
        tenant = self._runtime.tenant
        moving = {
            row.event_id: (row, heads[row.event_id])
            for row in rows
            if row.event_id in heads and (row.name in SENT_EVENTS or row.name in _ADVANCES)
        }
        # Whoever says no is not made to wait for a decision that nobody knows, if the event says who it is.
        refusing = [
            (row, subject_id)
            for row in rows
            if row.name in REFUSALS and (subject_id := _subject_of(row, heads)) is not None
        ]
        reported = [touch for row in rows if (touch := touch_of(row)) is not None]
        subject_ids = [head.subject_id for _, head in moving.values()]
        subject_ids += [subject_id for _, subject_id in refusing]
        subject_ids += [touch.subject_id for touch in reported]
        if not subject_ids:
            return
        people = customers.hold_subjects(connection, tenant, subject_ids)
        external_touches.insert_external(connection, reported)
        self._move(connection, moving, reported)
        refusals = self._refusals(connection, refusing, heads)
        if refusals:
            refuse(connection, self._runtime, refusals, people)

    def _move(
        self,
        connection: Connection,
        acting: dict[str, tuple[EventRow, DecisionHead]],
        reported: Sequence[TouchRow],
    ) -> None:
        """Move touches on, note sends, opens and the touches of other systems in the ledgers."""
        tenant = self._runtime.tenant
        known = touches.touches_by_ids(connection, tenant, [head.decision_id for _, head in acting.values()])
        acting |= self._came_before(connection, acting, known)
        subject_ids = [head.subject_id for _, head in acting.values()] + [touch.subject_id for touch in reported]
        books = {k: history.loads(v) for k, v in ledgers.ledgers_by_subjects(connection, tenant, subject_ids).items()}
        before = dict(books)
        changes: list[TouchChange] = []
        for row, head in sorted(acting.values(), key=_order):
            touch = known.get(head.decision_id)
            if touch is None:
                continue
            book = books.get(head.subject_id, history.EMPTY)
            states = _next_states(touch, row.name)
            if "sent" in states:
                if touch.state in ENDED:
                    book = history.planned(book, touch.campaign_id)
                book = sent(book, touch, row.occurred_us)
                touch = touch._replace(sent_us=row.occurred_us)
            if row.name == "opened":
                book = history.opened(book, decision_id=touch.decision_id, at_us=row.occurred_us, sent_us=touch.sent_us)
            books[head.subject_id] = book
            reason = f"event {row.event_id}"
            changes += [TouchChange(touch.decision_id, state, row.occurred_us, reason) for state in states]
            known[touch.decision_id] = touch._replace(state=states[-1]) if states else touch
        for touch in reported:
            books[touch.subject_id] = sent(books.get(touch.subject_id, history.EMPTY), touch, touch.send_us)
        touches.transition(connection, tenant, changes)
        changed = {k: history.dumps(book) for k, book in books.items() if book is not before.get(k)}
        ledgers.put_ledgers(connection, tenant, changed)

    def _refusals(
        self,
        connection: Connection,
        refusing: Sequence[tuple[EventRow, str]],
        heads: Mapping[str, DecisionHead],
    ) -> dict[str, list[Refusal]]:
        """What the events say against reaching their customers, by subject."""
        named = {row.event_id: heads[row.event_id].decision_id for row, _ in refusing if row.event_id in heads}
        known = touches.touches_by_ids(connection, self._runtime.tenant, named.values())
        refusals: dict[str, list[Refusal]] = {}
        for row, subject_id in refusing:
            touch = known.get(named.get(row.event_id, ""))
            refusal = refusal_of(row, touch.channel if touch else None)
            if refusal is not None:
                refusals.setdefault(subject_id, []).append(refusal)
        return refusals

    def _came_before(
        self,
        connection: Connection,
        acting: Mapping[str, tuple[EventRow, DecisionHead]],
        known: Mapping[str, TouchRow],
    ) -> dict[str, tuple[EventRow, DecisionHead]]:
        """What was reported of touches before the report that they were sent, which comes now."""
        first = {
            head.decision_id: head
            for row, head in acting.values()
            if row.name in SENT_EVENTS and head.decision_id in known and _next_states(known[head.decision_id], row.name)
        }
        found = events.events_naming_decisions(connection, self._runtime.tenant, first)
        by_request: dict[str, dict[str, DecisionHead]] = {}
        for head in first.values():
            if head.request_id is not None:
                by_request.setdefault(head.campaign_id, {})[head.request_id] = head
        told = [(row, first[row.decision_id]) for row in found if row.decision_id is not None]
        for campaign_id, heads in by_request.items():
            found = events.events_naming_requests(connection, self._runtime.tenant, campaign_id, heads)
            told += [(row, heads[row.request_id]) for row in found if row.request_id is not None]
        return {row.event_id: (row, head) for row, head in told if row.name in _ADVANCES and row.event_id not in acting}


def _next_states(touch: TouchRow, name: str) -> tuple[str, ...]:
    """The states to which an event moves a touch; none where it stays."""
    if name in SENT_EVENTS:
        return ("sent",) if touch.dispatch == "caller" and touch.state in {"planned", *ENDED} else ()
    if touch.state in _PERHAPS_SENT:
        return "sent", name
    if touch.state in _PROGRESS and _ADVANCES[name] > _PROGRESS[touch.state]:
        return (name,)
    return ()


def _order(acting: tuple[EventRow, DecisionHead]) -> tuple[bool, int, str]:
    """Sends first, for what follows them cannot have come before, whatever the reporters' clocks say."""
    row, _ = acting
    return row.name not in SENT_EVENTS, row.occurred_us, row.event_id


def _subject_of(row: EventRow, heads: Mapping[str, DecisionHead]) -> str | None:
    """Whom an event is about: the subject of its decision, else the one that it names itself."""
    return heads[row.event_id].subject_id if row.event_id in heads else row.subject_id


def _unknown(rows: Sequence[EventRow], heads: Mapping[str, DecisionHead]) -> list[EventRow]:
    naming = (row for row in rows if row.decision_id is not None or row.request_id is not None)
    return [row for row in naming if row.event_id not in heads]


def _row(tenant: str, record_id: str, event: EventIn, subject_id: str | None, now_us: int) -> EventRow:
    return EventRow(
        tenant,
        record_id,
        event.event_id,
        event.name,
        event.decision_id,
        event.campaign_id,
        event.request_id,
        subject_id,
        now_us if event.occurred_at is None else to_us(event.occurred_at),
        now_us,
        orjson.dumps(dict(event.fields)).decode(),
    )
