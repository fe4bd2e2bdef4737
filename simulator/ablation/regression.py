"""Linear regressions of the reward on what a coalition sees and chooses, from sums that can be added.

For each arm the sums of x x' and x r over its rows (x: all that anybody sees) are enough for every coalition: its
columns are some of x, and the terms of an arm that they are crossed with are the same in all of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulator.ablation.choosing import Choosing
    from simulator.ablation.columns import Design

_RIDGE: Final = 1e-6
"""What keeps columns that say the same apart: next to nothing, since shrinking would spoil what is corrected for."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Of the rows of K arms: (K, D, D) of x x' and (K, D) of x r, D columns. Those of other rows are added."""

    squares: NDArray[np.float64]
    products: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float32], arm: NDArray[np.intp], reward: NDArray[np.float64], arms: int) -> Sums:
        """Of rows (n, D), their arms and rewards (n,)."""
        d = values.shape[1]
        squares, products = np.zeros((arms, d, d)), np.zeros((arms, d))
        order = np.argsort(arm, kind="stable")
        edges = np.searchsorted(arm[order], np.arange(arms + 1))
        for a in range(arms):
            rows = order[edges[a] : edges[a + 1]]
            x = values[rows].astype(np.float64)
            squares[a], products[a] = x.T @ x, x.T @ reward[rows]
        return cls(squares, products)

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.squares + other.squares, self.products + other.products)


@dataclass(frozen=True, slots=True)
class Model:
    """What a coalition expects of its options: (options, D) weights of x."""

    weights: NDArray[np.float64]

    def expected(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, options) for rows (n, D)."""
        expected: NDArray[np.float64] = values @ self.weights.T
        return expected


def coefficients(choosing: Choosing, columns: NDArray[np.intp]) -> int:
    """How many a regression of these columns has."""
    return int(choosing.crossed.shape[1] * len(columns) + choosing.constant.shape[1])


def fit(sums: Sums, design: Design, channel_of: NDArray[np.intp], choosing: Choosing, seen: NDArray[np.intp]) -> Model:
    """Regress on the options crossed with the columns that are seen (index 0, the ones, among them)."""
    mask = concerned(design, channel_of, choosing)[:, seen]
    squares = sums.squares[:, seen[:, None], seen] * mask[:, :, None] * mask[:, None, :]
    products = sums.products[:, seen] * mask
    crossed, constant = choosing.crossed, choosing.constant
    t, j = crossed.shape[1], len(seen)
    pairs = (crossed[:, :, None] * crossed[:, None, :]).reshape(len(crossed), -1)
    main = (pairs.T @ squares.reshape(len(squares), -1)).reshape(t, t, j, j).transpose(0, 2, 1, 3).reshape(t * j, t * j)
    ones = squares[:, :, 0]
    beside = np.einsum("at,av,aj->tjv", crossed, constant, ones, optimize=True).reshape(t * j, -1)
    corner = constant.T @ (constant * ones[:, :1])
    normal = np.block([[main, beside], [beside.T, corner]])
    right = np.concatenate([np.einsum("at,aj->tj", crossed, products).ravel(), constant.T @ products[:, 0]])
    normal[np.diag_indices_from(normal)] += _RIDGE * max(float(ones[:, 0].sum()), 1.0)
    beta = linalg.solve(normal, right, assume_a="pos")
    weights = np.zeros((len(crossed), sums.products.shape[1]))
    weights[:, seen] = (crossed @ beta[: t * j].reshape(t, j)) * mask
    weights[:, 0] += constant @ beta[t * j :]
    first = np.unique(choosing.group_of, return_index=True)[1]
    return Model(weights[first])


def concerned(design: Design, channel_of: NDArray[np.intp], choosing: Choosing) -> NDArray[np.float64]:
    """(K, D) 1 where a column concerns an arm: not those about another channel, once the channel is chosen."""
    if not choosing.placed:
        return np.ones((len(channel_of), len(design.channel)))
    mask: NDArray[np.float64] = ((design.channel < 0) | (design.channel == channel_of[:, None])).astype(np.float64)
    return mask
