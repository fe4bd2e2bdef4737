"""The outbox: touches whose time has come are leased, handed to their sender, and noted as sent; late ones expire.

`planned -> leased -> sending -> sent`: that a touch is being sent is on disk before the sender is called, so that a
crash in between leaves it `sending`, and later `unknown`, never sent twice. Any number of workers may do this at once:
each leases touches that no other is at, and what it says of them later counts only while the lease is its own.

Each channel with a route of its own has a job of its own, so that a slow one holds up no other.
"""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Final

import structlog

from optimizer.dispatch.capacity import brought_to, free_us, is_limited
from optimizer.dispatch.leasing import LEASE_US, PAGE, Leasing
from optimizer.dispatch.recheck import ERASED
from optimizer.dispatch.senders import Answers, Outcome, Outgoing, Result
from optimizer.dispatch.senders.base import NO_TIME
from optimizer.dispatch.settling import Settling
from optimizer.errors import Unavailable
from optimizer.reasons import Reason
from optimizer.runtime import total
from optimizer.store import capacity, customers, outbox
from optimizer.store.touches import TouchChange
from optimizer.touches import cancel, end, held
from optimizer.tracebacks import told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.dispatch.routes import Route, Routes
    from optimizer.runtime import Runtime
    from optimizer.store.rows import TouchRow
    from optimizer.versions import Versions

__all__ = ["ERASED", "LEASE_US", "Outbox"]

_UNKNOWN: Final = Outcome(Result.UNKNOWN)
_ANSWERED: Final = frozenset({Result.SENT, Result.PERMANENT})

_log = structlog.get_logger()


