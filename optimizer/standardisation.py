"""Running statistics of numeric features: centred and scaled row by row in learning order, frozen for scoring.

Mean and variance by Welford (Technometrics 1962); the median, where a feature's missing values take it, by the P-square
algorithm (Jain and Chlamtac, CACM 1985). Rows are taken strictly one after the other, so that the state after a row
does not depend on how rows came in batches.
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
        self.mean = np.zeros(size)
        self.m2 = np.zeros(size)
        self.medians = {i: RunningMedian() for i in medians}

    def learn(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Take the rows of `raw` (n, D; NaN: missing) in order.

        Returns each standardised by the statistics with itself included, (n, D).
        """
        out = np.empty(raw.shape)
        for row, standardised in zip(raw, out, strict=True):
            present = row == row  # noqa: PLR0124 - NaN differs from itself; half the time of isnan on short rows
            self.count += present
            delta = np.where(present, row - self.mean, 0.0)
            self.mean += delta / np.maximum(self.count, 1.0)
            self.m2 += delta * np.where(present, row - self.mean, 0.0)
            for i, median in self.medians.items():
                if present[i]:
                    median.add(float(row[i]))
            np.multiply(np.where(present, row, self._fill()) - self.mean, self._inverse_scale(), out=standardised)
        return _within_bounds(out)

    def apply(self, raw: NDArray[np.float64], feature_of: NDArray[np.intp]) -> NDArray[np.float32]:
        """Standardise `raw` (n, C) without learning; column c is of feature `feature_of[c]`."""
        z = np.where(raw == raw, raw, self._fill()[feature_of])  # noqa: PLR0124 - as above
        z -= self.mean[feature_of]
        z *= self._inverse_scale()[feature_of]
        return _within_bounds(z)

    def _inverse_scale(self) -> NDArray[np.float64]:
        usable = (self.count > 1.0) & (self.m2 > _NO_VARIANCE)
        return np.where(usable, np.sqrt(self.count / np.where(usable, self.m2, 1.0)), 0.0)

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
            "mean": self.mean.tolist(),
            "m2": self.m2.tolist(),
            "medians": {str(i): median.state() for i, median in self.medians.items()},
        }

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Standardiser:
        """The standardiser whose `state` this was."""
        made = cls(len(state["count"]))
        made.count, made.mean, made.m2 = (np.array(state[key]) for key in ("count", "mean", "m2"))
        made.medians = {int(i): RunningMedian(**median) for i, median in state["medians"].items()}
        return made


def _within_bounds(z: NDArray[np.float64]) -> NDArray[np.float32]:
    np.clip(z, -CLIP, CLIP, out=z)
    z[np.abs(z) < SMALLEST] = 0.0
    return z.astype(np.float32)
