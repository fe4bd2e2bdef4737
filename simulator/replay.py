"""Replay by rejection: a logged world through the whole engine.

Rows come in random order, a step's customers at a time. The engine decides for each as for a caller's request. Where
the decision equals the logged arm, the logged outcome is reported as events; where not, nobody knows what would have
happened: the decision is void, neither sent nor learned. The next step comes when this one's rewards are closed,
learned and published.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from optimizer.clock import VirtualClock, from_us, to_us
from optimizer.closing import SETTLE_US
from optimizer.decisions import Decision, DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.errors import InvalidInput
from optimizer.groups import Group
from optimizer.ids import IdSource
from optimizer.recording import EventIn
from optimizer.store import Store
from optimizer.store.customers import Customer
from simulator.estimates import Mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from optimizer.attributes import Attributes
    from optimizer.campaign import CampaignFile
    from optimizer.dispatch.senders import Outcome, Outgoing
    from simulator.worlds.logged import LoggedRow, LoggedWorld

UNMATCHED = "replay_unmatched"
"""Why a decision is void that differs from the log."""


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """What a policy came to on the log.

    Attributes:
        policy: its name.
        customers: on how many customers it was seen.
        outcomes: the mean of each outcome over these customers.
    """

    policy: str
    customers: int
    outcomes: Mapping[str, Mean]

    @classmethod
    def of(cls, policy: str, rows: Sequence[LoggedRow], names: Sequence[str]) -> PolicyValue:
        """From the customers who got what the policy chose."""
        values = {name: Mean.of(np.array([row.outcomes[name] for row in rows])) for name in names}
        return cls(policy, len(rows), values)

    @classmethod
    def average(cls, orders: Sequence[PolicyValue]) -> PolicyValue:
        """Of the same policy over several orders of one log, see `Mean.average`."""
        first = orders[0]
        means = {name: Mean.average([order.outcomes[name] for order in orders]) for name in first.outcomes}
        return cls(first.policy, round(sum(order.customers for order in orders) / len(orders)), means)


class Replay:
    """One order of a log through an engine of its own.

    Args:
        campaign: its arms are the messages that the log has, and nothing else: a log has no channels or times.
        attributes: the declared attributes.
        world: the log, whose arms were drawn uniformly.
        seed: of the order and of the engine's ids.
        publish_every: how many customers a step has; each step ends with a published snapshot.
        url: the database.

    Raises `InvalidInput` where the campaign's arms are not those of the log.
    """

    def __init__(  # noqa: PLR0913 - what a replay is made of
        self,
        campaign: CampaignFile,
        attributes: Attributes,
        world: LoggedWorld,
        *,
        seed: int,
        publish_every: int = 100,
        url: str = "sqlite://",
    ) -> None:
        self.campaign = campaign
        self.world = world
        self.matched: list[LoggedRow] = []
        """The customers of the treatment group for whom the decision was the logged arm, in their order."""
        self._seed = seed
        self._step = publish_every
        self._clock = VirtualClock(campaign.campaign.starts_at)
        ids = IdSource(np.random.default_rng([seed, 1]).bytes)
        self.engine = Engine(Store(url), attributes, Routes.to(_Nobody()), clock=self._clock, ids=ids)
        self.engine.load_campaign(campaign)
        self._version = self.engine.versions.compile(campaign)
        if set(self._version.catalog.index) != set(world.arm_ids):
            raise InvalidInput(
                f"campaign {campaign.id!r} has the arms {', '.join(self._version.catalog.index)}, "
                f"the log has {', '.join(world.arm_ids)}: they must be the same"
            )

    def run(self) -> Iterator[int]:
        """Go through the log; yields how many customers are done after every step."""
        rows, done = self.world.shuffled(self._seed), 0
        while step := list(islice(rows, self._step)):
            self._decide(step)
            self._learn()
            done += len(step)
            yield done

    def learned(self) -> PolicyValue:
        """The learning policy's value over everything so far, what it spent on exploration included."""
        return PolicyValue.of("learned", self.matched, self.world.outcome_names)

    def close(self) -> None:
        """Close the engine's store."""
        self.engine.close()

    def _decide(self, rows: Sequence[LoggedRow]) -> None:
        self.engine.put_customers([Customer(row.customer_id, row.attributes) for row in rows])
        requests = [DecisionRequest(self.campaign.id, row.customer_id, row.customer_id) for row in rows]
        events: list[EventIn] = []
        unmatched: list[str] = []
        for row, decision in zip(rows, self.engine.decide(requests), strict=True):
            if not isinstance(decision, Decision):
                raise decision
            if decision.arm is None or decision.arm.id != row.arm_id:
                unmatched.append(decision.decision_id)
                continue
            events += self._events(row, decision)
            if decision.group is Group.TREATMENT:
                self.matched.append(row)
        self.engine.void(unmatched, UNMATCHED)
        self.engine.record(events)

    def _events(self, row: LoggedRow, decision: Decision) -> Iterator[EventIn]:
        """That the message was shown, and what is logged of what followed."""
        decision_id = decision.decision_id
        if decision.send_at is not None:
            yield EventIn(f"{row.customer_id}/shown", "shown", decision_id=decision_id)
        for spec in self.campaign.reward.events:
            outcome = row.outcomes.get(spec.name, 0.0)
            if outcome:
                fields = {spec.value_from: outcome} if spec.value_from else {}
                yield EventIn(f"{row.customer_id}/{spec.name}", spec.name, decision_id=decision_id, fields=fields)

    def _learn(self) -> None:
        mature_us = self._version.rewards.mature_us(to_us(self._clock.now()))
        self._clock.advance_to(from_us(mature_us + SETTLE_US))
        self.engine.closing.close_due()
        self.engine.trainer.train_due()


@dataclass(frozen=True, slots=True)
class Orders:
    """Replays of one log in several orders, each by itself: what `Workers` apply to a seed."""

    campaign: CampaignFile
    attributes: Attributes
    world: LoggedWorld

    def __call__(self, seed: int) -> PolicyValue:
        """The learning policy's value over the order of this seed."""
        with closing(Replay(self.campaign, self.attributes, self.world, seed=seed)) as one:
            for _ in one.run():
                pass
            return one.learned()


def benchmarks(world: LoggedWorld) -> list[PolicyValue]:
    """What each single arm came to, and a uniform draw of them, which is what the log itself did."""
    names = world.outcome_names
    single = [
        PolicyValue.of(arm_id, [row for row in world.rows if row.arm_id == arm_id], names) for arm_id in world.arm_ids
    ]
    return [*single, PolicyValue.of("random", world.rows, names)]


class _Nobody:
    """Sends nothing: what the log says has happened already."""

    batch = 1
    needs_address = False

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        raise AssertionError(f"a replay has sent {len(touches)} touches")
