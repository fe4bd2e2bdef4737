"""The outbox: touches, every transition they made, and which are due."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import BigInteger, String, bindparam, cast, func, insert, select, update

from optimizer import metrics
from optimizer.store.bulk import change_in, change_rows, insert_rows, one_of, select_in
from optimizer.store.rows import TouchRow, TransitionRow
from optimizer.store.tables import touch_transitions, touches
from optimizer.store.transactions import after_commit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import Connection

OPEN_STATES: Final = ("planned", "leased", "sending")
"""The states in which a touch still waits to be sent."""

_ALL = select(*touches.columns)
_BY_ID = _ALL.where(touches.c.tenant == bindparam("tenant"), one_of(touches.c.decision_id))
_HELD = _BY_ID.order_by(touches.c.decision_id).with_for_update()
_SEQS = select(touches.c.decision_id, touches.c.seq).where(
    touches.c.tenant == bindparam("tenant"), one_of(touches.c.decision_id)
)
_TRANSITIONS = (
    select(*touch_transitions.columns)
    .where(touch_transitions.c.tenant == bindparam("tenant"), one_of(touch_transitions.c.decision_id))
    .order_by(touch_transitions.c.decision_id, touch_transitions.c.seq)
)
_CHANGE = (
    update(touches)
    .where(touches.c.tenant == bindparam("of_tenant"), touches.c.decision_id == bindparam("of_decision"))
    .values(
        state=bindparam("new_state"),
        seq=bindparam("new_seq"),
        sent_us=func.coalesce(touches.c.sent_us, bindparam("new_sent_us")),
        lease_token=bindparam("new_token"),
        lease_until_us=bindparam("new_until_us"),
        due_us=func.coalesce(bindparam("new_due_us"), touches.c.due_us),
        attempts=touches.c.attempts + bindparam("new_attempts"),
        reason=bindparam("new_reason"),
    )
)
_CHANGES = (
    "of_tenant",
    "of_decision",
    "new_state",
    "new_seq",
    "new_sent_us",
    "new_token",
    "new_until_us",
    "new_due_us",
    "new_attempts",
    "new_reason",
)
_SENT_US = _CHANGES.index("new_sent_us")
_DUE_US = _CHANGES.index("new_due_us")
_ATTEMPTS = _CHANGES.index("new_attempts")

_ALIKE = (touches.c.tenant == bindparam("of_tenant"), one_of(touches.c.decision_id))
_CHANGE_ALIKE = (
    update(touches)
    .where(*_ALIKE)
    .values(
        state=bindparam("new_state"),
        seq=touches.c.seq + 1,
        sent_us=func.coalesce(touches.c.sent_us, bindparam("new_sent_us")),
        lease_token=bindparam("new_token"),
        lease_until_us=bindparam("new_until_us"),
        due_us=func.coalesce(bindparam("new_due_us"), touches.c.due_us),
        attempts=touches.c.attempts + bindparam("new_attempts"),
        reason=bindparam("new_reason"),
    )
)
_APPEND_ALIKE = insert(touch_transitions).from_select(
    touch_transitions.columns.keys(),
    select(
        touches.c.tenant,
        touches.c.decision_id,
        touches.c.seq,
        cast(bindparam("new_state"), String),
        cast(bindparam("at_us"), BigInteger),
        cast(bindparam("new_reason"), String),
        cast(bindparam("said_due_us"), BigInteger),
    ).where(*_ALIKE),
)


class TouchChange(NamedTuple):
    """A touch's next state.

    A lease is held by `lease_token` until `lease_until_us`; a change without them ends it. `due_us` says when the
    touch is to be sent (None: as before, and `at_us` where it is sent now).
    """

    decision_id: str
    state: str
    at_us: int
    reason: str | None = None
    lease_token: str | None = None
    lease_until_us: int | None = None
    due_us: int | None = None


def insert_touches(connection: Connection, rows: Sequence[TouchRow], at_us: int) -> None:
    """Put touches into the outbox, each with the transition into its first state; `seq` has to be 0."""
    insert_rows(connection, touches, rows)
    first = [TransitionRow(row.tenant, row.decision_id, 0, row.state, at_us, None, None) for row in rows]
    insert_rows(connection, touch_transitions, first)
    _count(connection, first)


def transition(connection: Connection, tenant: str, changes: Sequence[TouchChange]) -> None:
    """Append transitions and bring the touches to them; several of one touch are taken in order.

    The touch's `sent_us` is the first time it was `sent`. Raises KeyError, and changes nothing, where there is no such
    touch.
    """
    if not changes:
        return
    if _are_alike(changes):
        _transition_alike(connection, tenant, changes)
        return
    found = select_in(connection, _SEQS, (change.decision_id for change in changes), tenant=tenant)
    seqs = {row.decision_id: row.seq for row in found}
    transitions = []
    updates: dict[str, tuple[Any, ...]] = {}
    for change in changes:
        seq = seqs[change.decision_id] = seqs[change.decision_id] + 1
        sent_us = change.at_us if change.state == "sent" else None
        transitions.append(
            TransitionRow(tenant, change.decision_id, seq, change.state, change.at_us, change.reason, change.due_us)
        )
        before = updates.get(change.decision_id)
        attempts = int(change.state == "sending") + (before[_ATTEMPTS] if before else 0)
        due_us = sent_us if change.due_us is None else change.due_us
        if due_us is None and before is not None:
            due_us = before[_DUE_US]
        # Only the last state of each touch is written, with the first time that it was sent.
        updates[change.decision_id] = (
            tenant,
            change.decision_id,
            change.state,
            seq,
            sent_us if before is None or before[_SENT_US] is None else before[_SENT_US],
            change.lease_token,
            change.lease_until_us,
            due_us,
            attempts,
            change.reason,
        )
    insert_rows(connection, touch_transitions, transitions)
    change_rows(connection, _CHANGE, list(updates.values()), _CHANGES)
    _count(connection, transitions)


def _are_alike(changes: Sequence[TouchChange]) -> bool:
    """Whether the same happens to several touches, once to each."""
    rest = changes[0][1:]
    several = len(changes) > 1 and all(change[1:] == rest for change in changes)
    return several and len({change.decision_id for change in changes}) == len(changes)


def _transition_alike(connection: Connection, tenant: str, changes: Sequence[TouchChange]) -> None:
    """The same in two statements, whatever the number of touches."""
    change, ids = changes[0], [change.decision_id for change in changes]
    sent_us = change.at_us if change.state == "sent" else None
    changed = change_in(
        connection,
        _CHANGE_ALIKE,
        ids,
        of_tenant=tenant,
        new_state=change.state,
        new_sent_us=sent_us,
        new_token=change.lease_token,
        new_until_us=change.lease_until_us,
        new_due_us=sent_us if change.due_us is None else change.due_us,
        new_attempts=int(change.state == "sending"),
        new_reason=change.reason,
    )
    if changed != len(ids):
        raise KeyError(f"{len(ids) - changed} of {len(ids)} touches are not there")
    said: dict[str, str | int | None] = {"new_state": change.state, "at_us": change.at_us, "new_reason": change.reason}
    change_in(connection, _APPEND_ALIKE, ids, of_tenant=tenant, said_due_us=change.due_us, **said)
    counted = [(tenant, change.state)] * len(ids)
    after_commit(connection, partial(metrics.count, metrics.TRANSITIONS, counted))


def _count(connection: Connection, rows: Sequence[TransitionRow]) -> None:
    after_commit(connection, partial(metrics.count, metrics.TRANSITIONS, [(row.tenant, row.state) for row in rows]))


def touches_by_ids(connection: Connection, tenant: str, decision_ids: Iterable[str]) -> dict[str, TouchRow]:
    """The touches that those decisions have, by decision id."""
    found = select_in(connection, _BY_ID, decision_ids, tenant=tenant)
    return {row.decision_id: TouchRow._make(row) for row in found}


def hold_touches(connection: Connection, tenant: str, decision_ids: Iterable[str]) -> dict[str, TouchRow]:
    """Like `touches_by_ids`, and nobody else changes them until this transaction ends."""
    found = select_in(connection, _HELD, sorted(decision_ids), tenant=tenant)
    return {row.decision_id: TouchRow._make(row) for row in found}


def transitions_of(connection: Connection, tenant: str, decision_id: str) -> list[TransitionRow]:
    """What became of one touch, in order."""
    query = (
        select(*touch_transitions.columns)
        .where(touch_transitions.c.tenant == tenant, touch_transitions.c.decision_id == decision_id)
        .order_by(touch_transitions.c.seq)
    )
    return [TransitionRow._make(row) for row in connection.execute(query)]


def transitions_by_ids(
    connection: Connection, tenant: str, decision_ids: Iterable[str]
) -> dict[str, list[TransitionRow]]:
    """What became of those touches, in order, by decision id."""
    found: dict[str, list[TransitionRow]] = {}
    for row in select_in(connection, _TRANSITIONS, decision_ids, tenant=tenant):
        found.setdefault(row.decision_id, []).append(TransitionRow._make(row))
    return found


def touches_page(  # noqa: PLR0913 - by what they can be found
    connection: Connection,
    tenant: str,
    *,
    limit: int,
    before_id: str | None = None,
    campaign_ids: Collection[str] | None = None,
    state: str | None = None,
    reason: str | None = None,
    channel: str | None = None,
) -> list[TouchRow]:
    """Touches of decisions, the latest decision first; the page after it begins before the last one's id.

    None is any. Touches of other systems are no touches of decisions.
    """
    query = _ALL.where(touches.c.tenant == tenant, touches.c.dispatch != "external")
    if campaign_ids is not None:
        query = query.where(touches.c.campaign_id.in_(sorted(campaign_ids)))
    for column, value in ((touches.c.state, state), (touches.c.reason, reason), (touches.c.channel, channel)):
        if value is not None:
            query = query.where(column == value)
    if before_id is not None:
        query = query.where(touches.c.decision_id < before_id)
    page = connection.execute(query.order_by(touches.c.decision_id.desc()).limit(limit))
    return [TouchRow._make(row) for row in page]


def touch_counts(connection: Connection, tenant: str, campaign_id: str) -> dict[str, int]:
    """How many touches of the campaign's decisions are in each state."""
    query = (
        select(touches.c.state, func.count().label("n"))
        .where(touches.c.tenant == tenant, touches.c.campaign_id == campaign_id, touches.c.dispatch != "external")
        .group_by(touches.c.state)
        .order_by(touches.c.state)
    )
    return {row.state: row.n for row in connection.execute(query)}
