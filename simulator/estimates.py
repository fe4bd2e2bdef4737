"""Means with their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Z_95 = 1.959963984540054
"""How many standard errors a 95% interval reaches to either side, where the mean is about normal."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of n values, and its 95% interval by the normal approximation; None where n gives none.

    Attributes:
        n: how many values.
        mean: their mean, None without values.
        low, high: the interval's ends, None with fewer than two independent values.
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
        if clusters < 2:  # noqa: PLR2004 - one cluster tells nothing of how they differ
            return cls(n, mean, None, None)
        squares = float(np.sum((totals - mean * sizes) ** 2))
        half = Z_95 * sqrt(squares * clusters / (clusters - 1)) / n
        return cls(n, mean, mean - half, mean + half)

    def text(self, digits: int) -> str:
        """As a table shows it: `0.1812 [0.1761, 0.1863]`."""
        if self.mean is None:
            return "-"
        if self.low is None or self.high is None:
            return f"{self.mean:.{digits}f}"
        return f"{self.mean:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"
