"""Two configurations on the same logged decisions: what each is worth, and the difference, from one set of sums.

w is a configuration's probability of the logged arm over the logged probability, r the reward, q the prediction of the
model that decided. That model had not seen the reward yet, so that it serves as the reward model of a doubly robust
estimate without being fitted again (as in Zhan, Ren, Athey and Zhou, "Off-policy evaluation via adaptive weighting with
data from contextual bandits", KDD 2021).

    SNIPS   sum of w r / sum of w
    DR      mean of sum over arms of probability x q, + w (r - q)

Decisions of treatment and of random control are two strata, each with its own sums. How much each counts follows from
the probabilities alone, never from what was drawn or earned: in proportion to the number of its decisions over the mean
of E[w^2], so that a stratum in which the weights scatter does not drown what the other one tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.evaluation.totals import Totals
from simulator.linearised import Figure
from simulator.what_if.pages import STRATA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.evaluation.totals import Floats, Moments

_TERMS: Final = 7
_N: Final = 0
_WEIGHT: Final = (1, 4)
_EARNED: Final = (2, 5)
_DOUBLY: Final = (3, 6)
"""The places of a stratum's terms: number of rows, then weight, w r and the doubly robust term of either side."""


@dataclass(frozen=True, slots=True)
class Side:
    """n decisions under one of the two configurations: (n,) each.

    Attributes:
        weight: w.
        reward: r, as this configuration values it.
        predicted: q of the logged arm.
        baseline: sum over arms of probability x q.
        second: the expectation of w^2 over what might have been drawn.
    """

    weight: Floats
    reward: Floats
    predicted: Floats
    baseline: Floats
    second: Floats


@dataclass(frozen=True, slots=True)
class Joint:
    """The sums of some decisions; those of others can be added.

    Attributes:
        totals: of the terms of each stratum, by customer.
        second: (strata,) sums of both sides' E[w^2].
        squares: (strata, 2) sums of w^2 of either side.
        largest: (strata, 2) the largest weight.
        same: whether both sides are one and the same in every decision.
    """

    totals: Totals
    second: Floats
    squares: Floats
    largest: Floats
    same: bool

    @classmethod
    def of(cls, stratum: NDArray[np.intp], sides: tuple[Side, Side], customer: NDArray[np.uint64]) -> Joint:
        """Of decisions (n,) under the current configuration and the changed one."""
        own = [
            np.stack([s.weight, s.weight * s.reward, s.baseline + s.weight * (s.reward - s.predicted)], axis=1)
            for s in sides
        ]
        terms = np.hstack([np.ones((len(stratum), 1)), *own])
        apart = [terms * (stratum == g)[:, None] for g in range(len(STRATA))]
        second = sum((side.second for side in sides), np.zeros(len(stratum)))
        weights = np.stack([side.weight for side in sides], axis=1)
        return cls(
            Totals.of(np.hstack(apart), customer),
            np.array([second[stratum == g].sum() for g in range(len(STRATA))]),
            np.array([(weights[stratum == g] ** 2).sum(axis=0) for g in range(len(STRATA))]),
            np.array([weights[stratum == g].max(axis=0, initial=0.0) for g in range(len(STRATA))]),
            bool((own[0] == own[1]).all()),
        )

    @classmethod
    def join(cls, parts: Sequence[Joint]) -> Joint:
        """The sum of several."""
        return cls(
            Totals.join([part.totals for part in parts]),
            reduce(add, (part.second for part in parts)),
            reduce(add, (part.squares for part in parts)),
            np.max([part.largest for part in parts], axis=0),
            all(part.same for part in parts),
        )


@dataclass(frozen=True, slots=True)
class Stratum:
    """What one group's decisions bring: how many, how much they count, and how the changed side's weights are."""

    group: str
    decisions: int
    share: float
    effective: float
    largest_weight: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both configurations, by one estimator: value a decision, and the changed less the current one."""

    estimator: str
    current: Figure
    changed: Figure
    difference: Figure


def strata(joint: Joint) -> list[Stratum]:
    """Those that have decisions."""
    sums = joint.totals.moments().sums
    shares = _shares(joint, sums)
    found = []
    for g, group in enumerate(STRATA):
        n = sums[1 + g * _TERMS]
        if n:
            weight, squares = sums[1 + g * _TERMS + _WEIGHT[1]], joint.squares[g, 1]
            effective = float(weight**2 / squares) if squares else 0.0
            found.append(Stratum(group.value, round(n), float(shares[g]), effective, float(joint.largest[g, 1])))
    return found


def compare(joint: Joint) -> list[Comparison]:
    """By SNIPS and DR."""
    moments = joint.totals.moments()
    shares = _shares(joint, moments.sums)
    found = []
    for name, over, under in (("snips", _EARNED, _WEIGHT), ("dr", _DOUBLY, (_N, _N))):
        values, gradients = zip(*(_side(moments, shares, over[i], under[i]) for i in range(2)), strict=True)
        current, changed = (Figure.of(*each, moments) for each in zip(values, gradients, strict=True))
        difference = Figure.of(values[1] - values[0], gradients[1] - gradients[0], moments)
        found.append(Comparison(name, current, changed, Figure(0.0, 0.0, 0.0) if joint.same else difference))
    return found


def _shares(joint: Joint, sums: Floats) -> Floats:
    """(strata,) how much each counts; they sum to one."""
    n = sums[1::_TERMS]
    precision = np.divide(n**2, joint.second, out=np.zeros(len(STRATA)), where=joint.second > 0.0)
    shares: Floats = precision / precision.sum() if precision.any() else precision
    return shares


def _side(moments: Moments, shares: Floats, over: int, under: int) -> tuple[float, Floats]:
    """One configuration's value and its gradient: the strata's ratios of two terms, each counting its share."""
    value, gradient = 0.0, np.zeros(len(moments.sums))
    for g, share in enumerate(shares.tolist()):
        if share:
            top, bottom = 1 + g * _TERMS + over, 1 + g * _TERMS + under
            total, size = moments.sums[top], moments.sums[bottom]
            ratio = total / size if size else float("nan")
            value += share * ratio
            gradient[top] += share / size if size else 0.0
            gradient[bottom] -= share * ratio / size if size else 0.0
    return value, gradient
