"""Running statistics of numeric features: centred and scaled row by row in learning order, frozen for scoring.

Mean and variance come from sums of the differences to each feature's first value, and of their squares (Chan, Golub and
LeVeque, "Algorithms for computing the sample variance", The American Statistician 1983). The first value being one of
the data, the difference of the two sums loses a factor of the number of values in precision at most, however far that
value lies from the others. The median, where a feature's missing values take it, is found by the P-square algorithm
(Jain and Chlamtac, CACM 1985). Everything is added strictly one row after the other, so that the state after a row does
not depend on how rows came in batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CLIP = 5.0
"""Standardised values are kept within this many standard deviations."""

LARGEST = 1e100
"""Raw values are kept within this size, so that no single one makes mean or variance infinite."""

SMALLEST = 1e-3
"""Standardised values nearer to 0 than this are 0. Vowpal Wabbit takes a weight's first value as its feature's scale:
the rounding error of a value that equals the mean would give a weight of 1e15, and that weight would be served."""

_NO_VARIANCE = 1e-200
_MARKERS = 5


class RunningMedian:
    """The median of a stream in five markers (P-square), exact for up to five values."""

    def __init__(self, heights: Sequence[float] = (), positions: Sequence[int] = (), count: int = 0) -> None:
        self._heights = list(heights)
        self._positions = list(positions)
        self._count = count

    @property
    def value(self) -> float:
        """The median so far; 0 before any value."""
        if self._count > _MARKERS:
            return self._heights[2]
        return float(np.median(self._heights)) if self._heights else 0.0

    def add(self, x: float) -> None:
        """Take one more value."""
        self._count += 1
        q = self._heights
        if self._count <= _MARKERS:
            q.append(x)
            q.sort()
            self._positions = list(range(len(q)))
            return
        n = self._positions
        q[0], q[4] = min(q[0], x), max(q[4], x)
        cell = next(i for i in range(4) if x <= q[i + 1])
        for i in range(cell + 1, 5):
            n[i] += 1
        for i in (1, 2, 3):
            off = (self._count - 1) * i / 4 - n[i]
            if (off >= 1 and n[i + 1] - n[i] > 1) or (off <= -1 and n[i - 1] - n[i] < -1):
                self._move(i, 1 if off > 0 else -1)

    def _move(self, i: int, d: int) -> None:
        q, n = self._heights, self._positions
        up, down = n[i + 1] - n[i], n[i] - n[i - 1]
        parabola = q[i] + d / (n[i + 1] - n[i - 1]) * (
            (down + d) * (q[i + 1] - q[i]) / up + (up - d) * (q[i] - q[i - 1]) / down
        )
        q[i] = parabola if q[i - 1] < parabola < q[i + 1] else q[i] + d * (q[i + d] - q[i]) / (n[i + d] - n[i])
        n[i] += d

    def state(self) -> dict[str, Any]:
        """What `RunningMedian(**state)` makes this again from."""
        return {"heights": list(self._heights), "positions": list(self._positions), "count": self._count}


class Standardiser:
    """Mean, variance and where asked the median of D numeric features.

    Args:
        size: D.
        medians: indexes of the features whose missing values take the running median; those of the others take the
            mean, which is 0.
    """

    def __init__(self, size: int, medians: Sequence[int] = ()) -> None:
        self.count = np.zeros(size)
        self.first = np.zeros(size)
        self.sum = np.zeros(size)
        self.square_sum = np.zeros(size)
        self.medians = {i: RunningMedian() for i in medians}

    @property
    def mean(self) -> NDArray[np.float64]:
        """(D,) means so far; 0 before any value."""
        return self.first + self.sum / np.maximum(self.count, 1.0)

    @property
    def m2(self) -> NDArray[np.float64]:
        """(D,) sums of squared deviations from the mean so far."""
        return _deviations(self.count, self.sum, self.square_sum)

    def learn(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Take the rows of `raw` (n, D; NaN: missing) in order.

        Returns each standardised by the statistics with itself included, (n, D).
        """
        if not len(raw):
            return np.zeros(raw.shape, np.float32)
        present = ~np.isnan(raw)
        new = (self.count == 0.0) & present.any(axis=0)
        self.first[new] = raw[present.argmax(axis=0)[new], new]
        differences = np.where(present, raw - self.first, 0.0)
        counts = _running(self.count, present)
        sums = _running(self.sum, differences)
        square_sums = _running(self.square_sum, differences * differences)
        self.count, self.sum, self.square_sum = counts[-1].copy(), sums[-1].copy(), square_sums[-1].copy()
        means = self.first + sums / np.maximum(counts, 1.0)
        values = np.where(present, raw, means)
        for i, median in self.medians.items():
            values[:, i] = _filled(raw[:, i], median)
        return _within_bounds((values - means) * _inverse_scale(counts, _deviations(counts, sums, square_sums)))

    def apply(self, raw: NDArray[np.float64], feature_of: NDArray[np.intp]) -> NDArray[np.float32]:
        """Standardise `raw` (n, C) without learning; column c is of feature `feature_of[c]`."""
        z = np.where(raw == raw, raw, self._fill()[feature_of])  # noqa: PLR0124 - as above
        z -= self.mean[feature_of]
        z *= _inverse_scale(self.count, self.m2)[feature_of]
        return _within_bounds(z)

    def _fill(self) -> NDArray[np.float64]:
        """What stands for a missing value of each feature: the mean, or the median where asked."""
        if not self.medians:
            return self.mean
        fill = self.mean.copy()
        for i, median in self.medians.items():
            if self.count[i]:
                fill[i] = median.value
        return fill

    def state(self) -> dict[str, Any]:
        """All of it as plain lists and numbers, for `restore`."""
        return {
            "count": self.count.tolist(),
            "first": self.first.tolist(),
            "sum": self.sum.tolist(),
            "square_sum": self.square_sum.tolist(),
            "medians": {str(i): median.state() for i, median in self.medians.items()},
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Standardiser:
        """The standardiser whose `state` this was.

        Models that were published when mean and squared deviations were kept themselves are read too: they are those
        of sums around the mean.
        """
        made = cls(len(state["count"]))
        made.count = np.array(state["count"])
        made.first = np.array(state["mean"] if "mean" in state else state["first"])
        made.sum = np.zeros(len(made.count)) if "mean" in state else np.array(state["sum"])
        made.square_sum = np.array(state["m2"] if "mean" in state else state["square_sum"])
        made.medians = {int(i): RunningMedian(**median) for i, median in state["medians"].items()}
        return made


def _running(start: NDArray[np.float64], rows: NDArray[Any]) -> NDArray[np.float64]:
    """(n, D) the totals after each row, one added after the other."""
    added = np.concatenate([start[None, :], rows])
    return np.add.accumulate(added, axis=0, out=added)[1:]


def _deviations(
    count: NDArray[np.float64], total: NDArray[np.float64], square_total: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.maximum(square_total - total * (total / np.maximum(count, 1.0)), 0.0)


def _inverse_scale(count: NDArray[np.float64], m2: NDArray[np.float64]) -> NDArray[np.float64]:
    usable = (count > 1.0) & (m2 > _NO_VARIANCE)
    return np.where(usable, np.sqrt(count / np.where(usable, m2, 1.0)), 0.0)


def _filled(values: NDArray[np.float64], median: RunningMedian) -> list[float]:
    """The values, which the median takes one by one, with it in the place of missing ones."""
    filled = []
    for value in values.tolist():
        if value == value:  # noqa: PLR0124 - NaN differs from itself
            median.add(value)
        filled.append(value if value == value else median.value)  # noqa: PLR0124 - as above
    return filled


def _within_bounds(z: NDArray[np.float64]) -> NDArray[np.float32]:
    np.clip(z, -CLIP, CLIP, out=z)
    z[np.abs(z) < SMALLEST] = 0.0
    return z.astype(np.float32)
