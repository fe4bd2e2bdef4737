"""What contact rules ask of the past: the touches of customers that count for limits, and what was observed of them.

Whoever decides by the answer holds the customers (`customers.hold_customers`), so that it stays true until the commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, case, select

from optimizer.store.bulk import one_of, select_in
from optimizer.store.tables import decisions, events, touches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Column, ColumnElement, Connection


class CountedTouch(NamedTuple):
    """A touch that counts for limits; `due_us` is when it was sent, or is to be.

    The `state` of another system's is `external`.
    """

    subject_id: str
    decision_id: str
    due_us: int
    state: str
    campaign_id: str
    channel: str | None
    message: str
    offer: str | None


class NamedOutcome(NamedTuple):
    """An event that names a decision about a subject, and what that decision sent, if it did."""

    subject_id: str
    occurred_us: int
    name: str
    campaign_id: str
    channel: str | None
    message: str | None
    offer: str | None


_STATE = case((touches.c.dispatch == "external", "external"), else_=touches.c.state)
_TOUCHES = select(*(_STATE if name == "state" else touches.columns[name] for name in CountedTouch._fields)).where(
    touches.c.tenant == bindparam("tenant"),
    touches.c.due_us > bindparam("after_us"),
    touches.c.counts,
    one_of(touches.c.subject_id),
)
_OUTCOME = select(
    decisions.c.subject_id,
    events.c.occurred_us,
    events.c.name,
    decisions.c.campaign_id,
    touches.c.channel,
    touches.c.message,
    touches.c.offer,
)
_TOUCH = (touches.c.tenant == decisions.c.tenant) & (touches.c.decision_id == decisions.c.decision_id)
_WHICH = (
    decisions.c.tenant == bindparam("tenant"),
    decisions.c.decided_us >= bindparam("decided_us"),
    events.c.occurred_us > bindparam("after_us"),
    events.c.occurred_us <= bindparam("until_us"),
    one_of(decisions.c.subject_id),
)


def _text(column: Column[str]) -> ColumnElement[str]:
    """The same text: SQLite looks for decisions by their subject then, and not for those of every event."""
    return column.concat("")


_BY_DECISION = (
    _OUTCOME.join_from(
        decisions,
        events,
        (events.c.tenant == decisions.c.tenant) & (events.c.decision_id == _text(decisions.c.decision_id)),
    )
    .outerjoin(touches, _TOUCH)
    .where(*_WHICH)
)
_BY_REQUEST = (
    _OUTCOME.join_from(
        decisions,
        events,
        (events.c.tenant == decisions.c.tenant)
        & (events.c.campaign_id == _text(decisions.c.campaign_id))
        & (events.c.request_id == decisions.c.request_id),
    )
    .outerjoin(touches, _TOUCH)
    .where(*_WHICH, events.c.decision_id.is_(None))
)


def counted_touches(
    connection: Connection, tenant: str, subject_ids: Iterable[str], after_us: int
) -> Iterator[CountedTouch]:
    """The touches of those subjects, of every campaign and system, that count and were sent, or are due, after that."""
    found = select_in(connection, _TOUCHES, subject_ids, tenant=tenant, after_us=after_us)
    return map(CountedTouch._make, found)


def named_outcomes(  # noqa: PLR0913 - whose, and when
    connection: Connection, tenant: str, subject_ids: Iterable[str], *, after_us: int, until_us: int, decided_us: int
) -> Iterator[NamedOutcome]:
    """The events that occurred in (after_us, until_us] and name a decision about one of those subjects.

    By its id or by its request; of decisions made at `decided_us` or later.
    """
    wanted = list(subject_ids)
    span = {"after_us": after_us, "until_us": until_us, "decided_us": decided_us}
    for query in (_BY_DECISION, _BY_REQUEST):
        yield from map(NamedOutcome._make, select_in(connection, query, wanted, tenant=tenant, **span))
