"""Finding the strengths that give a world the conversion rates and bucket shares asked for.

Four numbers (`intercept`, `message`, `execution`, `personal`) answer for four targets; the rest of the strengths
stays as it is. Newton's method with differences in place of derivatives (and the strengths by their logarithms, so
that none changes its sign), on one sample of people and histories, so that the values move smoothly with the
strengths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from simulator.worlds.effects import Strengths, personal_logits
from simulator.worlds.population import Floats, draw_population
from simulator.worlds.shapley import STATES_SEED, bucket_values
from simulator.worlds.states import uniform_histories

if TYPE_CHECKING:
    from simulator.worlds.factorial import FactorialConfig
    from simulator.worlds.games import Values

_SOLVED_FOR = ("intercept", "message", "execution", "personal")
_STEP = 0.01
_LONGEST_MOVE = 0.3
_CLOSE_ENOUGH = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the world is to be like; the defaults are the shares that a study of 3,291 optimised campaigns found.

    Attributes:
        base: conversions a decision when every arm is drawn uniformly.
        best: conversions a decision when the best arm of each state is taken.
        customer, experience: shares of the two buckets; execution has the rest.
    """

    base: float = 0.04
    best: float = 0.08
    customer: float = 0.37
    experience: float = 0.24


def calibrate(
    config: FactorialConfig, target: Target, people: int = 20_000, histories: int = 150, rounds: int = 12
) -> FactorialConfig:
    """The configuration with the four strengths set so that the target is met.

    It is met on a sample of `people` x `histories` states. `CALIBRATED` has what this finds with the defaults, rounded;
    that takes about a minute.
    """
    rng = np.random.default_rng(STATES_SEED)
    population, history = draw_population(people, rng), uniform_histories(histories, rng)

    def miss(strengths: Strengths) -> Floats:
        personal = personal_logits(population.columns, strengths)
        return _miss(bucket_values(personal, history, strengths, config.late_share), target)

    strengths = config.strengths
    for _ in range(rounds):
        here = miss(strengths)
        if np.abs(here).max() < _CLOSE_ENOUGH:
            break
        slopes = np.stack([(miss(_moved(strengths, i, _STEP)) - here) / _STEP for i in range(len(_SOLVED_FOR))], axis=1)
        move = np.clip(np.linalg.solve(slopes, -here), -_LONGEST_MOVE, _LONGEST_MOVE)
        for i, by in enumerate(move):
            strengths = _moved(strengths, i, float(by))
    return replace(config, strengths=strengths)


def _moved(strengths: Strengths, i: int, by: float) -> Strengths:
    name = _SOLVED_FOR[i]
    value = getattr(strengths, name)
    return replace(strengths, **{name: value + by if name == "intercept" else value * math.exp(by)})


def _miss(values: Values, target: Target) -> Floats:
    """(4,) how far the values are from the target: rates by their logarithm, shares by their difference."""
    shares = values.shares
    return np.array(
        [
            np.log(values() / target.base),
            np.log(values("customer", "experience", "execution") / target.best),
            shares["customer"] - target.customer,
            shares["experience"] - target.experience,
        ]
    )
