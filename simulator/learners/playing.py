"""One pass of a learner over any stream of customers: it decides, draws are made, and it is told what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optimizer.choices import Batch
from optimizer.exploration import draw, uniform
from simulator.learners.interface import Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from optimizer.attributes import Columns
    from optimizer.catalog import Schedule
    from simulator.learners.interface import Bools, Floats, Indices, Learner


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of n draws.

    Attributes:
        rewards: (n,) in units of the reward's scale.
        seen: (n,) whether the reward is known; where not, nothing is learned and nothing counts.
    """

    rewards: Floats
    seen: Bools


@dataclass(frozen=True, slots=True)
class Turn:
    """The customers who come between two publications.

    Attributes:
        batch: who they are.
        allowed: (n, K) which arms each may get.
        control: (n,) who is the random control: learned from, but drawn uniformly.
        outcome: what comes of arms (n,). The next turn may depend on it.
    """

    batch: Batch
    allowed: Bools
    control: Bools
    outcome: Callable[[Indices], Outcome]


def play(learner: Learner, turns: Iterable[Turn], seed: int) -> Iterator[Taken]:
    """Go through the turns, and tell the learner after each of those that were seen; yields what it is told."""
    rng = np.random.default_rng(seed)
    for turn in turns:
        chances = learner.probabilities(turn.batch, turn.allowed)
        chances[turn.control] = uniform(turn.allowed[turn.control])
        arms, propensities = draw(chances, rng.random(len(turn.batch)))
        outcome = turn.outcome(arms)
        seen = np.flatnonzero(outcome.seen)
        taken = Taken(
            picked(turn.batch, seen), turn.allowed[seen], arms[seen], propensities[seen], outcome.rewards[seen]
        )
        learner.learn(taken)
        yield taken


def customers(
    context: Columns,
    n: int,
    schedules: Sequence[Schedule],
    *,
    schedule_of: Indices | None = None,
    history: Columns | None = None,
) -> Batch:
    """A batch of n customers of whom nothing but this is known; all of the first schedule unless `schedule_of` (n,)."""
    return Batch(
        words=np.zeros((n, 2), np.uint64),
        groups=np.zeros(n, np.uint8),
        context=context,
        history=history or {},
        touches=np.zeros(n, np.intp),
        schedules=schedules,
        schedule_of=np.zeros(n, np.intp) if schedule_of is None else schedule_of,
    )


def picked(batch: Batch, rows: Indices) -> Batch:
    """The customers at these places."""
    return Batch(
        batch.words[rows],
        batch.groups[rows],
        {name: column[rows] for name, column in batch.context.items()},
        {name: column[rows] for name, column in batch.history.items()},
        batch.touches[rows],
        batch.schedules,
        batch.schedule_of[rows],
    )
