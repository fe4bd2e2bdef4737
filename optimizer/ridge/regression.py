"""Ridge regression of rewards on the crosses: the second-order members of the pool.

With lambda the ratio of the variance of a reward to the prior variance of a coefficient, the coefficients are

    (X' X + lambda I)^-1 X' y     (Hoerl and Kennard, Technometrics 1970),

what every example so far says together, where a gradient step takes each once. One regression is solved for each of
several lambdas, of which each is a model; how well they predict decides. The rewards' own variance is the unit, so that
no lambda depends on their scale.

Nothing depends on how lessons came in batches. They are added up in blocks that end at fixed numbers of them; until a
block is full its rows are kept. A block is predicted before it is added, with coefficients solved for at fixed numbers
too. What is published is solved for anew, with all there is.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import ThreadpoolController

from optimizer.ridge.design import Design, Rows
from optimizer.ridge.sums import Sums
from optimizer.vw import BITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.features import FeatureSpace
    from optimizer.lessons import Lessons

LAMBDAS: Final = (1.0, 10.0, 100.0, 1_000.0)
"""Coefficients of a standard deviation of rewards a priori, down to a thirtieth of it: far apart, the best is found by
how well it predicts."""

_SOON, _LATER, _MANY = 1.1, 2.0, 500
"""How much more is learned until coefficients are solved for again that predict what follows: with many of them, whose
solving takes long, twice as much. That decides between models only; what is published is solved for at once."""
_SMALL, _MIDDLE, _LARGE = 16, 64, 512
_MIDDLE_FROM, _LARGE_FROM = 256, 2_048
_THREADS: Final = ThreadpoolController()


def block_end(t: int) -> int:
    """Where the block ends into which the next lesson goes after t of them: small ones first."""
    size = _SMALL if t < _MIDDLE_FROM else _MIDDLE if t < _LARGE_FROM else _LARGE
    return (t // size + 1) * size


class Ridge:
    """The regression with or without pairs of categorical features.

    Args:
        space: the campaign's features.
        pairs: with the pairs, or without.
        saved: the parts that an earlier one's `save` made, to go on exactly where it stood.
    """

    def __init__(
        self, space: FeatureSpace, *, pairs: bool, saved: tuple[dict[str, Any], dict[str, bytes]] | None = None
    ) -> None:
        self.pairs = pairs
        state, arrays = saved or ({}, {})
        self.design = Design(space, pairs=pairs, state=state.get("design"))
        self._sums = Sums(self.design.shapes)
        for name, array in self._sums.arrays().items():
            array[...] = np.frombuffer(arrays[name]).reshape(array.shape)
        self._index = np.frombuffer(arrays.get("index", b""), np.intp)
        self._solved = np.frombuffer(arrays.get("solved", b"")).reshape(-1, len(LAMBDAS))
        self._errors = np.array(state.get("errors", [0.0] * len(LAMBDAS)))
        self._events: int = state.get("events", 0)
        self._solve_at: int = state.get("solve_at", 0)
        self._range: tuple[float, float] = tuple(state.get("range", (0.0, 0.0)))
        self._pending = self.design.nothing
        if state:
            shape = len(state["rewards"]), self._pending.dense.shape[1]
            dense = np.frombuffer(arrays["dense"], np.float32).reshape(shape)
            names = tuple([tuple(names) for names in term] for term in state["names"])
            arms = [tuple((place, level) for place, level in arm) for arm in state["arms"]]
            self._pending = Rows(dense, names, arms, np.array(state["rewards"]))

    @property
    def full(self) -> bool:
        """Whether something was met that has no part in the regression, since it has become too large."""
        return self.design.full

    @property
    def room(self) -> int:
        """How many lessons still go into the block."""
        return block_end(self._events) - self._events

    def learn(
        self, lessons: Lessons, standardised: NDArray[np.float32], texts: Sequence[Sequence[str]], part: slice
    ) -> None:
        """Take a part of some lessons, no more than there is `room` for; see `Design.read`."""
        end = block_end(self._events)
        self._pending = self._pending.then(self.design.read(lessons, standardised, texts, part))
        self._events += part.stop - part.start
        if self._events == end:
            self._end_block()

    def _end_block(self) -> None:
        with _THREADS.limit(limits=1):
            self.design.widen()
            self._errors = self._errors_of(self.design)
            rewards = self._pending.rewards
            self._range = min(self._range[0], float(rewards.min())), max(self._range[1], float(rewards.max()))
            self._sums.grow(self.design.shapes)
            _add(self._sums, self.design, self._pending)
            self._pending = self.design.nothing
            if self._events >= self._solve_at:
                self._index = self.design.coefficients.index
                self._solved = np.column_stack(_solve(self.design, self._sums, LAMBDAS))
                self._solve_at = int(self._events * (_LATER if len(self._index) > _MANY else _SOON))

    def squared_errors(self) -> NDArray[np.float64]:
        """For each lambda the sum of the squared errors so far, predicted before learning.

        Predictions are clipped to the range of the rewards so far and 0, as Vowpal Wabbit's are.
        """
        return self._errors_of(self._wide())

    def _wide(self) -> Design:
        """The design as it will be at the end of the block."""
        design = copy(self.design)
        design.widen()
        return design

    def _errors_of(self, design: Design) -> NDArray[np.float64]:
        rows = self._pending
        if not len(rows):
            return self._errors
        coefficients = np.zeros((len(design.coefficients.index), len(LAMBDAS)))
        coefficients[np.searchsorted(design.coefficients.index, self._index)] = self._solved
        of_levels = design.coefficients.of_levels @ coefficients
        z, levels = design.context(rows), design.levels(rows)
        predicted = np.zeros((len(rows), len(LAMBDAS)))
        start = 0
        for place, (count, columns) in enumerate(design.shapes):
            mine = of_levels[start : start + count * columns].reshape(count, columns, len(LAMBDAS))
            start += count * columns
            there = np.flatnonzero(levels[:, place] >= 0)
            if len(there):
                predicted[there] += np.einsum("mp,mpk->mk", z[there, :columns], mine[levels[there, place]])
        low = np.minimum.accumulate(np.minimum(rows.rewards, self._range[0]))
        high = np.maximum.accumulate(np.maximum(rows.rewards, self._range[1]))
        errors = np.clip(predicted, low[:, None], high[:, None]) - rows.rewards[:, None]
        added: NDArray[np.float64] = self._errors + (errors**2).sum(axis=0)
        return added

    def weights(self, number: int) -> NDArray[np.float32]:
        """(2**BITS,) float32 coefficients of costs for one of the lambdas, where Vowpal Wabbit would keep them.

        They are solved for with everything that was learned.
        """
        with _THREADS.limit(limits=1):
            design, sums = self._wide(), self._sums
            if len(self._pending):
                sums = self._sums.copy()
                sums.grow(design.shapes)
                _add(sums, design, self._pending)
            (solved,) = _solve(design, sums, LAMBDAS[number : number + 1])
        table = np.zeros(1 << BITS, np.float32)
        table[design.coefficients.index] = -solved
        return table

    def save(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Plain values for JSON, and arrays by name as bytes."""
        rows = self._pending
        state = {
            "design": self.design.state(),
            "errors": self._errors.tolist(),
            "events": self._events,
            "solve_at": self._solve_at,
            "range": self._range,
            "names": rows.names,
            "arms": rows.arms,
            "rewards": rows.rewards.tolist(),
        }
        arrays: dict[str, NDArray[Any]] = {**self._sums.arrays(), "dense": rows.dense}
        arrays |= {"index": self._index, "solved": self._solved}
        return state, {name: array.tobytes() for name, array in arrays.items()}


def _add(sums: Sums, design: Design, rows: Rows) -> None:
    sums.add(design.context(rows), design.levels(rows), rows.rewards)


def _solve(design: Design, sums: Sums, lambdas: Sequence[float]) -> list[NDArray[np.float64]]:
    """The coefficients (D,) for each lambda."""
    coefficients = design.coefficients
    solved = [np.zeros(len(coefficients.index)) for _ in lambdas]
    with_rewards = sums.with_rewards()
    for part in coefficients.parts:
        half = part.of_levels.T @ sums.matrix(part.rows)
        products = part.of_levels.T @ half.T
        right = part.of_levels.T @ with_rewards[part.rows]
        for each, penalty in zip(solved, lambdas, strict=True):
            penalised = np.array(products, order="F")
            penalised.flat[:: len(right) + 1] += penalty
            factor = cho_factor(penalised, lower=True, overwrite_a=True, check_finite=False)
            each[part.columns] = cho_solve(factor, right, check_finite=False)
    return solved
