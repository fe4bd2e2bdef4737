"""What came of touches that were being sent: noted, tried again later, or given up; and what nobody knows of.

What a sender says counts while the lease is its own, and of a touch that is unknown meanwhile, for it was not sent by
anybody else. That a touch *was* sent counts whatever has become of it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from optimizer import history, metrics
from optimizer.contact.facts import ENDED
from optimizer.contact.policy import Delivery
from optimizer.dispatch.leasing import LEASE_US, LOST
from optimizer.dispatch.retrying import retry_us
from optimizer.dispatch.senders import Outcome, Result
from optimizer.dispatch.senders.base import NO_TIME
from optimizer.reasons import Reason
from optimizer.store import attempts, customers, decisions, outbox, touches
from optimizer.store.attempts import AttemptRow
from optimizer.store.touches import TouchChange
from optimizer.store.transactions import after_commit
from optimizer.touches import AGAIN, ASKED, BY_HAND, end, note, sent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from optimizer.contact.policy import Retries
    from optimizer.dispatch.routes import Route, Routes
    from optimizer.runtime import Runtime
    from optimizer.store.rows import TouchRow, TransitionRow
    from optimizer.versions import Versions

RETRY: Final = "temporary_failure"
"""Why a touch is planned again."""
NOT_TRIED: Final = "not_tried"
PERMANENT: Final = "permanent_failure"
"""Why a touch has failed."""
USED_UP: Final = "retries_used_up"
UNSURE: Final = "sender_unsure"
"""Why nobody knows whether a touch was sent."""

ASK_FOR_US: Final = 24 * 3_600_000_000
"""For how long after its sending a provider is asked about a touch."""

_NOT_YET_OURS: Final = frozenset({"planned", "leased"})


class Fate(NamedTuple):
    """A touch's next state, why, and when it is to be sent again, or asked about."""

    state: str
    reason: str | None = None
    due_us: int | None = None
    ask_us: int | None = None


class _Tries(NamedTuple):
    """How often a touch was tried, and how it is tried again."""

    tried: int
    rules: Retries


