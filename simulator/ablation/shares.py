"""From the values of coalitions to shares with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.linearised import Figure
from simulator.worlds.games import BUCKETS, PLAYERS, WITHIN_EXECUTION, coalition, coefficients

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from optimizer.evaluation.totals import Floats, Moments


@dataclass(frozen=True, slots=True)
class Untold:
    """Why a log does not tell the shares.

    Attributes:
        why: the cause.
        left_out: how many decisions did not count, by cause.
        worth: what choosing well is worth, where that is known and may be nothing.
    """

    why: str
    left_out: Mapping[str, int]
    worth: Figure | None = None


@dataclass(frozen=True, slots=True)
class Ablation:
    """What each bucket is worth.

    Attributes:
        decisions, customers: those that counted.
        left_out: how many decisions did not, by cause.
        base: V({}), a decision with every arm drawn uniformly.
        best: V(all), with the best arm.
        worth: their difference, of which the shares are.
        shares: of the customer, the experience and the execution; they sum to one.
        within_execution: how the execution's divides: placement and earlier touches.
        corrections: by how much of V(all) - V({}) each share was moved by what learned policies fall short of.
        values: V(S) by the players of S, comma-separated.
    """

    decisions: int
    customers: int
    left_out: Mapping[str, int]
    base: Figure
    best: Figure
    worth: Figure
    shares: Mapping[str, Figure]
    within_execution: Mapping[str, Figure]
    corrections: Mapping[str, float]
    values: Mapping[str, Figure]


def divided(
    coalitions: Sequence[frozenset[str]], moments: Moments, short: NDArray[np.float64], left_out: Mapping[str, int]
) -> Ablation | Untold:
    """Divide the worth of choosing well.

    Args:
        coalitions: those who choose anything; the others are worth V({}).
        moments: of the rewards and of the DR terms of V(S) of each.
        short: (coalitions,) what is to be added to each V(S).
        left_out: how many decisions did not count, by cause.
    """
    linear = _Linear(coalitions, moments, short)
    worth = linear.figure({frozenset(PLAYERS): 1.0, frozenset(): -1.0})
    if worth.low is None or worth.low <= 0.0:
        why = f"choosing well may be worth nothing: {worth.text(5, signed=True)} a decision"
        return Untold(why, left_out, worth)
    shares = {name: linear.share(name) for name in (*BUCKETS, *WITHIN_EXECUTION)}
    return Ablation(
        decisions=moments.rows,
        customers=moments.customers,
        left_out=left_out,
        base=linear.figure({frozenset(): 1.0}),
        best=linear.figure({frozenset(PLAYERS): 1.0}),
        worth=worth,
        shares={name: shares[name][0] for name in BUCKETS},
        within_execution={name: shares[name][0] for name in WITHIN_EXECUTION},
        corrections={name: moved for name, (_, moved) in shares.items()},
        values={",".join(p for p in PLAYERS if p in each): linear.figure({each: 1.0}) for each in coalitions},
    )


class _Linear:
    """Weighted sums of V(S), by players, as functions of the sums of terms."""

    def __init__(self, coalitions: Sequence[frozenset[str]], moments: Moments, short: NDArray[np.float64]) -> None:
        self._moments = moments
        self._short = np.concatenate([[0.0], short])
        self._place = {frozenset(each): place + 1 for place, each in enumerate(coalitions)}
        self._named = {coalition(list(each)): each for each in coalitions}

    def figure(self, weights: Mapping[frozenset[str], float]) -> Figure:
        """The sum, with its interval, widened by what was added."""
        vector = self._vector(weights)
        raw, gradient = self._mean(vector)
        added = float(vector @ self._short)
        return _widened(Figure.of(raw + added, gradient, self._moments), added)

    def share(self, player: str) -> tuple[Figure, float]:
        """A player's share, and by how much it was moved by what was added."""
        own = {self._named.get(players, frozenset()): 0.0 for players in coefficients(player)}
        for players, weight in coefficients(player).items():
            own[self._named.get(players, frozenset())] += weight
        top, bottom = self._vector(own), self._vector({frozenset(PLAYERS): 1.0, frozenset(): -1.0})
        (over, over_gradient), (under, under_gradient) = self._mean(top), self._mean(bottom)
        plain = over / under
        over, under = over + float(top @ self._short), under + float(bottom @ self._short)
        value = over / under
        gradient = (over_gradient - value * under_gradient) / under
        return _widened(Figure.of(value, gradient, self._moments), value - plain), value - plain

    def _vector(self, weights: Mapping[frozenset[str], float]) -> Floats:
        """(1 + coalitions,) by the order of the terms, V({}) first."""
        vector = np.zeros(len(self._short))
        for players, weight in weights.items():
            vector[self._place.get(players, 0)] += weight
        return vector

    def _mean(self, vector: Floats) -> tuple[float, Floats]:
        sums = self._moments.sums
        value = float(vector @ sums[1:]) / sums[0]
        return value, np.concatenate([[-value / sums[0]], vector / sums[0]])


def _widened(figure: Figure, by: float) -> Figure:
    if figure.value is None or figure.low is None or figure.high is None:
        return figure
    half = figure.high - figure.value + abs(by)
    return Figure(figure.value, figure.value - half, figure.value + half)
