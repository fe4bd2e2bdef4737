"""Taking touches to send: a page of one channel is leased, judged once more, and then being sent.

Two transactions. The first takes what is due, as much as the channel's rate and capacity have room for and one call of
its sender takes; it waits for nobody, so that workers do not stand in each other's way. The second holds the customers,
judges by what is known then (`optimizer.dispatch.recheck`), and by compare-and-set on the lease makes `sending` of what
may go: that is on disk before the sender is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from optimizer import metrics
from optimizer.dispatch.capacity import brought_to, given_back, is_limited, room, unused, used
from optimizer.dispatch.outgoing import outgoing
from optimizer.dispatch.recheck import Facts, Recheck, Verdict
from optimizer.store import capacity, customers, outbox, touches
from optimizer.store.rows import CampaignRow, TouchRow
from optimizer.store.touches import TouchChange
from optimizer.store.transactions import after_commit
from optimizer.touches import end, held

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.dispatch.routes import Routes
    from optimizer.dispatch.senders import Outgoing
    from optimizer.runtime import Runtime
    from optimizer.store.outbox import Plan
    from optimizer.store.rows import CustomerRow
    from optimizer.versions import Versions

PAGE = 5_000
"""The most touches in one transaction."""

LEASE_US: Final = 60_000_000
"""How long a touch may stay leased or sending before it is taken to be lost."""

LOST: Final = "lease_lost"
"""Why a touch is given back, or unknown: its worker was not heard of again, or came too late."""


@dataclass(frozen=True, slots=True)
class Page:
    """Touches of one channel under one lease, in the order in which they are due; as they stand."""

    channel: str
    token: str
    taken_us: int
    until_us: int
    touches: Sequence[TouchRow]


class Leasing:
    """Leases and judges pages, inside the store's transactions."""

    def __init__(self, runtime: Runtime, versions: Versions, routes: Routes) -> None:
        self._runtime = runtime
        self._versions = versions
        self._routes = routes
        self._recheck = Recheck(runtime, versions)

    def is_due(self, connection: Connection, channel: str) -> bool:
        """Whether a touch of an active campaign is due on the channel."""
        firsts = outbox.first_due(connection, self._runtime.tenant, channel)
        return bool(firsts) and firsts[0][0] <= self._runtime.now_us()

    def lease(self, connection: Connection, channel: str) -> Page | None:
        """The next page of a channel, leased; None where nothing is due, or nothing more may go out now."""
        tenant, now_us, route = self._runtime.tenant, self._runtime.now_us(), self._routes.of(channel)
        limit, usage = min(route.sender.batch, PAGE), None
        if is_limited(route):
            usage = capacity.hold_usage(connection, unused(tenant, channel, route, now_us))
            usage = brought_to(usage, route, now_us)
            limit = room(usage, route, limit)
        page: list[TouchRow] = []
        for due_us, campaign_id in outbox.first_due(connection, tenant, channel) if limit else ():
            if due_us > now_us or len(page) == limit:
                break
            page += outbox.due_touches(connection, tenant, campaign_id, channel, now_us, limit - len(page))
        if not page:
            return None
        if usage is not None:
            capacity.put_usage(connection, used(usage, route, len(page)))
        page.sort(key=lambda touch: (touch.due_us, touch.decision_id))
        token, until_us = self._runtime.ids.uuid7(now_us), now_us + LEASE_US
        changes = [TouchChange(touch.decision_id, "leased", now_us, None, token, until_us) for touch in page]
        touches.transition(connection, tenant, changes)
        return Page(channel, token, now_us, until_us, page)

    def begin(self, connection: Connection, page: Page) -> tuple[Page, list[Outgoing]]:
        """Judge a leased page: those that are being sent from now on, and what the sender gets of them.

        The others are cancelled, have expired or wait; those whose lease is another's by now are left alone.
        """
        tenant = self._runtime.tenant
        kept = self._versions.kept(connection, dict.fromkeys(touch.campaign_id for touch in page.touches))
        people = customers.hold_subjects(connection, tenant, [touch.subject_id for touch in page.touches])
        now = touches.hold_touches(connection, tenant, [touch.decision_id for touch in page.touches])
        # To hold them may have taken a while: what may go is judged by the time that it is now, which is also noted.
        now_us = self._runtime.now_us()
        # The rows as they are now: another one may have leased them, or taken them back.
        mine = [now[each.decision_id] for each in page.touches if each.decision_id in now]
        mine = [each for each in mine if each.state == "leased" and each.lease_token == page.token]
        plans = outbox.plans_by_ids(connection, tenant, [touch.decision_id for touch in mine])
        facts = Facts({name: row for name, row in kept.items() if isinstance(row, CampaignRow)}, people, plans)
        until_us = now_us + LEASE_US
        going: list[TouchRow] = []
        left = {touch.decision_id for touch in mine}
        for wave in _waves(mine):
            verdicts = self._recheck.verdicts(connection, wave, facts, now_us, without=left)
            left -= verdicts.keys()
            self._apply(connection, page.token, wave, verdicts, now_us)
            going += [touch for touch in wave if verdicts[touch.decision_id].state == "sending"]
        self.give_back(connection, page, len(page.touches) - len(going))
        sending = [
            touch._replace(state="sending", attempts=touch.attempts + 1, due_us=now_us, lease_until_us=until_us)
            for touch in going
        ]
        begun = Page(page.channel, page.token, page.taken_us, until_us, sending)
        return begun, [self.outgoing(connection, touch, people, plans) for touch in going]

    def outgoing(
        self, connection: Connection, touch: TouchRow, people: Mapping[str, CustomerRow], plans: Mapping[str, Plan]
    ) -> Outgoing:
        """A touch as its sender gets it."""
        version = self._versions.get(connection, touch.campaign_id, plans[touch.decision_id].config_hash)
        return outgoing(
            version,
            people[touch.subject_id],
            message=touch.message,
            channel=touch.channel or "",
            decision_id=touch.decision_id,
            send_us=touch.send_us,
        )

    def give_up(self, connection: Connection, page: Page) -> None:
        """Give back what is being sent under this lease, of which nothing was sent."""
        tenant, now_us = self._runtime.tenant, self._runtime.now_us()
        mine = held(
            connection, tenant, page.touches, lambda each: each.state == "sending" and each.lease_token == page.token
        )
        touches.transition(
            connection, tenant, [TouchChange(each.decision_id, "planned", now_us, LOST) for each in mine]
        )
        self.give_back(connection, page, len(mine))

    def _apply(
        self,
        connection: Connection,
        token: str,
        wave: Sequence[TouchRow],
        verdicts: Mapping[str, Verdict],
        now_us: int,
    ) -> None:
        tenant, until_us = self._runtime.tenant, now_us + LEASE_US
        changes: list[TouchChange] = []
        ended: dict[Verdict, list[TouchRow]] = {}
        for touch in wave:
            verdict = verdicts[touch.decision_id]
            if verdict.state == "sending":
                changes.append(TouchChange(touch.decision_id, "sending", now_us, None, token, until_us, now_us))
            elif verdict.state == "planned":
                changes.append(TouchChange(touch.decision_id, "planned", now_us, verdict.reason, due_us=verdict.due_us))
            else:
                ended.setdefault(verdict, []).append(touch)
        touches.transition(connection, tenant, changes)
        for verdict, mine in ended.items():
            end(connection, tenant, mine, TouchChange("", verdict.state, now_us, verdict.reason))
        held_back = [(tenant, each.reason or "") for each in verdicts.values() if each.state != "sending"]
        after_commit(connection, partial(metrics.count, metrics.HELD_BACK, held_back))

    def give_back(self, connection: Connection, page: Page, n: int) -> None:
        """Let others have what the page took of the channel's rate and capacity for n touches that were not sent."""
        route = self._routes.of(page.channel)
        if n and is_limited(route):
            tenant, now_us = self._runtime.tenant, self._runtime.now_us()
            usage = capacity.hold_usage(connection, unused(tenant, page.channel, route, now_us))
            usage = given_back(brought_to(usage, route, now_us), route, n, page.taken_us)
            capacity.put_usage(connection, usage)


def _waves(page: Sequence[TouchRow]) -> list[list[TouchRow]]:
    """The page in parts with one touch of each customer at most, the one that is due first in the first part.

    So that the second sees what became of the first.
    """
    waves: list[list[TouchRow]] = []
    seen: dict[str, int] = {}
    for touch in page:
        place = seen.get(touch.subject_id, 0)
        if place == len(waves):
            waves.append([])
        waves[place].append(touch)
        seen[touch.subject_id] = place + 1
    return waves
