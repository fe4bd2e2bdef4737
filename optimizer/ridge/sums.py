"""The sums that a least-squares regression on products of context columns and levels needs.

For every two places and every two of their levels that came together: the sum of z z' over the examples, z the context
columns. Levels of one place never come together, so that nothing is kept for them; where an arm is a message alone,
this is a small matrix for each message.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Shapes: TypeAlias = "Sequence[tuple[int, int]]"
"""For each place the number of levels, and how many of the context columns they are crossed with: all, or the first."""


class Sums:
    """Sums of products of the context columns with each other and with the rewards.

    Attributes:
        squares: for each place (levels, columns, columns).
        products: for every two places (levels, levels of the other, columns, columns of the other).
        rewards: for each place (levels, columns).
    """

    def __init__(self, shapes: Shapes = ()) -> None:
        self.squares: list[NDArray[np.float64]] = []
        self.products: dict[tuple[int, int], NDArray[np.float64]] = {}
        self.rewards: list[NDArray[np.float64]] = []
        self.grow(shapes)

    def grow(self, shapes: Shapes) -> None:
        """Make room for more places, levels and columns."""
        for i, (levels, columns) in enumerate(shapes):
            if i == len(self.squares):
                self.squares.append(np.zeros((0, 0, 0)))
                self.rewards.append(np.zeros((0, 0)))
            self.squares[i] = _grown(self.squares[i], (levels, columns, columns))
            self.rewards[i] = _grown(self.rewards[i], (levels, columns))
            for j, (others, crossed) in enumerate(shapes[:i]):
                before = self.products.get((j, i), np.zeros((0, 0, 0, 0)))
                self.products[j, i] = _grown(before, (others, levels, crossed, columns))

    def copy(self) -> Sums:
        """The same sums, to go on with apart."""
        made = Sums()
        made.squares = [each.copy() for each in self.squares]
        made.products = {key: each.copy() for key, each in self.products.items()}
        made.rewards = [each.copy() for each in self.rewards]
        return made

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Every array by a name of its own; they are written into, not replaced, when a learner is restored."""
        named = {f"squares-{i}": each for i, each in enumerate(self.squares)}
        named |= {f"rewards-{i}": each for i, each in enumerate(self.rewards)}
        return named | {f"products-{i}-{j}": each for (i, j), each in self.products.items()}

    def add(self, z: NDArray[np.float64], levels: NDArray[np.intp], rewards: NDArray[np.float64]) -> None:
        """Take m examples.

        Args:
            z: (m, columns) context columns.
            levels: (m, places) numbers of the levels, -1 for none.
            rewards: (m,).
        """
        weighted = z * rewards[:, None]
        for i, total in enumerate(self.rewards):
            _add_sums(total, levels[:, i], weighted[:, : total.shape[1]])
        for i, total in enumerate(self.squares):
            _add_products(total, levels[:, i], z[:, : total.shape[1]], z[:, : total.shape[2]])
        for (i, j), total in self.products.items():
            there = (levels[:, i] >= 0) & (levels[:, j] >= 0)
            keys = np.where(there, levels[:, i] * total.shape[1] + levels[:, j], -1)
            every_two = total.reshape(-1, *total.shape[2:])
            _add_products(every_two, keys, z[:, : total.shape[2]], z[:, : total.shape[3]])

    def matrix(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """(len(rows), len(rows)) sums of products of these columns of levels, which stand in the order of the places.

        Rows of several places have to be all rows.
        """
        if len(self.squares) == 1:
            width = self.squares[0].shape[1]
            levels = np.unique(rows // width)
            out = np.zeros((len(rows), len(rows)))
            for k, level in enumerate(levels.tolist()):
                out[k * width : (k + 1) * width, k * width : (k + 1) * width] = self.squares[0][level]
            return out
        starts = np.cumsum([0, *(levels * columns for levels, columns, _ in (s.shape for s in self.squares))])
        out = np.zeros((starts[-1], starts[-1]))
        for i, each in enumerate(self.squares):
            levels, columns, _ = each.shape
            for level in range(levels):
                at = slice(starts[i] + level * columns, starts[i] + (level + 1) * columns)
                out[at, at] = each[level]
        for (i, j), each in self.products.items():
            a, b = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
            out[a, b] = each.transpose(0, 2, 1, 3).reshape(a.stop - a.start, b.stop - b.start)
            out[b, a] = out[a, b].T
        return out

    def with_rewards(self) -> NDArray[np.float64]:
        """The sums with the rewards of all columns of levels, in the order of the places."""
        return np.concatenate([np.zeros(0), *(each.ravel() for each in self.rewards)])


def _add_products(
    totals: NDArray[np.float64], keys: NDArray[np.intp], left: NDArray[np.float64], right: NDArray[np.float64]
) -> None:
    """Add left' right (a, b) of the rows that have a key to that key's total; negative keys are none."""
    if left.shape[1] == 1 or right.shape[1] == 1:
        _add_sums(totals.reshape(len(totals), -1), keys, left * right)
        return
    order, starts = _grouped(keys)
    for start, end in pairwise([*starts.tolist(), len(order)]):
        rows = order[start:end]
        totals[keys[rows[0]]] += left[rows].T @ right[rows]


def _add_sums(totals: NDArray[np.float64], keys: NDArray[np.intp], each: NDArray[np.float64]) -> None:
    """Add the rows of `each` (m, a) to the totals (keys, a) of their keys."""
    order, starts = _grouped(keys)
    if len(starts):
        totals[keys[order[starts]]] += np.add.reduceat(each[order], starts, axis=0)


def _grouped(keys: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows with a key, those with the same one together, in their order; and where each key begins."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    order, ordered = order[ordered >= 0], ordered[ordered >= 0]
    return order, np.flatnonzero(np.diff(ordered, prepend=-1))


def _grown(array: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    if array.shape == shape:
        return array
    out = np.zeros(shape)
    out[tuple(slice(n) for n in array.shape)] = array
    return out
