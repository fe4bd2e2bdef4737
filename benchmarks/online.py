"""The decider and the learner around any stream of customers, without the store: one pass, learning as it goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from optimizer.choices import Batch, Choices
from optimizer.decider import Decider
from optimizer.learner import Learner, Lessons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from optimizer.attributes import Columns
    from optimizer.campaign import CampaignFile

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Step:
    """Customers who come between two publications: their context, and the reward (n,) of the arms (n,) drawn."""

    context: Columns
    n: int
    rewards: Callable[[NDArray[np.intp]], NDArray[np.float64]]


def one_pass(campaign: CampaignFile, steps: Iterator[Step], seed: int) -> NDArray[np.float64]:
    """The reward of every decision of one pass, exploration included; the model is published after every step."""
    decider = Decider(campaign)
    learner = Learner(decider.space, campaign.policy.importance)
    rng = np.random.default_rng(seed)
    scorer = None
    earned = []
    schedule = decider.catalog.schedule(None, NOW)
    for step in steps:
        batch = Batch(
            words=rng.integers(0, 2**63, (step.n, 2)).astype(np.uint64),
            groups=np.zeros(step.n, np.uint8),
            context=step.context,
            history={},
            touches=np.zeros(step.n, np.intp),
            schedules=[schedule],
            schedule_of=np.zeros(step.n, np.intp),
        )
        choices = decider.decide(batch, scorer, workers=1)
        rewards = step.rewards(choices.arm)
        earned.append(rewards)
        learner.learn(lessons(decider, batch, choices, rewards / campaign.reward.scale))
        scorer = decider.scorer(learner.snapshot())
    return np.concatenate(earned)


def lessons(decider: Decider, batch: Batch, choices: Choices, rewards: NDArray[np.float64]) -> Lessons:
    """What the learner reads of decisions without timing slots."""
    removed = choices.removed
    allowed = np.count_nonzero(removed == 0, axis=1) if removed is not None else np.ones(len(batch), np.intp)
    return Lessons.of(
        decider.space,
        decider.space.encode(batch.context, batch.history, len(batch)),
        choices.arm,
        [None] * len(batch),
        rewards=rewards,
        propensities=choices.propensity,
        candidates=allowed,
    )