class Outbox:
    """Carries touches out, a page at a time. Safe to call from any thread."""

    def __init__(self, runtime: Runtime, versions: Versions, routes: Routes) -> None:
        self._runtime = runtime
        self._routes = routes
        self._leasing = Leasing(runtime, versions, routes)
        self._settling = Settling(runtime, versions, routes)
        self._unsettled: list[tuple[Sequence[TouchRow], Sequence[Outcome]]] = []
        self._lock = Lock()

    def dispatch_due(self) -> int:
        """Expire what is too late, recover what was lost, send what is due; how many touches were sent."""
        self.tend()
        self.resolve()
        return self.dispatch_rest() + total(self.dispatch, sorted(self._routes.channels))

    def tend(self) -> None:
        """Note what could not be noted before, expire what is too late, and recover what was lost."""
        store = self._runtime.store
        while (unsettled := self._next_unsettled()) is not None:
            self._settle(*unsettled)
        while store.write(self._expire) == PAGE:
            pass
        store.write(partial(self._settling.recover, limit=PAGE))

    def dispatch_rest(self) -> int:
        """Send what is due on every channel without a route of its own; how many touches were sent."""
        planned = self._runtime.store.read(partial(outbox.channels_planned, tenant=self._runtime.tenant))
        return total(self.dispatch, [channel for channel in planned if channel not in self._routes.channels])

    def dispatch(self, channel: str) -> int:
        """Send what is due on a channel, page by page; how many touches were sent.

        Ends where a page brought no answer: what is wrong with the provider then will not pass at once.
        """
        store, sent = self._runtime.store, 0
        while not self._runtime.stopping.is_set():
            if not store.read(partial(self._leasing.is_due, channel=channel)):
                break
            leased = store.write(partial(self._leasing.lease, channel=channel))
            if leased is None:
                break
            page, outgoing = store.write(partial(self._leasing.begin, page=leased))
            if not outgoing:
                continue
            if self._runtime.now_us() >= page.until_us - LEASE_US // 2:
                # This process was stopped meanwhile: others may take the touches to be lost before they are sent.
                _log.error("lease_ran_out", channel=channel, touches=len(outgoing))
                store.write(partial(self._leasing.give_up, page=page))
                break
            outcomes = self._send(self._routes.of(channel), outgoing)
            sent += self._settle(page.touches, outcomes)
            if (untried := outcomes.count(NO_TIME)) > 0:
                store.write(partial(self._leasing.give_back, page=page, n=untried))
            if not any(outcome.result in _ANSWERED for outcome in outcomes):
                break
        return sent

    def resolve(self) -> int:
        """Find out about touches of which nobody knows whether they were sent; how many were."""
        now_us = self._runtime.now_us()
        query = partial(outbox.doubtful_touches, tenant=self._runtime.tenant, now_us=now_us, limit=PAGE)
        doubtful = self._runtime.store.read(query)
        by_channel: dict[str, list[TouchRow]] = {}
        for touch in doubtful:
            by_channel.setdefault(touch.channel or "", []).append(touch)
        return total(lambda channel: self._ask(channel, by_channel[channel]), sorted(by_channel))

    def cancel(self, connection: Connection, decision_ids: Sequence[str], reason: str) -> None:
        """Take planned touches back."""
        cancel(connection, self._runtime.tenant, decision_ids, reason, self._runtime.now_us())

    def next_due_us(self, connection: Connection) -> int | None:
        """The next instant at which a touch may be sent, expires, or is heard of; None where none will."""
        tenant = self._runtime.tenant
        instants = [outbox.next_end_us(connection, tenant)]
        for channel in outbox.channels_planned(connection, tenant):
            [(due_us, _), *_] = outbox.first_due(connection, tenant, channel)
            route = self._routes.of(channel)
            usage = capacity.usage(connection, tenant, channel) if is_limited(route) else None
            if usage is not None:
                due_us = max(due_us, free_us(brought_to(usage, route, self._runtime.now_us()), route))
            instants.append(due_us)
        return min((at_us for at_us in instants if at_us is not None), default=None)

    def _ask(self, channel: str, page: Sequence[TouchRow]) -> int:
        """Ask a channel's provider about touches, as many at a time as it takes."""
        route, sent = self._routes.of(channel), 0
        for start in range(0, len(page), route.sender.batch):
            part = page[start : start + route.sender.batch]
            told_of: Mapping[str, Outcome] = {}
            if isinstance(route.sender, Answers):
                told_of = self._answers(route.sender, self._runtime.store.read(partial(self._questions, page=part)))
            outcomes = [told_of.get(touch.decision_id, _UNKNOWN) for touch in part]
            sent += self._runtime.store.write(partial(self._settling.settle, page=part, outcomes=outcomes, asked=True))
        return sent

    def _questions(self, connection: Connection, page: Sequence[TouchRow]) -> list[Outgoing]:
        """The touches as their provider knows them, of customers who are known still."""
        tenant = self._runtime.tenant
        people = customers.customers_by_subjects(connection, tenant, [touch.subject_id for touch in page])
        plans = outbox.plans_by_ids(connection, tenant, [touch.decision_id for touch in page])
        known = [touch for touch in page if touch.subject_id in people and touch.decision_id in plans]
        return [self._leasing.outgoing(connection, touch, people, plans) for touch in known]

    @staticmethod
    def _answers(sender: Answers, asked: Sequence[Outgoing]) -> dict[str, Outcome]:
        try:
            outcomes = sender.ask(asked)
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing is known by it
            _log.error("ask_failed", touches=len(asked), error=told(error))
            outcomes = []
        return dict(zip((touch.decision_id for touch in asked), outcomes, strict=False))

    @staticmethod
    def _send(route: Route, outgoing: Sequence[Outgoing]) -> Sequence[Outcome]:
        """What came of each; where the sender raises, or does not tell of each, it cannot be known."""
        try:
            outcomes = route.sender.send(outgoing)
        except Exception as error:  # noqa: BLE001 - whatever it was, what it did with them cannot be known
            _log.error("send_failed", touches=len(outgoing), error=told(error))
            return [Outcome(Result.UNKNOWN, type(error).__name__)] * len(outgoing)
        if len(outcomes) != len(outgoing):
            _log.error("send_failed", touches=len(outgoing), error=f"the sender told of {len(outcomes)}")
            return [Outcome(Result.UNKNOWN, "not told of")] * len(outgoing)
        return outcomes

    def _settle(self, page: Sequence[TouchRow], outcomes: Sequence[Outcome]) -> int:
        """Note what came of touches; where the database cannot be used, that is done as soon as it can."""
        try:
            return self._runtime.store.write(partial(self._settling.settle, page=page, outcomes=outcomes))
        except Unavailable:
            with self._lock:
                self._unsettled.append((page, outcomes))
            raise

    def _next_unsettled(self) -> tuple[Sequence[TouchRow], Sequence[Outcome]] | None:
        with self._lock:
            return self._unsettled.pop(0) if self._unsettled else None

    def _expire(self, connection: Connection) -> int:
        tenant, now_us = self._runtime.tenant, self._runtime.now_us()
        overdue = outbox.overdue_touches(connection, tenant, now_us, PAGE)
        planned = held(connection, tenant, overdue, lambda touch: touch.state == "planned")
        end(connection, tenant, planned, TouchChange("", "expired", now_us, Reason.EXPIRED_LATE.value))
        return len(overdue)
