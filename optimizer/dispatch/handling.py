"""What people do with touches by hand: look for them, put those back that have failed, and take planned ones back.

What has failed is the dead-letter list. Whoever puts a touch back has its rules asked once more before it is sent, and
nothing is sent after its window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optimizer import history
from optimizer.audit import Action
from optimizer.audit import note as note_change
from optimizer.clock import from_us
from optimizer.errors import Conflict, NotFound
from optimizer.store import attempts, customers, touches
from optimizer.store.touches import TouchChange
from optimizer.touches import BY_HAND, end, note

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from optimizer.runtime import Runtime
    from optimizer.store.attempts import AttemptRow
    from optimizer.store.rows import TouchRow


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which touches are asked for; None is any."""

    campaign_id: str | None = None
    state: str | None = None
    reason: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class TouchReport:
    """A touch as it stands, and the last attempt at it of which something was heard."""

    touch: TouchRow
    attempt: AttemptRow | None


def page(  # noqa: PLR0913 - which of them
    connection: Connection,
    tenant: str,
    wanted: Wanted,
    limit: int,
    *,
    before_id: str | None = None,
    campaigns: Collection[str] | None = None,
) -> list[TouchReport]:
    """Touches, the latest decision first, of these campaigns alone; the page after it begins before the last one's."""
    if wanted.campaign_id is not None:
        seen = campaigns is None or wanted.campaign_id in campaigns
        campaigns = {wanted.campaign_id} if seen else ()
    found = touches.touches_page(
        connection,
        tenant,
        limit=limit,
        before_id=before_id,
        campaign_ids=campaigns,
        state=wanted.state,
        reason=wanted.reason,
        channel=wanted.channel,
    )
    heard = attempts.attempts_by_ids(connection, tenant, [touch.decision_id for touch in found])
    return [TouchReport(touch, heard[touch.decision_id][-1] if touch.decision_id in heard else None) for touch in found]


def retry(
    connection: Connection,
    runtime: Runtime,
    decision_id: str,
    by: str,
    *,
    even_if_sent: bool,
) -> TouchRow:
    """Have a failed touch sent after all, or an unknown one, which may reach its customer twice then.

    It counts again for limits. What it takes of its campaign's budget is settled when its decision closes. Raises
    NotFound, and Conflict where its window is over, it is at no end, or nobody said `even_if_sent` of an unknown one.
    """
    touch, now_us = _held(connection, runtime, decision_id), runtime.now_us()
    if touch.dispatch != "service" or touch.state not in {"failed", "unknown"}:
        raise Conflict(
            f"touch {decision_id!r} is {touch.state}: only what has failed, or is unknown, can be sent again"
        )
    if touch.state == "unknown" and not even_if_sent:
        raise Conflict(
            f"nobody knows whether touch {decision_id!r} was sent: ask its provider, and say so if it is to be sent "
            "even if it was (--even-if-sent, even_if_sent)"
        )
    if now_us >= touch.expires_us:
        ended = from_us(touch.expires_us).isoformat()
        raise Conflict(f"the window of touch {decision_id!r} ended at {ended}: it is too late to send it")
    change = TouchChange(decision_id, "planned", now_us, BY_HAND, due_us=now_us)
    touches.transition(connection, runtime.tenant, [change])
    if touch.state == "failed":
        note(connection, runtime.tenant, [touch], lambda book, each: history.planned(book, each.campaign_id))
    return _noted(connection, runtime, touch, Action.RETRIED, by)


def cancel(connection: Connection, runtime: Runtime, decision_id: str, by: str) -> TouchRow:
    """Take a touch back that is not sent yet. Raises NotFound, and Conflict where it cannot be taken back any more."""
    touch = _held(connection, runtime, decision_id)
    if touch.state not in {"planned", "leased"}:
        raise Conflict(f"touch {decision_id!r} is {touch.state}: only what is planned can be taken back")
    end(connection, runtime.tenant, [touch], TouchChange("", "cancelled", runtime.now_us(), BY_HAND))
    return _noted(connection, runtime, touch, Action.CANCELLED, by)


def _held(connection: Connection, runtime: Runtime, decision_id: str) -> TouchRow:
    """The touch of a decision, held with its customer. Raises NotFound."""
    known = touches.touches_by_ids(connection, runtime.tenant, [decision_id]).get(decision_id)
    if known is None or known.dispatch == "external":
        raise NotFound(f"there is no touch of a decision {decision_id!r}")
    customers.only_hold_subjects(connection, runtime.tenant, [known.subject_id])
    return touches.hold_touches(connection, runtime.tenant, [decision_id])[decision_id]


def _noted(connection: Connection, runtime: Runtime, before: TouchRow, action: Action, by: str) -> TouchRow:
    details = {"campaign_id": before.campaign_id, "state": before.state, "reason": before.reason}
    note_change(connection, runtime, by, action, {f"touch:{before.decision_id}": details})
    return touches.touches_by_ids(connection, runtime.tenant, [before.decision_id])[before.decision_id]
