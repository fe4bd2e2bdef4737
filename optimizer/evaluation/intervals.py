"""Intervals of estimates from the sums of their terms."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, sqrt
from typing import TYPE_CHECKING

from scipy import stats

if TYPE_CHECKING:
    from optimizer.evaluation.estimators import Estimator
    from optimizer.evaluation.tally import Sums, Weights

NONE = (float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class StudentT:
    """Student's t on the estimate's linear part, customers as the units."""

    confidence: float = 0.95
    name: str = "student t"
    resamples: bool = False

    def of(self, estimator: Estimator, sums: Sums, _weights: Weights) -> tuple[float, float]:
        """The ends; none with fewer than two customers, or where none differs from another."""
        moments = sums.moments()
        value = float(estimator.form.estimate(moments.sums))
        error = sqrt(moments.variance(estimator.form.gradient(moments.sums))) if not isnan(value) else 0.0
        if not error > 0.0:
            return NONE
        half = float(stats.t.ppf(0.5 + self.confidence / 2, moments.customers - 1)) * error
        return value - half, value + half
