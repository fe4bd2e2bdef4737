"""Touches, ledgers, claims and keys as the logs have them, page by page.

Nothing is sent. A touch that was in a worker's hands when its last transition was logged may be out or not: it becomes
`unknown`. What is planned was not in anybody's hands, and stays planned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from optimizer import exclusions, history
from optimizer.contact.facts import ENDED
from optimizer.external import CONTACTED, touch_of
from optimizer.ids import made_us
from optimizer.recording import Recording
from optimizer.store import customers, events, external_touches, ledgers, rebuilding, rewards, touches
from optimizer.store.external_touches import EXTERNAL
from optimizer.store.touches import TouchChange
from optimizer.touches import sent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.runtime import Runtime
    from optimizer.store.rebuilding import PastDecision
    from optimizer.store.rows import TouchRow, TransitionRow
    from optimizer.versions import Versions

_IN_HAND: Final = frozenset({"leased", "sending"})


class Page(NamedTuple):
    """What pages of subjects went through, and what was stored otherwise than the logs say."""

    last: str
    """The last subject of the page."""
    subjects: int
    decisions: int
    touches: int
    touches_changed: int
    unknown: int
    """Touches that cannot be proved to be unsent, and are `unknown` from now on."""
    ledgers_changed: int
    claims_changed: int

    def plus(self, page: Page) -> Page:
        """This one and the one after it."""
        return Page(
            page.last,
            self.subjects + page.subjects,
            self.decisions + page.decisions,
            self.touches + page.touches,
            self.touches_changed + page.touches_changed,
            self.unknown + page.unknown,
            self.ledgers_changed + page.ledgers_changed,
            self.claims_changed + page.claims_changed,
        )


NOTHING: Final = Page("", 0, 0, 0, 0, 0, 0, 0)
"""Before the first page."""


class Projections:
    """Makes projections of one tenant again.

    Args:
        cut: decisions whose id lies below it have left the log, see `optimizer.upkeep.retention`.
        restored: what happened after the logs is not in them. A touch that was planned and is due by now may have been
            sent: it becomes `unknown`.
    """

    def __init__(self, runtime: Runtime, versions: Versions, *, cut: str, restored: bool) -> None:
        self._runtime = runtime
        self._versions = versions
        self._recording = Recording(runtime)
        self._cut = cut
        self._restored = restored

    def subjects(self, connection: Connection, after: str, limit: int) -> Page | None:
        """Make the next subjects' touches, ledgers, claims and keys again, in one transaction that holds them.

        The first page comes after ''. None at the end.
        """
        tenant = self._runtime.tenant
        decided = rebuilding.subjects_after(connection, tenant, after, limit)
        reported = external_touches.subjects_reported(connection, tenant, CONTACTED, after, limit)
        ids = sorted({*decided, *reported})[:limit]
        if not ids:
            return None
        customers.hold_subjects(connection, tenant, ids)
        past = rebuilding.decisions_of(connection, tenant, ids)
        rebuilding.put_decision_keys(connection, tenant, past)
        moves = touches.transitions_by_ids(
            connection, tenant, (row.decision_id for row in past if row.send_us is not None)
        )
        logged = {
            row.decision_id: touch
            for row in past
            if row.decision_id in moves and (touch := self._touch(connection, row, moves[row.decision_id]))
        }
        reports = external_touches.reports_of(connection, tenant, CONTACTED, ids)
        logged |= {touch.decision_id: touch for row in reports if (touch := touch_of(row))}
        changed, unknown = self._put_touches(connection, logged)
        claims_changed = exclusions.make_again(connection, tenant, ids, self._grouped(connection, past), self._cut)
        ledgers_changed = self._put_ledgers(connection, ids, past, logged)
        return Page(ids[-1], len(ids), len(past), len(logged), changed, unknown, ledgers_changed, claims_changed)

    def _grouped(self, connection: Connection, past: Sequence[PastDecision]) -> list[tuple[str, PastDecision]]:
        """The decisions of campaigns that were in an exclusion group, with it."""
        found = []
        for row in past:
            version = self._versions.get(connection, row.campaign_id, row.config_hash)
            if version.campaign.campaign.exclusion_group is not None:
                found.append((version.campaign.campaign.exclusion_group, row))
        return found

    def _touch(self, connection: Connection, row: PastDecision, moves: Sequence[TransitionRow]) -> TouchRow | None:
        version = self._versions.get(connection, row.campaign_id, row.config_hash)
        touch = version.touch(self._runtime.tenant, row)
        if touch is None:
            return None
        return touch._replace(
            state=moves[-1].state,
            seq=moves[-1].seq,
            reason=moves[-1].reason,
            sent_us=next((move.at_us for move in moves if move.state == "sent"), None),
            due_us=next((at_us for move in reversed(moves) if (at_us := _due_us(move)) is not None), touch.due_us),
            attempts=sum(move.state == "sending" for move in moves),
            # What was given up and shown all the same takes nothing before its decision is closed.
            reserved_micro=0 if any(move.state in ENDED for move in moves) else touch.reserved_micro,
        )

    def _put_touches(self, connection: Connection, logged: Mapping[str, TouchRow]) -> tuple[int, int]:
        """How many were stored otherwise, and how many are `unknown` now."""
        tenant, now_us = self._runtime.tenant, self._runtime.now_us()
        stored = touches.touches_by_ids(connection, tenant, logged)
        logged = self._closed(connection, logged, stored)
        lost = {each: touch for each, touch in logged.items() if self._may_be_out(touch, now_us)}
        # When its provider is asked about an unknown touch is in no log: it stays as it was.
        logged = {
            each: touch._replace(lease_until_us=stored[each].lease_until_us)
            if touch.state == "unknown" and each in stored and stored[each].state == "unknown"
            else touch
            for each, touch in logged.items()
        }
        changed = [touch for each, touch in logged.items() if each not in lost and stored.get(each) != touch]
        rebuilding.put_touches(connection, [*changed, *lost.values()])
        reason = "restored" if self._restored else "rebuilt"
        changes = [
            TouchChange(each, "unknown", now_us, reason, None, now_us if self._is_asked(touch) else None)
            for each, touch in lost.items()
        ]
        touches.transition(connection, tenant, changes)
        return len(changed), len(lost)

    def _is_asked(self, touch: TouchRow) -> bool:
        """Whether anybody looks into a touch of which nobody knows whether it was sent."""
        routes = self._runtime.routes
        return routes is not None and routes.of(touch.channel or "").resolves_doubt

    def _closed(
        self, connection: Connection, logged: Mapping[str, TouchRow], stored: Mapping[str, TouchRow]
    ) -> dict[str, TouchRow]:
        """Those of closed decisions with what they have come to take of a budget; closing again makes sure of it."""
        takes = {each: touch.reserved_micro for each, touch in stored.items()}
        differing = [each for each, touch in logged.items() if takes.get(each) not in {None, touch.reserved_micro}]
        closed = rewards.rewards_by_ids(connection, self._runtime.tenant, differing)
        return {
            each: touch._replace(reserved_micro=takes[each]) if each in closed else touch
            for each, touch in logged.items()
        }

    def _may_be_out(self, touch: TouchRow, now_us: int) -> bool:
        due = touch.state == "planned" and touch.dispatch == "service" and touch.due_us <= now_us
        return touch.state in _IN_HAND or (self._restored and due)

    def _put_ledgers(
        self,
        connection: Connection,
        subject_ids: Sequence[str],
        past: Sequence[PastDecision],
        logged: Mapping[str, TouchRow],
    ) -> int:
        """Make the ledgers of those subjects again; how many were otherwise."""
        tenant = self._runtime.tenant
        mine: dict[str, list[TouchRow]] = {}
        for touch in logged.values():
            mine.setdefault(touch.subject_id, []).append(touch)
        opens: dict[str, list[int]] = {}
        touched = [row for row in past if row.decision_id in logged]
        for decision_id, at_us in rebuilding.opens_of(connection, tenant, touched):
            opens.setdefault(decision_id, []).append(at_us)
        stored = ledgers.ledgers_by_subjects(connection, tenant, subject_ids)
        known = {row.decision_id for row in past} | logged.keys()
        bodies, differed = {}, 0
        for subject_id in stored.keys() | mine.keys():
            before = history.loads(stored.get(subject_id))
            book = history.only_archived(before, known, self._cut)
            body = history.dumps(_told(book, mine.get(subject_id, ()), opens))
            if body != stored.get(subject_id):
                bodies[subject_id] = body
                differed += subject_id not in stored or body != history.dumps(before)
        ledgers.put_ledgers(connection, tenant, bodies)
        return differed

    def events(self, connection: Connection, after: str, limit: int) -> tuple[str, int, int] | None:
        """Make the next events' keys again, and which of them wait for a decision; None at the end.

        The decisions' keys have to be there. Returns the last record id, how many events, and how many of them wait.
        """
        tenant = self._runtime.tenant
        rebuilding.hold_parked(connection)
        rows = rebuilding.events_after(connection, tenant, after, limit)
        if not rows:
            return None
        rebuilding.put_event_keys(connection, tenant, rows)
        waiting = {
            row.event_id: row
            for row in self._recording.unknown(connection, rows)
            if not self._has_left(row.decision_id)
        }
        events.park_events(connection, list(waiting.values()))
        events.unpark_events(connection, tenant, [row.event_id for row in rows if row.event_id not in waiting])
        return rows[-1].record_id, len(rows), len(waiting)

    def _has_left(self, decision_id: str | None) -> bool:
        """Whether a decision that is not there is one that left the log."""
        return decision_id is not None and decision_id < self._cut and made_us(decision_id) is not None


def _due_us(move: TransitionRow) -> int | None:
    """When the touch was sent, or is to be sent from then on, where a transition says so."""
    return move.at_us if move.state == "sent" else move.due_us


def _told(book: history.Ledger, mine: Sequence[TouchRow], opens: Mapping[str, Sequence[int]]) -> history.Ledger:
    """The ledger with those touches and opens, whose order does not matter."""
    for touch in mine:
        if touch.state not in ENDED and touch.dispatch != EXTERNAL:
            book = history.planned(book, touch.campaign_id)
        if touch.sent_us is not None:
            book = sent(book, touch, touch.sent_us)
    for touch in mine:
        for at_us in opens.get(touch.decision_id, ()):
            book = history.opened(book, decision_id=touch.decision_id, at_us=at_us, sent_us=touch.sent_us)
    return book
