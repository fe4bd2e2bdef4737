"""A small contextual world whose values are known, and its logs: independent rows, customers, adaptive collection.

A customer is of one of three types, which is the context; there are four arms. A reward is 1 or 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.evaluation.log import Log

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.evaluation.totals import Floats

ARMS: Final = ("a", "b", "c", "d")
TYPES: Final = np.array([0.5, 0.3, 0.2])
"""How often each type comes."""

MEANS: Final = np.array([[0.30, 0.10, 0.20, 0.05], [0.10, 0.40, 0.05, 0.20], [0.20, 0.20, 0.50, 0.10]])
"""(types, arms) mean rewards."""

LOGGED: Final = np.array([[0.4, 0.3, 0.2, 0.1], [0.3, 0.2, 0.4, 0.1], [0.4, 0.3, 0.1, 0.2]])
TARGET: Final = np.array([[0.6, 0.1, 0.2, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.6, 0.2]])
"""(types, arms) of the policy that made the logs, and of the one that is judged."""

PREDICTED: Final = 0.8 * MEANS + 0.06
"""A model that is wrong, and was not fitted on these logs."""

HEAVIEST: Final = float((TARGET / LOGGED).max())

_SIZES: Final = np.array([1, 6])
_LUCK: Final = np.array([0.5, 1.5])
_EXPLORED: Final = 0.2


@dataclass(frozen=True, slots=True)
class World:
    """Runs of one kind of log.

    Attributes:
        value: of the target policy.
        log: the rows of all runs, one after another.
        types: (rows,) of these.
        starts: (runs + 1,) where each run begins, and the end.
    """

    value: float
    log: Log
    types: NDArray[np.intp]
    starts: NDArray[np.intp]

    @property
    def target(self) -> Floats:
        """(rows, arms)."""
        return TARGET[self.types]

    @property
    def predictions(self) -> Floats:
        """(rows, arms)."""
        return PREDICTED[self.types]


def independent(runs: int, rows: int, seed: int) -> World:
    """Every row is another customer."""
    random = np.random.default_rng(seed)
    types = random.choice(3, runs * rows, p=TYPES)
    value = float(TYPES @ (TARGET * MEANS).sum(axis=1))
    return World(value, _drawn(random, types, np.ones(len(types))), types, np.arange(runs + 1) * rows)


def of_customers(runs: int, customers: int, seed: int) -> World:
    """Half of the customers have six decisions and half of them one; of the former half again earn three times as much.

    A customer's decisions have its type and its luck in common, so they depend on each other.
    """
    random = np.random.default_rng(seed)
    n = runs * customers
    size, luck, kind = random.integers(0, 2, n), random.integers(0, 2, n), random.choice(3, n, p=TYPES)
    # Those with one decision are all equally lucky.
    factor = np.where(size == 1, _LUCK[luck], 1.0)
    owner = np.repeat(np.arange(n), _SIZES[size])
    log = _drawn(random, kind[owner], factor[owner], owner.astype(np.uint64))
    value = float(TYPES @ (TARGET * MEANS).sum(axis=1))
    starts = np.concatenate([[0], _SIZES[size].reshape(runs, customers).sum(axis=1).cumsum()])
    return World(value, log, kind[owner], starts)


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Runs of logs by a policy that learns from them.

    Attributes:
        log: rows of all runs, (runs x rows), one run after another.
        predictions: (rows of all, arms) the mean rewards seen in earlier rows of the same run.
        target: (rows of all, arms).
        values: (rows,) the target policy's value in each row of a run.
        uniform: (rows,) that of the uniform policy.
    """

    log: Log
    predictions: Floats
    target: Floats
    values: Floats
    uniform: Floats


def adaptive(runs: int, rows: int, seed: int, *, drifting: bool) -> Adaptive:
    """An epsilon-greedy policy by type, whose propensities depend on all that its run has earned so far.

    Args:
        runs: how many, at once.
        rows: of each.
        seed: of all of them.
        drifting: whether mean rewards halve slowly, over and over, so that the value differs from row to row.
    """
    random = np.random.default_rng(seed)
    every = np.arange(runs)
    earned, drawn = np.ones((runs, 3, 4)) * 0.5, np.ones((runs, 3, 4))
    shape = (runs, rows)
    types, chosen, reward = random.choice(3, shape, p=TYPES), np.empty(shape, np.intp), np.empty(shape)
    distribution, predictions = np.empty((*shape, 4)), np.empty((*shape, 4))
    level = 0.75 + 0.25 * np.cos(np.arange(rows) * 2 * np.pi / 500) if drifting else np.ones(rows)
    for t in range(rows):
        kind = types[:, t]
        q = earned[every, kind] / drawn[every, kind]
        p = np.full((runs, 4), _EXPLORED / 4)
        p[every, q.argmax(axis=1)] += 1.0 - _EXPLORED
        arm = _choose(random, p)
        r = (random.random(runs) < level[t] * MEANS[kind, arm]).astype(np.float64)
        predictions[:, t], distribution[:, t], chosen[:, t], reward[:, t] = q, p, arm, r
        earned[every, kind, arm] += r
        drawn[every, kind, arm] += 1.0
    flat = distribution.reshape(-1, 4)
    log = Log(
        arms=ARMS,
        chosen=chosen.ravel(),
        propensity=flat[np.arange(runs * rows), chosen.ravel()],
        reward=reward.ravel(),
        distribution=flat,
    )
    value, uniform = float(TYPES @ (TARGET * MEANS).sum(axis=1)), float(TYPES @ MEANS.mean(axis=1))
    return Adaptive(log, predictions.reshape(-1, 4), TARGET[types.ravel()], value * level, uniform * level)


def _drawn(
    random: np.random.Generator, types: NDArray[np.intp], factor: Floats, customer: NDArray[np.uint64] | None = None
) -> Log:
    p = LOGGED[types]
    chosen = _choose(random, p)
    reward = (random.random(len(types)) < factor * MEANS[types, chosen]).astype(np.float64)
    propensity = p[np.arange(len(types)), chosen]
    return Log(arms=ARMS, chosen=chosen, propensity=propensity, reward=reward, distribution=p, customer=customer)


def _choose(random: np.random.Generator, p: Floats) -> NDArray[np.intp]:
    below = p.cumsum(axis=1) < random.random(len(p))[:, None]
    chosen: NDArray[np.intp] = np.minimum(np.count_nonzero(below, axis=1), p.shape[1] - 1)
    return chosen
