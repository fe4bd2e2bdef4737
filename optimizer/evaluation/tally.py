"""Everything about one policy on a log that its estimates need, as one value that can be added over shards."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from optimizer.evaluation.forms import places
from optimizer.evaluation.totals import Moments, Totals
from optimizer.evaluation.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.evaluation.estimators import Estimator
    from optimizer.evaluation.forms import Estimated
    from optimizer.evaluation.judged import Judged
    from optimizer.evaluation.support import Refusal, Support


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
    """One way of saying how sure estimates are."""

    @property
    def name(self) -> str:
        """The field's name of it."""

    @property
    def confidence(self) -> float:
        """Such as 0.95."""

    @property
    def resamples(self) -> bool:
        """Whether it needs each customer's totals rather than moments alone."""

    def ends(self, estimators: Sequence[Estimated], sums: Sums) -> list[tuple[float, float]]:
        """The ends for each estimator, nan where there are none, from the sums of all terms, one's after another's."""


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
        """What each estimator says, or why nothing can be said.

        Args:
            policy: its name.
            arms: all that the log knows: those of its last chunk.
            interval: of which kind.
        """
        refusal = self.support.refusal(policy, arms)
        if refusal is not None:
            return refusal
        return say(policy, self.estimators, self.sums, (self.weights,), interval)


def say(
    policy: str, estimators: Sequence[Estimated], sums: Sums, weights: Sequence[Weights], interval: Interval
) -> list[Estimate]:
    """What each estimator says, from the sums of all terms, and the weights of the policy or policies."""
    moments = sums.moments()
    ends = interval.ends(estimators, sums if interval.resamples else moments)
    worst = min(weights, key=lambda each: each.effective)
    said = tuple(dict.fromkeys(warning for each in weights for warning in each.warnings()))
    found = []
    for estimator, mine, (low, high) in zip(estimators, places(estimators), ends, strict=True):
        value = float(estimator.form.estimate(moments.take(mine).sums))
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
                effective=worst.effective,
                largest_weight=max(each.largest for each in weights),
                mean_weight=worst.mean,
                matched=min(each.matched for each in weights) / max(moments.rows, 1),
                warnings=(*said, "undefined: no row has any weight") if isnan(value) else said,
            )
        )
    return found


def _added(one: Sums, other: Sums) -> Sums:
    if isinstance(one, Totals) and isinstance(other, Totals):
        return one + other
    return one.moments() + other.moments()
