"""The outbox: touches whose time has come are leased, handed to the sender, and noted as sent; late ones expire.

`planned -> leased -> sending -> sent`: that a touch is being sent is on disk before the sender is called, so that a
crash in between leaves it `sending`, and later `unknown`, never sent twice. Any number of workers may do this at once:
each leases touches that no other is at, and what it says of them later counts only while the lease is its own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import structlog

from optimizer.dispatch.outgoing import outgoing
from optimizer.reasons import Reason
from optimizer.store import customers, decisions, touches
from optimizer.store.touches import TouchChange
from optimizer.suppression import barring, suppressed
from optimizer.touches import cancel, end, held, note, sent
from optimizer.tracebacks import told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.dispatch.routes import Routes
    from optimizer.dispatch.senders import Outgoing
    from optimizer.runtime import Runtime
    from optimizer.store.rows import CustomerRow, TouchRow
    from optimizer.versions import Versions

PAGE = 5_000
ERASED = "customer_erased"
"""Why a touch is cancelled whose customer was erased."""

LEASE_US = 60_000_000
"""How long a touch may stay leased or sending before it is taken to be lost."""

_log = structlog.get_logger()


class Outbox:
    """Carries touches out, a page at a time."""

    def __init__(self, runtime: Runtime, versions: Versions, routes: Routes) -> None:
        self._runtime = runtime
        self._versions = versions
        self._routes = routes

    def dispatch_due(self) -> int:
        """Expire what is too late, recover what was lost, send what is due; how many were sent."""
        store = self._runtime.store
        while store.write(self._expire) == PAGE:
            pass
        store.write(self._recover)
        total = 0
        while not self._runtime.stopping.is_set() and (leased := store.write(self._lease)) is not None:
            page, outgoing = leased
            if not page:
                continue
            if self._runtime.now_us() >= (page[0].lease_until_us or 0):
                # This process was stopped meanwhile, and others take the touches to be lost: it must not send them.
                _log.error("lease_ran_out", touches=len(page))
                store.write(partial(self._return, page=page))
                break
            try:
                self._routes.default.sender.send(outgoing)
            except OSError as error:
                _log.error("send_failed", touches=len(page), error=told(error))
                store.write(partial(self._fail, page=page))
                break
            store.write(partial(self._sent, page=page))
            total += len(page)
        return total

    def cancel(self, connection: Connection, decision_ids: Sequence[str], reason: str) -> None:
        """Take planned touches back."""
        cancel(connection, self._runtime.tenant, decision_ids, reason, self._runtime.now_us())

    def _expire(self, connection: Connection) -> int:
        overdue = touches.overdue_touches(connection, self._runtime.tenant, self._runtime.now_us(), PAGE)
        planned = held(connection, self._runtime.tenant, overdue, lambda touch: touch.state == "planned")
        end(
            connection,
            self._runtime.tenant,
            planned,
            TouchChange("", "expired", self._runtime.now_us(), Reason.EXPIRED_LATE.value),
        )
        return len(overdue)

    def _recover(self, connection: Connection) -> None:
        """A lost lease is given back; what was being sent when its process ended is unknown and stays so."""
        now_us = self._runtime.now_us()
        lost = touches.lost_leases(connection, self._runtime.tenant, now_us, PAGE)
        changes = [
            TouchChange(touch.decision_id, "planned" if touch.state == "leased" else "unknown", now_us, "lease_lost")
            for touch in lost
        ]
        touches.transition(connection, self._runtime.tenant, changes)

    def _lease(self, connection: Connection) -> tuple[list[TouchRow], list[Outgoing]] | None:
        """The next page, being sent from now on, and what the sender gets of it; None where nothing is due.

        What must not be sent, by what is known now, is cancelled instead.
        """
        tenant, now_us = self._runtime.tenant, self._runtime.now_us()
        paused = [row.campaign_id for row in self._versions.all(connection) if row.state != "active"]
        due = touches.due_touches(connection, tenant, now_us, PAGE, paused=paused)
        if not due:
            return None
        people = customers.customers_by_subjects(connection, tenant, [touch.subject_id for touch in due])
        page = self._reachable(connection, due, people)
        token, until_us = self._runtime.ids.uuid7(now_us), now_us + LEASE_US
        changes = [
            TouchChange(touch.decision_id, state, now_us, None, token, until_us)
            for touch in page
            for state in ("leased", "sending")
        ]
        touches.transition(connection, tenant, changes)
        page = [touch._replace(state="sending", lease_token=token, lease_until_us=until_us) for touch in page]
        return page, self._outgoing(connection, page, people)

    def _reachable(
        self, connection: Connection, due: Sequence[TouchRow], people: Mapping[str, CustomerRow]
    ) -> list[TouchRow]:
        """Those whose person is known and whose address is not suppressed; the others are cancelled."""
        known = [touch for touch in due if touch.subject_id in people]
        found = suppressed(connection, self._runtime, [people[touch.subject_id] for touch in known])
        barred = [barring(mine, touch.channel) for mine, touch in zip(found, known, strict=True)]
        end(
            connection,
            self._runtime.tenant,
            [touch for touch in due if touch.subject_id not in people],
            TouchChange("", "cancelled", self._runtime.now_us(), ERASED),
        )
        refused = [touch for touch, found in zip(known, barred, strict=True) if found]
        customers.hold_subjects(connection, self._runtime.tenant, [touch.subject_id for touch in refused])
        end(
            connection,
            self._runtime.tenant,
            refused,
            TouchChange("", "cancelled", self._runtime.now_us(), Reason.SUPPRESSED.value),
        )
        return [touch for touch, found in zip(known, barred, strict=True) if not found]

    def _outgoing(
        self, connection: Connection, page: Sequence[TouchRow], people: Mapping[str, CustomerRow]
    ) -> list[Outgoing]:
        heads = decisions.heads_by_ids(connection, self._runtime.tenant, [touch.decision_id for touch in page])
        return [
            outgoing(
                self._versions.get(connection, touch.campaign_id, heads[touch.decision_id].config_hash),
                people[touch.subject_id],
                message=touch.message,
                channel=touch.channel or "",
                decision_id=touch.decision_id,
                send_us=touch.send_us,
            )
            for touch in page
        ]

    def _sent(self, connection: Connection, page: Sequence[TouchRow]) -> None:
        """Note what was sent. An event may have proved it already, and the lease may have run out."""
        tenant, now_us = self._runtime.tenant, self._runtime.now_us()
        token = page[0].lease_token
        # What is unknown was never leased again: we know it.
        page = held(
            connection, self._runtime.tenant, page, lambda touch: touch.state == "unknown" or _leased_by(token, touch)
        )
        touches.transition(connection, tenant, [TouchChange(touch.decision_id, "sent", now_us) for touch in page])
        note(connection, tenant, page, lambda book, touch: sent(book, touch, now_us))

    def _fail(self, connection: Connection, page: Sequence[TouchRow]) -> None:
        """The sender raised: what it did with them cannot be known."""
        self._let_go(connection, page, "unknown", "sender_failed")

    def _return(self, connection: Connection, page: Sequence[TouchRow]) -> None:
        """Nothing was done with them."""
        self._let_go(connection, page, "planned", "lease_lost")

    def _let_go(self, connection: Connection, page: Sequence[TouchRow], state: str, reason: str) -> None:
        """End our lease of those that we still have."""
        now_us, token = self._runtime.now_us(), page[0].lease_token
        page = held(connection, self._runtime.tenant, page, partial(_leased_by, token))
        changes = [TouchChange(touch.decision_id, state, now_us, reason) for touch in page]
        touches.transition(connection, self._runtime.tenant, changes)


def _leased_by(token: str | None, touch: TouchRow) -> bool:
    return touch.state == "sending" and touch.lease_token == token
