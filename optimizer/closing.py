"""Closing: once a decision is mature, its reward is computed from the logs and stored.

Whoever holds the campaign's lease may do it, at any time, with the same result.
"""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import orjson

from optimizer import budgets, metrics
from optimizer.catalog import TOUCH_LIFETIME_US
from optimizer.contact.facts import ENDED
from optimizer.groups import Group
from optimizer.history import HOUR_US
from optimizer.recording import SENT_EVENTS
from optimizer.rewards import DecisionFacts, EventFacts, JoinedReward, RewardSpec, join
from optimizer.store import campaigns, decisions, events, rewards, settled, touches
from optimizer.store.rows import DecisionHead, EventRow, RewardRow, TouchRow
from optimizer.store.transactions import after_commit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.leases import Fence, Leases
    from optimizer.runtime import Runtime
    from optimizer.versions import Version, Versions

SETTLE_US = 2_000_000
"""Closing stays this far behind the clock, and behind every transaction that still writes: clocks may differ by it."""

PAGE = 5_000
_LEARNED = frozenset({Group.TREATMENT.value, Group.RANDOM_CONTROL.value})


class Steps:
    """Tells when everybody has seen that the clock was set forward.

    Who was writing when it was has dated that by the time of before, however little time it takes.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._stepped_s = self._looked_s = monotonic()
        self._looked_us = 0

    def passed(self, now_us: int, oldest_us: int) -> bool:
        """Whether the oldest transaction that writes, which began so long ago, began after the last step."""
        looked_s = self._monotonic()
        expected_us = self._looked_us + (looked_s - self._looked_s) * 1e6
        if now_us - expected_us > SETTLE_US / 2:
            self._stepped_s = looked_s
        self._looked_s, self._looked_us = looked_s, now_us
        return oldest_us == 0 or oldest_us < (looked_s - self._stepped_s) * 1e6


class Closing:
    """Turns mature decisions into rewards, a page a transaction."""

    def __init__(self, runtime: Runtime, versions: Versions, leases: Leases) -> None:
        self._runtime = runtime
        self._versions = versions
        self._leases = leases
        self._steps = Steps()

    def close_due(self) -> int:
        """Close every decision of this worker's campaigns that has matured; how many."""
        store = self._runtime.store
        # The clock first: what begins after that is later than what is closed.
        now_us = self._runtime.now_us()
        oldest_us = store.read(settled.oldest_write_us)
        if not self._steps.passed(now_us, oldest_us):
            return 0
        until_us = now_us - SETTLE_US - oldest_us
        loaded = store.read(self._versions.all)
        return self._leases.each([row.campaign_id for row in loaded], partial(self._close, until_us=until_us))

    def _close(self, fence: Fence, until_us: int) -> int:
        store, tenant, campaign_id = self._runtime.store, self._runtime.tenant, fence.campaign_id
        closed = 0
        while not self._runtime.stopping.is_set():
            due_us = store.read(partial(decisions.next_mature_us, tenant=tenant, campaign_id=campaign_id))
            if due_us is None or due_us > until_us:
                break
            closed += store.write(partial(self._close_page, fence=fence, until_us=until_us))
        return closed

    def _close_page(self, connection: Connection, fence: Fence, until_us: int) -> int:
        fence.check(connection)
        tenant, campaign_id, now_us = self._runtime.tenant, fence.campaign_id, self._runtime.now_us()
        heads = decisions.due_closes(connection, tenant, campaign_id, until_us, PAGE)
        facts, joined = self._joined(connection, heads)
        self._settle_budget(connection, heads, facts, joined)
        # What came after maturity must not matter, for it depends on when the job runs whether it is seen.
        left_out = decisions.void_causes(connection, tenant, {head.decision_id: head.mature_us for head in heads})
        left_out |= self._paused(connection, campaign_id, heads)
        rows = [
            RewardRow(
                tenant,
                head.campaign_id,
                head.mature_us,
                head.decision_id,
                reward.reward,
                head.group_name in _LEARNED and head.arm is not None and head.decision_id not in left_out,
                parts_json(reward, left_out.get(head.decision_id)),
                now_us,
            )
            for head, reward in zip(heads, joined, strict=True)
        ]
        rewards.insert_rewards(connection, rows)
        after_commit(connection, partial(metrics.CLOSINGS.labels(tenant, campaign_id).inc, len(rows)))
        return len(rows)

    def _paused(self, connection: Connection, campaign_id: str, heads: Sequence[DecisionHead]) -> dict[str, str]:
        """The decisions whose touch might have been due during a pause: whichever arm they drew, they are left out."""
        changes = campaigns.changes_of(connection, self._runtime.tenant, campaign_id)
        edges = [(change.change, change.at_us) for change in changes if change.change in {"paused", "resumed"}]
        pauses = [
            (at_us, edges[i + 1][1] if i + 1 < len(edges) else self._runtime.now_us())
            for i, (change, at_us) in enumerate(edges)
            if change == "paused"
        ]
        if not pauses:
            return {}
        out = {}
        for head in heads:
            waiting_us = _waiting_us(self._versions.get(connection, campaign_id, head.config_hash))
            until_us = min(head.decided_us + waiting_us, head.mature_us)
            if any(start_us < until_us and head.decided_us < end_us for start_us, end_us in pauses):
                out[head.decision_id] = "campaign_paused"
        return out

    def _settle_budget(
        self,
        connection: Connection,
        heads: Sequence[DecisionHead],
        facts: Sequence[DecisionFacts],
        joined: Sequence[JoinedReward],
    ) -> None:
        """Have touches take of the budget what they have come to cost.

        That is less where an offer was not used that costs with its use, and more where a touch that was given up was
        shown all the same, and that was known by maturity.
        """
        final: dict[str, int] = {}
        callers: dict[str, int] = {}
        for head, fact, reward in zip(heads, facts, joined, strict=True):
            version = self._versions.get(connection, head.campaign_id, head.config_hash)
            if head.send_us is None or head.arm is None or version.campaign.budget is None:
                continue
            place = version.catalog.index[head.arm]
            on_use = 0 if reward.used else int(version.costs.on_use[place])
            final[head.decision_id] = int(version.costs.whole[place]) - on_use
            callers[head.decision_id] = final[head.decision_id] if fact.sent_by(reward.mature_us) is not None else 0
        if not final:
            return
        tenant = self._runtime.tenant

        def takes(touch: TouchRow) -> int:
            if touch.state in ENDED:
                return 0
            return (callers if touch.dispatch == "caller" else final)[touch.decision_id]

        known = touches.touches_by_ids(connection, tenant, final)
        differing = [touch.decision_id for touch in known.values() if takes(touch) != touch.reserved_micro]
        held = touches.hold_touches(connection, tenant, differing)
        budgets.change(connection, tenant, held.values(), {touch.decision_id: takes(touch) for touch in held.values()})

    def join(
        self, connection: Connection, heads: Sequence[DecisionHead], spec: RewardSpec | None = None
    ) -> list[JoinedReward]:
        """What these decisions have earned by what is logged now, in their order; all of one campaign.

        With a `spec`, what they would have earned had it held for every decision of the campaign.
        """
        return self._joined(connection, heads, spec)[1]

    def _joined(
        self, connection: Connection, heads: Sequence[DecisionHead], spec: RewardSpec | None = None
    ) -> tuple[list[DecisionFacts], list[JoinedReward]]:
        if not heads:
            return [], []
        tenant, campaign_id = self._runtime.tenant, heads[0].campaign_id
        specs = self._specs(connection, heads, spec)
        since_us = min(head.decided_us for head in heads)
        until_us = max(spec.close_us(head.decided_us) for head, spec in zip(heads, specs, strict=True))
        loose = events.events_of_subjects(
            connection, tenant, (head.subject_id for head in heads), since_us=since_us, until_us=until_us
        )
        everyone = [*heads, *self._siblings(connection, heads, loose, since_us, until_us)]
        by_request = {head.request_id: head.decision_id for head in everyone if head.request_id is not None}
        naming = events.events_naming_decisions(connection, tenant, [head.decision_id for head in everyone])
        naming += events.events_naming_requests(connection, tenant, campaign_id, by_request)
        facts = self._facts(connection, everyone, self._specs(connection, everyone, spec), naming, by_request)
        seen = [_event(row, by_request.get(row.request_id or "")) for row in (*naming, *loose)]
        mine = facts[: len(heads)]
        return mine, join(mine, seen, facts[len(heads) :])

    def _specs(
        self, connection: Connection, heads: Sequence[DecisionHead], spec: RewardSpec | None
    ) -> Sequence[RewardSpec]:
        return [spec] * len(heads) if spec is not None else self._versions.rewards_of(connection, heads)

    def _siblings(
        self,
        connection: Connection,
        heads: Sequence[DecisionHead],
        loose: Iterable[EventRow],
        since_us: int,
        until_us: int,
    ) -> list[DecisionHead]:
        """The other decisions of the subjects with events, which may own them."""
        subject_ids = {row.subject_id for row in loose if row.subject_id is not None}
        own = {head.decision_id for head in heads}
        found = decisions.heads_of_subjects(
            connection,
            self._runtime.tenant,
            sorted(subject_ids),
            since_us=2 * since_us - until_us,
            until_us=until_us,
            campaign_id=heads[0].campaign_id,
        )
        return [head for head in found if head.decision_id not in own]

    def _facts(
        self,
        connection: Connection,
        heads: Sequence[DecisionHead],
        specs: Sequence[RewardSpec],
        naming: Iterable[EventRow],
        by_request: Mapping[str, str],
    ) -> list[DecisionFacts]:
        sending = [head.decision_id for head in heads if head.send_us is not None]
        known = touches.touches_by_ids(connection, self._runtime.tenant, sending)
        told = self._told(connection, heads, specs, known, [(row, _named(row, by_request)) for row in naming])
        facts = []
        for head, spec in zip(heads, specs, strict=True):
            version = self._versions.get(connection, head.campaign_id, head.config_hash)
            arm = version.catalog.arms[version.catalog.index[head.arm]] if head.arm is not None else None
            touch = known.get(head.decision_id)
            sent_us = touch.sent_us if touch else None
            facts.append(
                DecisionFacts(
                    head.decision_id,
                    head.campaign_id,
                    head.subject_id,
                    head.decided_us,
                    spec,
                    arm.message if arm else None,
                    arm.channel if arm else None,
                    head.send_us,
                    sent_us,
                    told.get(head.decision_id),
                )
            )
        return facts

    def _told(
        self,
        connection: Connection,
        heads: Sequence[DecisionHead],
        specs: Sequence[RewardSpec],
        known: Mapping[str, TouchRow],
        naming: Sequence[tuple[EventRow, str]],
    ) -> dict[str, int]:
        """When it was recorded that touches were sent, where a report told it and not the sending itself."""
        told: dict[str, int] = {}
        for row, decision_id in naming:
            if row.name in SENT_EVENTS and decision_id in known and known[decision_id].dispatch == "caller":
                told[decision_id] = min(row.received_us, told.get(decision_id, row.received_us))
        mature_us = {head.decision_id: spec.mature_us(head.decided_us) for head, spec in zip(heads, specs, strict=True)}
        late = {each for row, each in naming if each in known and row.received_us > mature_us[each]}
        mine = sorted(each for each in late if known[each].dispatch == "service")
        received = {f"event {row.event_id}": row.received_us for row, _ in naming}
        for decision_id, moves in touches.transitions_by_ids(connection, self._runtime.tenant, mine).items():
            reason = next((move.reason for move in moves if move.state == "sent"), None)
            if reason in received:
                told[decision_id] = received[reason]
        return told


