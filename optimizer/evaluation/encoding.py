"""The context of logged decisions as a matrix of numbers, for models of the reward and of what was drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from optimizer.standardisation import CLIP, LARGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.attributes import Columns
    from optimizer.evaluation.log import Log
    from optimizer.evaluation.totals import Floats

LEVELS: Final = 100
"""How many categories of a column have a number of their own: the most frequent ones."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers, or several (n, C): centred, scaled and clipped at `CLIP`, 0 where missing.

    Attributes:
        mean, scale: (C,) of what was known when it was fitted; scale is 1 where nothing varied.
    """

    mean: Floats
    scale: Floats

    @classmethod
    def fit(cls, column: NDArray[Any]) -> Numbers:
        """From (n,) or (n, C) numbers, NaN where missing."""
        values = _numbers(column)
        known = np.isfinite(values)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, values, 0.0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / count)
        return cls(mean, np.where(spread > 0.0, spread, 1.0))

    @property
    def width(self) -> int:
        """How many columns of the matrix it makes."""
        return len(self.mean)

    def write(self, column: NDArray[Any], out: Floats) -> None:
        """Into its part (n, width) of the matrix, which is zero."""
        values = (_numbers(column) - self.mean) / self.scale
        out[:] = np.clip(np.where(np.isfinite(values), values, 0.0), -CLIP, CLIP)


@dataclass(frozen=True, slots=True)
class Levels:
    """A column of categories, or of several each: a 1 for each that is there, nothing for unknown and missing ones.

    Attributes:
        index: the known categories, each with its column.
    """

    index: dict[str, int]

    @classmethod
    def fit(cls, column: NDArray[Any]) -> Levels:
        """From (n,) texts, tuples of texts, or None; of equally frequent categories the first by name."""
        counts: Counter[str] = Counter()
        for value, count in Counter(column.tolist()).items():
            for level in _several(value):
                counts[level] += count
        frequent = sorted(counts, key=lambda level: (-counts[level], level))[:LEVELS]
        return cls({level: i for i, level in enumerate(sorted(frequent))})

    @property
    def width(self) -> int:
        """How many columns of the matrix it makes."""
        return len(self.index)

    def write(self, column: NDArray[Any], out: Floats) -> None:
        """Into its part (n, width) of the matrix, which is zero."""
        for row, value in enumerate(column.tolist()):
            for level in _several(value):
                at = self.index.get(level)
                if at is not None:
                    out[row, at] = 1.0


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the context of a log becomes numbers, fitted once and then the same for every chunk.

    Attributes:
        columns: by name what becomes of it; a name is of the context, or of the history.
        positions: how many positions have a column each; 0 where there is only one.
    """

    columns: dict[str, Numbers | Levels]
    positions: int

    @classmethod
    def fit(cls, log: Log) -> Encoding:
        """From the rows of a log."""
        positions = 0 if log.position is None else int(log.position.max(initial=0)) + 1
        return cls(fit_columns(_facts(log)), positions)

    @property
    def width(self) -> int:
        """How many numbers a row becomes."""
        return sum(each.width for each in self.columns.values()) + self.positions

    def matrix(self, log: Log) -> Floats:
        """(n, width): each column's numbers, then one for each position."""
        out = np.zeros((len(log), self.width))
        write_columns(self.columns, _facts(log), out)
        if self.positions and log.position is not None:
            known = np.flatnonzero(log.position < self.positions)
            out[known, self.width - self.positions + log.position[known]] = 1.0
        return out


def fit_columns(facts: Columns) -> dict[str, Numbers | Levels]:
    """What becomes of each column: one of objects is categories."""
    return {
        name: Levels.fit(column) if column.dtype == np.object_ else Numbers.fit(column)
        for name, column in facts.items()
    }


def write_columns(columns: dict[str, Numbers | Levels], facts: Columns, out: Floats) -> None:
    """Each column's part of a matrix of zeros (n, at least their widths), side by side; 0 where a column is absent."""
    start = 0
    for name, each in columns.items():
        if name in facts:
            each.write(facts[name], out[:, start : start + each.width])
        start += each.width


def _facts(log: Log) -> Columns:
    return {**log.context, **log.history}


def _numbers(column: NDArray[Any]) -> Floats:
    """(n, C), infinite ones as large as may be."""
    values: Floats = np.clip(column.reshape(len(column), -1).astype(np.float64), -LARGEST, LARGEST)
    return values


def _several(value: str | Sequence[str] | None) -> Sequence[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value
