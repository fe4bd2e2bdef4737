"""Means with their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Z_95 = 1.959963984540054
"""How many standard errors a 95% interval reaches to either side, where the mean is about normal."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of n values, and its 95% interval by the normal approximation.

    Attributes:
        n: how many values.
        mean: their mean, None without values.
        low, high: the interval's ends, None where no two clusters differ: nothing is known of the next one.
    """

    n: int
    mean: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Mean:
        """Of independent values (n,)."""
        return cls.of_clusters(values, np.ones(len(values)))

    @classmethod
    def of_clusters(cls, totals: NDArray[np.float64], sizes: NDArray[np.float64]) -> Mean:
        """Of values that come in independent clusters (g,): each one's total and size.

        The decisions for one customer resemble one another, so customers are the clusters. The mean is a ratio of two
        sums; its variance is that of the residuals, Cochran, "Sampling Techniques" (1977), 6.4.
        """
        n, clusters = int(sizes.sum()), len(totals)
        if n == 0:
            return cls(0, None, None, None)
        mean = float(totals.sum() / n)
        squares = float(np.sum((totals - mean * sizes) ** 2))
        if clusters == 1 or squares == 0.0:
            return cls(n, mean, None, None)
        half = Z_95 * sqrt(squares * clusters / (clusters - 1)) / n
        return cls(n, mean, mean - half, mean + half)

    @classmethod
    def average(cls, means: Sequence[Mean]) -> Mean:
        """Of several means of one quantity from overlapping samples, all with intervals or all without.

        Overlapping samples err together, so the interval is as wide as theirs are in the mean: on the safe side.
        """
        n = round(sum(mean.n for mean in means) / len(means))
        return cls(n, *(_average([getattr(mean, name) for mean in means]) for name in ("mean", "low", "high")))

    def text(self, digits: int) -> str:
        """As a table shows it: `0.1812 ± 0.0051`, the mean and half its interval."""
        if self.mean is None:
            return "-"
        half = "" if self.high is None else f" ± {self.high - self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f}{half}"


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
