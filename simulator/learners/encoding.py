"""The campaign's features as one matrix for learners that want one: what our own learner sees, column by column.

A row is a constant, the standardised numbers with the indicators that they are missing, and an indicator for every
level of a category seen in learning. A number by channel is a column for each channel, and every arm sees them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.decider import Decider
from optimizer.standardisation import Standardiser

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.campaign import CampaignFile
    from optimizer.choices import Batch
    from optimizer.features import Encoded, LevelTerm


class Encoder:
    """Turns batches into matrices; what it has not learned yet is 0.

    Args:
        campaign: whose features these are.
        pairs: whether pairs of categories are features too.

    Attributes:
        space: the campaign's features.
    """

    def __init__(self, campaign: CampaignFile, *, pairs: bool) -> None:
        self._campaign = campaign
        self.space = space = Decider(campaign).space
        self._terms = [term for term in space.terms if pairs or not term.pooled]
        medians = [j for j, number in enumerate(space.number_of) if space.numbers[number].missing == "median"]
        self._standardiser = Standardiser(len(space.number_of), medians)
        self._columns: dict[tuple[LevelTerm, str], int] = {}
        self._levels: list[dict[Any, tuple[int, ...]]] = [{} for _ in self._terms]

    @property
    def width(self) -> int:
        """Number of columns d, which grows as levels come."""
        return 1 + len(self.space.columns) + len(self._columns)

    @property
    def length(self) -> int:
        """The expected squared length of a row: 1 for the constant, each number, and each category."""
        return 1 + len(self.space.columns) + len(self._terms)

    def learn(self, batch: Batch) -> NDArray[np.float64]:
        """Take the rows of `batch` in order; returns them, (n, d), each standardised with itself included."""
        encoded = self.space.encode(batch.context, batch.history, len(batch))
        return self._matrix(encoded, self._standardiser.learn(encoded.numbers), growing=True)

    def apply(self, batch: Batch) -> NDArray[np.float64]:
        """The rows of `batch`, (n, d), by what was learned so far."""
        encoded = self.space.encode(batch.context, batch.history, len(batch))
        every = np.arange(encoded.numbers.shape[1])
        return self._matrix(encoded, self._standardiser.apply(encoded.numbers, every), growing=False)

    def __getstate__(self) -> dict[str, Any]:
        # The catalog behind the features has caches that do not pickle; the campaign makes it again.
        return {name: value for name, value in vars(self).items() if name != "space"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.space = Decider(self._campaign).space

    def _matrix(self, encoded: Encoded, standardised: NDArray[np.float32], *, growing: bool) -> NDArray[np.float64]:
        rows: list[int] = []
        columns: list[int] = []
        for term, known in zip(self._terms, self._levels, strict=True):
            values = list(zip(*(encoded.levels[f] for f in term.features), strict=True))
            if growing:
                # In the order of the rows: that of a set of texts differs from process to process.
                known.update(
                    {value: self._places(term, value) for value in dict.fromkeys(values) if value not in known}
                )
            for row, value in enumerate(values):
                places = known.get(value, ())
                rows += [row] * len(places)
                columns += places
        out = np.zeros((len(encoded), self.width))
        out[:, 0] = 1.0
        dense = self.space.dense(encoded, standardised)
        out[:, 1 : 1 + dense.shape[1]] = dense
        out[rows, columns] = 1.0
        return out

    def _places(self, term: LevelTerm, value: tuple[Any, ...]) -> tuple[int, ...]:
        """The columns that a value switches on, new ones where it is new."""
        start = 1 + len(self.space.columns)
        return tuple(
            self._columns.setdefault((term, name), start + len(self._columns))
            for name in self.space.term_levels(term, value)
        )
