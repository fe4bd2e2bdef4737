"""What becomes of touches: their transitions, and what the ledgers know of them, in the transaction of whoever acts.

Whoever changes touches holds their customers first, then the touches (`held`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from optimizer import budgets, history
from optimizer.store import customers, ledgers, touches
from optimizer.store.touches import TouchChange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from optimizer.store.rows import TouchRow

AGAIN: Final = "sent_again"
"""Why a touch is planned again of which nobody knows whether it was sent: its channel would rather send it twice."""
ASKED: Final = "asked"
"""Why a touch is as it is: its provider was asked about it."""
BY_HAND: Final = "by_hand"
"""Why a touch is planned again, or taken back: somebody wanted it."""


def held(
    connection: Connection, tenant: str, page: Sequence[TouchRow], still: Callable[[TouchRow], bool]
) -> list[TouchRow]:
    """Those of the page of which this is so now, held with their customers until this transaction ends."""
    customers.only_hold_subjects(connection, tenant, [touch.subject_id for touch in page])
    now = touches.hold_touches(connection, tenant, [touch.decision_id for touch in page])
    return [touch for touch in page if touch.decision_id in now and still(now[touch.decision_id])]


def end(connection: Connection, tenant: str, page: Sequence[TouchRow], change: TouchChange) -> None:
    """Give touches up, which are held: they count no longer, and take nothing of a budget. `change` says how.

    What was to be sent again, and perhaps was sent before, is not given up but unknown, and goes on counting.
    """
    if not page:
        return
    perhaps = _perhaps_sent(connection, tenant, [touch.decision_id for touch in page if touch.attempts])
    states = {touch.decision_id: "unknown" if touch.decision_id in perhaps else change.state for touch in page}
    changes = [change._replace(decision_id=each, state=state) for each, state in states.items()]
    touches.transition(connection, tenant, changes)
    gone = [touch for touch in page if touch.decision_id not in perhaps]
    budgets.give_back(connection, tenant, gone)
    note(connection, tenant, gone, lambda book, touch: history.released(book, touch.campaign_id))


def _perhaps_sent(connection: Connection, tenant: str, decision_ids: Sequence[str]) -> set[str]:
    """Those that were planned again though nobody knew whether they had been sent, and of which nobody knows yet."""
    found = set()
    for decision_id, moves in touches.transitions_by_ids(connection, tenant, decision_ids).items():
        for before, move in pairwise(moves):
            if before.state == "unknown" and move.state == "planned" and move.reason in {AGAIN, BY_HAND}:
                found.add(decision_id)
            elif move.state == "planned" and move.reason == ASKED:
                found.discard(decision_id)  # its provider has never had it
    return found


def cancel(connection: Connection, tenant: str, decision_ids: Sequence[str], reason: str, now_us: int) -> None:
    """Take touches back that are planned, or leased and not being sent yet."""
    known = touches.touches_by_ids(connection, tenant, decision_ids)
    planned = held(connection, tenant, list(known.values()), lambda touch: touch.state in {"planned", "leased"})
    end(connection, tenant, planned, TouchChange("", "cancelled", now_us, reason))


def note(
    connection: Connection,
    tenant: str,
    page: Sequence[TouchRow],
    change: Callable[[history.Ledger, TouchRow], history.Ledger],
) -> None:
    """Bring the ledgers of the page's subjects to what has become of its touches."""
    stored = ledgers.ledgers_by_subjects(connection, tenant, [touch.subject_id for touch in page])
    books = {subject_id: history.loads(body) for subject_id, body in stored.items()}
    for touch in page:
        books[touch.subject_id] = change(books.get(touch.subject_id, history.EMPTY), touch)
    ledgers.put_ledgers(connection, tenant, {subject_id: history.dumps(book) for subject_id, book in books.items()})


def sent(book: history.Ledger, touch: TouchRow, sent_us: int) -> history.Ledger:
    """The ledger with this touch sent."""
    return history.touched(
        book, decision_id=touch.decision_id, message=touch.message, channel=touch.channel, sent_us=sent_us
    )