def _waiting_us(version: Version) -> int:
    """How long after a decision a touch of any of its arms may still wait to be sent or shown."""
    slots = version.catalog.slots
    if not slots:
        return TOUCH_LIFETIME_US
    minutes = max(60 * (slot.end.hour - slot.start.hour) + slot.end.minute - slot.start.minute for slot in slots)
    # Clocks that are set back within a slot make it an hour longer.
    return version.catalog.horizon // timedelta(microseconds=1) + minutes * 60_000_000 + HOUR_US


def _named(row: EventRow, by_request: Mapping[str, str]) -> str:
    """The decision that an event names."""
    return row.decision_id or by_request.get(row.request_id or "", "")


def _event(row: EventRow, decision_id: str | None) -> EventFacts:
    return EventFacts(
        row.event_id,
        row.name,
        row.occurred_us,
        row.received_us,
        row.decision_id or decision_id,
        row.campaign_id,
        row.subject_id,
        orjson.loads(row.fields),
    )


def parts_json(reward: JoinedReward, left_out: str | None) -> str:
    """How a reward came about and why it is left out of learning (None: it is not), as it is stored and shown."""
    parts = [
        {"event_id": p.event_id, "name": p.name, "standing": p.standing, "value": p.value, "note": p.note}
        for p in reward.parts
    ]
    costs = {"touch_cost": reward.touch_cost, "use_cost": reward.use_cost}
    return orjson.dumps({"gross": reward.gross, **costs, "left_out": left_out, "parts": parts}).decode()
