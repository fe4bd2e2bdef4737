"""Everything about one policy on a log that its estimates need, as one value that can be added over shards."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, sqrt
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np

from optimizer.evaluation.support import Refusal, Support
from optimizer.evaluation.totals import Moments, Totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.evaluation.estimators import Estimator
    from optimizer.evaluation.judged import Judged
    from optimizer.evaluation.totals import Floats

FEW_EFFECTIVE: Final = 100.0
"""An effective sample size below this is warned of."""

HEAVY_SHARE: Final = 0.05
"""One row that has more than this share of all weight is warned of."""

WEIGHTS_OFF: Final = 4.0
"""By how many standard errors the mean weight may differ from 1 without a warning."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Sums over the rows' weights w; those of two shards are added."""

    rows: int
    total: float
    squares: float
    largest: float
    matched: int
    """How many rows have a positive weight: those where the policy might have done what was logged."""

    @classmethod
    def of(cls, weight: Floats) -> Weights:
        """Of rows' weights (n,)."""
        return cls(
            len(weight),
            float(weight.sum()),
            float(weight @ weight),
            float(weight.max(initial=0.0)),
            int(np.count_nonzero(weight > 0.0)),
        )

    def __add__(self, other: Weights) -> Weights:
        return Weights(
            self.rows + other.rows,
            self.total + other.total,
            self.squares + other.squares,
            max(self.largest, other.largest),
            self.matched + other.matched,
        )

    @property
    def mean(self) -> float:
        """Near 1 where the propensities are right and everything the policy does was possible."""
        return self.total / self.rows if self.rows else float("nan")

    @property
    def effective(self) -> float:
        """Kish's effective sample size, (sum w)^2 / sum w^2."""
        return self.total**2 / self.squares if self.squares else 0.0

    def warnings(self) -> list[str]:
        """What a reader of the estimate has to know."""
        found = []
        if self.effective < FEW_EFFECTIVE:
            found.append(f"the effective sample size is {self.effective:.0f}: do not rely on the interval")
        if self.total and self.largest / self.total > HEAVY_SHARE:
            found.append(f"one row has {self.largest / self.total:.0%} of all weight")
        if self.rows > 1:
            error = sqrt(max(self.squares / self.rows - self.mean**2, 0.0) / self.rows)
            if abs(self.mean - 1.0) > WEIGHTS_OFF * error + 1e-9:
                found.append(f"the mean weight is {self.mean:.4f}, which should be near 1: are the propensities right?")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a policy would have earned a decision, and how sure that is.

    Attributes:
        policy, estimator, interval: names of what was judged and how.
        value: the estimate; nan where it is undefined.
        low, high: ends of the interval of the given `confidence`; nan where there is none.
        rows, customers: how many there were.
        effective, largest_weight, mean_weight, matched: see `Weights`; `matched` is a share of the rows.
        warnings: what a reader has to know.
    """

    policy: str
    estimator: str
    interval: str
    value: float
    low: float
    high: float
    confidence: float
    rows: int
    customers: int
    effective: float
    largest_weight: float
    mean_weight: float
    matched: float
    warnings: tuple[str, ...] = ()


class Interval(Protocol):
    """One way of saying how sure an estimate is."""

    @property
    def name(self) -> str:
        """The field's name of it."""

    @property
    def confidence(self) -> float:
        """Such as 0.95."""

    @property
    def resamples(self) -> bool:
        """Whether it needs each customer's totals rather than moments alone."""

    def of(self, estimator: Estimator, sums: Sums, weights: Weights) -> tuple[float, float]:
        """The ends, nan where there is no interval, from the sums of the estimator's own terms."""


Sums: TypeAlias = Totals | Moments


@dataclass(frozen=True, slots=True)
class Tally:
    """The sums of several estimators' terms for one policy; that of two shards is added.

    Attributes:
        estimators: whose terms they are, one after the other.
        sums: of the terms; totals by customer, or moments where these are enough.
        weights, support: of the policy's weights, and of what it does.
    """

    estimators: tuple[Estimator, ...]
    sums: Sums
    weights: Weights
    support: Support

    @classmethod
    def of(cls, rows: Judged, support: Support, estimators: Sequence[Estimator], *, keep: bool = True) -> Tally:
        """Of some rows.

        Args:
            rows: under the policy.
            support: of the policy in these rows.
            estimators: which; what one needs has to be there.
            keep: whether to keep the totals of each customer, as resampling needs. Without, memory does not grow with
                the log unless it says whose its rows are: totals of customers are always kept.
        """
        totals = Totals.of(np.hstack([each.terms(rows) for each in estimators]), rows.customer)
        sums = totals if keep or rows.customer is not None else totals.moments()
        return cls(tuple(estimators), sums, Weights.of(rows.weight), support)

    def __add__(self, other: Tally) -> Tally:
        if self.estimators != other.estimators:
            raise ValueError("tallies of other estimators cannot be added")
        return Tally(
            self.estimators,
            _added(self.sums, other.sums),
            self.weights + other.weights,
            self.support + other.support,
        )

    @classmethod
    def join(cls, parts: Sequence[Tally]) -> Tally:
        """The sum of several in their order, in one step."""
        totals = [part.sums for part in parts if isinstance(part.sums, Totals)]
        if len(totals) != len(parts):
            whole = parts[0]
            for part in parts[1:]:
                whole = whole + part
            return whole
        weights, support = parts[0].weights, parts[0].support
        for part in parts[1:]:
            weights, support = weights + part.weights, support + part.support
        return cls(parts[0].estimators, Totals.join(totals), weights, support)

    def estimates(self, policy: str, arms: Sequence[str], interval: Interval) -> list[Estimate] | Refusal:
        """What each estimator says, or why nothing can be said."""
        missing = self.support.missing(arms)
        if missing or self.support.unable:
            return Refusal(policy, missing, self.support.unable / max(self.support.rows, 1))
        moments = self.sums.moments()
        found, first = [], 0
        for estimator in self.estimators:
            mine = range(first, first + estimator.form.terms)
            first = mine.stop
            own = self.sums if interval.resamples else moments
            low, high = interval.of(estimator, own.take(mine), self.weights)
            warnings = self.weights.warnings()
            value = float(estimator.form.estimate(moments.take(mine).sums))
            if isnan(value):
                warnings = [*warnings, "undefined: no row has any weight"]
            found.append(
                Estimate(
                    policy=policy,
                    estimator=estimator.name,
                    interval=interval.name,
                    value=value,
                    low=low,
                    high=high,
                    confidence=interval.confidence,
                    rows=moments.rows,
                    customers=moments.customers,
                    effective=self.weights.effective,
                    largest_weight=self.weights.largest,
                    mean_weight=self.weights.mean,
                    matched=self.weights.matched / max(self.weights.rows, 1),
                    warnings=tuple(warnings),
                )
            )
        return found


def _added(one: Sums, other: Sums) -> Sums:
    if isinstance(one, Totals) and isinstance(other, Totals):
        return one + other
    return one.moments() + other.moments()