class Settling:
    """Notes what came of touches, inside the store's transactions."""

    def __init__(self, runtime: Runtime, versions: Versions, routes: Routes) -> None:
        self._runtime = runtime
        self._versions = versions
        self._routes = routes

    def settle(
        self,
        connection: Connection,
        page: Sequence[TouchRow],
        outcomes: Sequence[Outcome],
        *,
        asked: bool = False,
    ) -> int:
        """Note what came of touches of one channel, as they stood when they were being sent; how many were sent.

        `asked`: whether their provider was asked about them, after nobody knew.
        """
        if not page:
            return 0
        tenant = self._runtime.tenant
        customers.only_hold_subjects(connection, tenant, [touch.subject_id for touch in page])
        now = touches.hold_touches(connection, tenant, [touch.decision_id for touch in page])
        said = [
            (touch, now[touch.decision_id], outcome)
            for touch, outcome in zip(page, outcomes, strict=True)
            if touch.decision_id in now and _counts(touch, now[touch.decision_id], outcome.result)
        ]
        heard = [
            (touch, outcome) for touch, _, outcome in said if outcome != NO_TIME and not (asked and _open(outcome))
        ]
        self._log(connection, heard)
        retries = self._retries(connection, [touch for touch, _, outcome in said if outcome.result is Result.TEMPORARY])
        fates = [
            (row, self._fate(touch, outcome, retries.get(touch.decision_id), asked=asked))
            for touch, row, outcome in said
        ]
        self._apply(connection, fates)
        return sum(fate.state == "sent" for _, fate in fates)

    def recover(self, connection: Connection, limit: int) -> None:
        """A lost lease is given back; what was being sent when its worker was heard of last is unknown."""
        now_us = self._runtime.now_us()
        changes = []
        for touch in outbox.lost_leases(connection, self._runtime.tenant, now_us, limit):
            if touch.state == "leased":
                changes.append(TouchChange(touch.decision_id, "planned", now_us, LOST))
            else:
                changes.append(TouchChange(touch.decision_id, "unknown", now_us, LOST, None, self._ask_us(touch)))
        touches.transition(connection, self._runtime.tenant, changes)

    def _fate(self, touch: TouchRow, outcome: Outcome, retries: _Tries | None, *, asked: bool) -> Fate:
        now_us = self._runtime.now_us()
        if outcome.result is Result.SENT:
            return Fate("sent", ASKED if asked else None)
        if outcome.result is Result.PERMANENT:
            return Fate("failed", PERMANENT)
        if outcome.result is Result.UNKNOWN or retries is None:
            return self._doubt(touch, asked=asked)
        if outcome == NO_TIME:
            due_us: int | None = now_us
        else:
            due_us = retry_us(retries.rules, touch.decision_id, retries.tried, now_us)
        if due_us is None:
            return Fate("failed", USED_UP)
        if due_us >= touch.expires_us:
            return Fate("expired", Reason.EXPIRED_LATE.value)
        reason = NOT_TRIED if outcome == NO_TIME else RETRY
        return Fate("planned", ASKED if asked else reason, due_us)

    def _doubt(self, touch: TouchRow, *, asked: bool) -> Fate:
        """Nobody knows, not even its provider: sent again where its channel would rather do that, else unknown."""
        now_us, route = self._runtime.now_us(), self._route(touch)
        if not asked:
            return Fate("unknown", UNSURE, ask_us=self._ask_us(touch))
        if route.at_least_once and now_us < touch.expires_us:
            return Fate("planned", AGAIN, now_us)
        return Fate("unknown", ASKED, ask_us=self._ask_us(touch))

    def _ask_us(self, touch: TouchRow) -> int | None:
        """When its provider is asked (again): at first after a lease, then at ever longer intervals, then never."""
        now_us = self._runtime.now_us()
        age_us = now_us - touch.due_us
        if not self._route(touch).resolves_doubt or age_us >= ASK_FOR_US:
            return None
        return now_us + max(age_us, LEASE_US)

    def _route(self, touch: TouchRow) -> Route:
        return self._routes.of(touch.channel or "")

    def _retries(self, connection: Connection, page: Sequence[TouchRow]) -> dict[str, _Tries]:
        """How often each touch was tried, and how the version that decided it has it tried again."""
        ids = [touch.decision_id for touch in page]
        heads = decisions.heads_by_ids(connection, self._runtime.tenant, ids)
        moves = touches.transitions_by_ids(connection, self._runtime.tenant, ids)
        found = {}
        for decision_id, head in heads.items():
            campaign = self._versions.get(connection, head.campaign_id, head.config_hash).campaign
            rules = (campaign.delivery or Delivery()).retries
            found[decision_id] = _Tries(_tried(moves.get(decision_id, ())), rules)
        return found

    def _log(self, connection: Connection, said: Sequence[tuple[TouchRow, Outcome]]) -> None:
        tenant, now_us = self._runtime.tenant, self._runtime.now_us()
        rows = [
            AttemptRow(
                tenant,
                touch.decision_id,
                touch.attempts,
                now_us,
                self._route(touch).sender_name,
                outcome.result.value,
                outcome.detail,
                outcome.provider_id,
            )
            for touch, outcome in said
        ]
        attempts.insert_attempts(connection, rows)
        counted = [(tenant, touch.channel or "", outcome.result.value) for touch, outcome in said]
        after_commit(connection, partial(metrics.count, metrics.ATTEMPTS, counted))

    def _apply(self, connection: Connection, fates: Sequence[tuple[TouchRow, Fate]]) -> None:
        tenant, now_us = self._runtime.tenant, self._runtime.now_us()
        changes: list[TouchChange] = []
        gone: list[TouchRow] = []
        ended: dict[Fate, list[TouchRow]] = {}
        for row, fate in fates:
            if fate.state in ENDED:
                ended.setdefault(fate, []).append(row)
                continue
            if fate.state == "sent":
                gone.append(row)
            changes.append(
                TouchChange(row.decision_id, fate.state, now_us, fate.reason, None, fate.ask_us, fate.due_us)
            )
        touches.transition(connection, tenant, changes)
        given_up = {row.decision_id for row in gone if row.state in ENDED}

        def told(book: history.Ledger, touch: TouchRow) -> history.Ledger:
            if touch.decision_id in given_up:
                book = history.planned(book, touch.campaign_id)
            return sent(book, touch, now_us)

        note(connection, tenant, gone, told)
        for fate, rows in ended.items():
            end(connection, tenant, rows, TouchChange("", fate.state, now_us, fate.reason))


def _counts(touch: TouchRow, row: TouchRow, result: Result) -> bool:
    """Whether what is said of an attempt at `touch` tells anything of the touch as it stands."""
    if row.state == "sending" and row.lease_token == touch.lease_token and row.attempts == touch.attempts:
        return True
    if row.state == "unknown" and row.attempts == touch.attempts:
        return True
    return result is Result.SENT and (row.state == "unknown" or row.state in _NOT_YET_OURS or row.state in ENDED)


def _tried(moves: Sequence[TransitionRow]) -> int:
    """How often a touch was tried since somebody put it back, without what its sender had no time for."""
    tried = 0
    for move in moves:
        if move.reason == BY_HAND:
            tried = 0
        elif move.state == "sending":
            tried += 1
        elif move.reason == NOT_TRIED:
            tried -= 1
    return tried


def _open(outcome: Outcome) -> bool:
    """Whether an answer leaves it open what came of the attempt."""
    return outcome.result in {Result.TEMPORARY, Result.UNKNOWN}
