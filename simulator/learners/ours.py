"""The service's own learner and policy behind the interface of the others, without the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.decider import Decider
from optimizer.groups import Group
from optimizer.learner import Learner as Pool
from optimizer.lessons import Lessons

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile
    from optimizer.choices import Batch
    from simulator.learners.interface import Bools, Floats, Taken


class Ours:
    """A campaign's decider with its policy, and the pool of models that serves it.

    Args:
        campaign: its policy decides what is learned and how is explored.
    """

    def __init__(self, campaign: CampaignFile) -> None:
        self._decider = Decider(campaign)
        self._pool = Pool(self._decider.space, campaign.policy.importance)
        self._publish()

    def probabilities(self, batch: Batch, allowed: Bools) -> Floats:
        """See `Learner`."""
        if not self._pool.counters.events:
            return self._decider.exploration(Group.TREATMENT, None).probabilities(None, allowed)
        scores = self._decider.scores(batch, self._scorer)
        return self._decider.exploration(Group.TREATMENT, self._scorer.snapshot).probabilities(scores, allowed)

    def learn(self, taken: Taken) -> None:
        """See `Learner`."""
        if not len(taken):
            return
        space, batch = self._decider.space, taken.batch
        slots = self._decider.catalog.slot_of[taken.arms].tolist()
        of = batch.schedule_of.tolist()
        encoded = space.encode(batch.context, batch.history, len(batch))
        lessons = Lessons.of(
            space,
            encoded,
            taken.arms,
            [batch.schedules[s].variants[slot] if slot >= 0 else None for s, slot in zip(of, slots, strict=True)],
            rewards=taken.rewards,
            propensities=taken.propensities,
            candidates=np.count_nonzero(taken.allowed, axis=1),
        )
        self._pool.learn(lessons)
        self._publish()

    def _publish(self) -> None:
        self._scorer = self._decider.scorer(self._pool.snapshot())

    def __getstate__(self) -> dict[str, Any]:
        # Vowpal Wabbit's models do not pickle; what they save does.
        return {"campaign": self._decider.campaign, "pool": self._pool.save()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        campaign: CampaignFile = state["campaign"]
        self._decider = Decider(campaign)
        self._pool = Pool(self._decider.space, campaign.policy.importance, state["pool"])
        self._publish()
