"""Intervals of estimates from moments of their terms: Student's t, and empirical Bernstein. Customers are the units."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, isnan, log, sqrt
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from scipy import special

from optimizer.evaluation.differences import Difference
from optimizer.evaluation.forms import Form, places

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optimizer.evaluation.forms import Estimated
    from optimizer.evaluation.tally import Sums
    from optimizer.evaluation.totals import Floats, Moments

Ends: TypeAlias = tuple[float, float]

NONE: Final[Ends] = (float("nan"), float("nan"))

_DOUBLINGS: Final = 100
_SMALL: Final = 1e-9


def linear_ends(value: float, gradient: Floats, moments: Moments, confidence: float) -> Ends:
    """Student's t on the linear part of any function of sums over customers.

    Args:
        value: of the function; there is no interval of nan.
        gradient: (M + 1,) its derivatives by the sums that `moments` has, rows at index 0.
        moments: of the terms.
        confidence: such as 0.95.
    """
    error = sqrt(moments.variance(gradient)) if not isnan(value) else 0.0
    if not error > 0.0:
        return NONE
    half = float(special.stdtrit(moments.customers - 1, 0.5 + confidence / 2)) * error
    return value - half, value + half


@dataclass(frozen=True, slots=True)
class StudentT:
    """Student's t on the estimate's linear part. Right for many customers, none of whom has much of the weight."""

    confidence: float = 0.95
    name: str = "student t"
    resamples: bool = False

    def ends(self, estimators: Sequence[Estimated], sums: Sums) -> list[Ends]:
        """None with fewer than two customers, or where none differs from another."""
        moments = sums.moments()
        pairs = zip(estimators, places(estimators), strict=True)
        return [self._ends(estimator, moments.take(mine)) for estimator, mine in pairs]

    def _ends(self, estimator: Estimated, moments: Moments) -> Ends:
        value, gradient = float(estimator.form.estimate(moments.sums)), estimator.form.gradient(moments.sums)
        return linear_ends(value, gradient, moments, self.confidence)


@dataclass(frozen=True, slots=True)
class Bernstein:
    """Empirical Bernstein: Maurer and Pontil, "Empirical Bernstein bounds and sample variance penalization" (2009).

    Their theorem 4: the mean of G independent numbers in a range R is, with probability 1 - d, at most

        sqrt(2 V log(2 / d) / G) + 7 R log(2 / d) / (3 (G - 1))

    above its expectation, with V their sample variance; no normality, whatever G is. Here d is (1 - confidence) / 2 to
    either side, and the numbers are customers' residuals x - v s, whose expectation is 0 where v is what the ratio of
    sums of x and of s estimates: the interval is every v whose mean residual is that near to 0. For a mean of rows that
    are customers of their own, s is 1 and this is the theorem itself. A sum of two estimates, or a difference, is the
    sum of two intervals of half the d.

    That holds for the range of what might have been logged. Give `reward` and `weight` where they are known: a model's
    predictions then have to be within the rewards' bounds, and the customer with the most rows is taken for the one
    that might have had the most. Without them the range is that of the data, and the interval is no guarantee: a weight
    that has not been drawn yet may be larger.

    Attributes:
        reward: the smallest and largest possible reward; ends are brought within these.
        weight: the largest possible weight, at least 1: 1 / the smallest propensity does for any policy.
    """

    confidence: float = 0.95
    reward: tuple[float, float] | None = None
    weight: float | None = None
    resamples: bool = False

    @property
    def name(self) -> str:
        """Says where the range is from."""
        return "empirical bernstein" if self._bounded is not None else "empirical bernstein, range of the data"

    def ends(self, estimators: Sequence[Estimated], sums: Sums) -> list[Ends]:
        """None with fewer than two customers, or where every value is possible."""
        moments = sums.moments()
        if moments.customers < 2:  # noqa: PLR2004 - a variance takes two
            return [NONE for _ in estimators]
        d = (1.0 - self.confidence) / 2
        pairs = zip(estimators, places(estimators), strict=True)
        return [self._ends(estimator, moments.take(mine), d) for estimator, mine in pairs]

    @property
    def _bounded(self) -> tuple[float, float, float] | None:
        if self.reward is None or self.weight is None:
            return None
        return (*self.reward, self.weight)

    def _ends(self, estimator: Estimated, moments: Moments, d: float) -> Ends:
        if isinstance(estimator, Difference):
            half = estimator.estimator.form.terms
            one = self._ends(estimator.estimator, moments.take(range(half)), d / 2)
            other = self._ends(estimator.estimator, moments.take(range(half, 2 * half)), d / 2)
            return one[0] - other[1], one[1] - other[0]
        low, high = self._of_one(estimator, moments, d)
        if self.reward is None or isnan(low + high):
            return low, high
        return min(max(low, self.reward[0]), self.reward[1]), max(min(high, self.reward[1]), self.reward[0])

    def _of_one(self, estimator: Estimated, moments: Moments, d: float) -> Ends:
        modelled = estimator.needs == "predicted"
        if estimator.form is Form.MEAN:
            return self._ratio(moments, 1, 0, d, self._mean_range(modelled=modelled))
        if estimator.form is Form.RATIO:
            return self._ratio(moments, 1, 2, d, self._ratio_range(modelled=False))
        plain = self._ratio(moments, 1, 0, d / 2, self._baseline_range())
        corrected = self._ratio(moments, 2, 3, d / 2, self._ratio_range(modelled=modelled))
        return plain[0] + corrected[0], plain[1] + corrected[1]

    # Ranges of a row's residual, by given bounds: they hold for every v that the rewards' bounds allow.

    def _mean_range(self, *, modelled: bool) -> float | None:
        if self._bounded is None:
            return None
        low, high, weight = self._bounded
        if modelled:  # d + w (r - q) with d, q and r within the bounds
            return (1.0 + 2.0 * weight) * (high - low)
        return max(weight * high, 0.0) - min(weight * low, 0.0)

    def _ratio_range(self, *, modelled: bool) -> float | None:
        if self._bounded is None:
            return None
        low, high, weight = self._bounded
        # w (r - v), or w (r - q - v) where v is between low - high and high - low.
        return weight * (high - low) * (4.0 if modelled else 1.0)

    def _baseline_range(self) -> float | None:
        return None if self._bounded is None else self._bounded[1] - self._bounded[0]

    def _ratio(self, moments: Moments, over: int, under: int, d: float, row_range: float | None) -> Ends:
        """Of sums[over] / sums[under], each row's residual within a range; None for that of the data."""
        g, size = moments.customers, log(2.0 / d)
        coefficient = np.zeros(len(moments.sums))
        value = moments.sums[over] / moments.sums[under] if moments.sums[under] else float("nan")
        if not isfinite(value):
            return NONE
        lowest, highest = _with_sizes(moments)

        def beyond(v: float) -> float:
            coefficient[over], coefficient[under] = 1.0, -v
            mean = float(coefficient @ moments.sums) / g
            variance = max(float(coefficient @ moments.scatter @ coefficient), 0.0) / (g - 1)
            if row_range is None:
                width = float(highest[over] - lowest[over] + abs(v) * (highest[under] - lowest[under]))
            else:
                width = row_range * moments.most
            return abs(mean) - sqrt(2.0 * variance * size / g) - 7.0 * width * size / (3.0 * (g - 1))

        if beyond(value) >= 0.0:  # no customer differs from another, and the range is that of the data
            return NONE
        return _root(beyond, value, -1.0), _root(beyond, value, 1.0)


def _with_sizes(moments: Moments) -> tuple[Floats, Floats]:
    """(M + 1,) lowest and highest totals of a customer, rows at index 0: every customer has at least one."""
    least = 1.0 if moments.most > 1 else float(moments.most)
    return np.array([least, *moments.lowest]), np.array([float(moments.most), *moments.highest])


def _root(beyond: Callable[[float], float], value: float, side: float) -> float:
    """Where the function becomes positive on a side of the value; nan if nowhere."""
    from scipy import optimize  # noqa: PLC0415 - 25 MiB, which no other interval needs

    step = max(abs(value), _SMALL) * _SMALL
    for _ in range(_DOUBLINGS):
        if beyond(value + side * step) > 0.0:
            return float(optimize.brentq(beyond, value, value + side * step, xtol=step * _SMALL))
        step *= 2.0
    return float("nan")
