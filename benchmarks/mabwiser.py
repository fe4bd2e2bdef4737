"""The decider against MABWiser's linear policies on the same contexts, one thread each."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from mabwiser.mab import MAB, LearningPolicy
from threadpoolctl import threadpool_limits

from benchmarks.figures import Figure, rates, ratio
from benchmarks.problems import NOW, campaign
from optimizer.decider import Decider
from optimizer.groups import GROUPS, Group
from optimizer.learner import Learner
from optimizer.lessons import Lessons
from simulator.learners.playing import customers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TITLE = "The decider, 40 arms, 30 numbers, batches of 10,000, one thread; against predict of MABWiser 2.7.4"
ARMS: Final = 40
NUMBERS: Final = 30
ROWS: Final = 10_000
TRAINED: Final = 10_000
ROUNDS: Final = 9
TARGETS: Final = {
    "LinGreedy": (LearningPolicy.LinGreedy(epsilon=0.0), 0.3, "which gives no probabilities"),
    "LinUCB": (LearningPolicy.LinUCB(alpha=1.0), 3.0, "which gives no probabilities"),
}


def figures() -> Iterator[Figure]:
    """Ratios of decisions a second: ours with probabilities, draw and reasons; theirs the arm only."""
    rng = np.random.default_rng(1)
    past, rewards, arms = rng.normal(size=(TRAINED, NUMBERS)), rng.random(TRAINED), rng.integers(0, ARMS, TRAINED)
    rewards = (rewards < 0.1 + 0.1 * np.tanh(past[np.arange(TRAINED), arms % NUMBERS])).astype(np.float64)
    rows = rng.normal(size=(ROWS, NUMBERS))
    with threadpool_limits(1):
        decide = _ours(past, arms, rewards, rows)
        for name, (policy, target, note) in TARGETS.items():
            peer = MAB(list(range(ARMS)), policy, n_jobs=1)
            peer.fit(arms, rewards, past)
            measured = rates({"ours": decide, "theirs": partial(_theirs, peer, rows)}, ROUNDS)
            per_s = {each: f"{median(values):,.0f}/s" for each, values in measured.items()}
            yield Figure(
                f"against {name}",
                ratio(measured["ours"], measured["theirs"]),
                "{:.2f} x",
                target,
                note=f"{per_s['ours']} against {per_s['theirs']}, {note}",
            )


def _ours(
    past: NDArray[np.float64], arms: NDArray[np.intp], rewards: NDArray[np.float64], rows: NDArray[np.float64]
) -> partial[int]:
    names = [f"x{i}" for i in range(NUMBERS)]
    made = campaign([{"name": name, "type": "number"} for name in names], [f"arm{i}" for i in range(ARMS)])
    decider = Decider(made)
    schedule = decider.catalog.schedule(None, NOW)
    learner = Learner(decider.space, made.policy.importance)
    learner.learn(
        Lessons.of(
            decider.space,
            decider.space.encode(dict(zip(names, past.T, strict=True)), {}, len(past)),
            arms,
            [None] * len(past),
            rewards=rewards,
            propensities=np.full(len(past), 1.0 / ARMS),
            candidates=np.full(len(past), ARMS),
        )
    )
    scorer = decider.scorer(learner.snapshot())
    batch = customers(dict(zip(names, rows.T, strict=True)), len(rows), [schedule])
    batch.groups[:] = GROUPS.index(Group.TREATMENT)
    batch.words[:] = np.random.default_rng(2).integers(0, 2**63, batch.words.shape).astype(np.uint64)

    def decide() -> int:
        return len(decider.decide(batch, scorer, details=False, workers=1).arm)

    return partial(decide)


def _theirs(peer: Any, rows: NDArray[np.float64]) -> int:  # noqa: ANN401 -- it has no types
    return len(peer.predict(rows))
