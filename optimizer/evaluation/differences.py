"""By how much one policy is better than another on the same rows, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optimizer.evaluation.forms import places
from optimizer.evaluation.tally import say
from optimizer.evaluation.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.evaluation.estimators import Estimator
    from optimizer.evaluation.forms import Function
    from optimizer.evaluation.support import Refusal
    from optimizer.evaluation.tally import Estimate, Interval, Tally
    from optimizer.evaluation.totals import Floats


@dataclass(frozen=True, slots=True)
class Less:
    """One function of sums less another one of others."""

    one: Function
    other: Function

    @property
    def terms(self) -> int:
        """Those of the one, then those of the other."""
        return self.one.terms + self.other.terms

    def estimate(self, sums: Floats) -> Floats:
        """As of `Function`."""
        return self.one.estimate(self._of_one(sums)) - self.other.estimate(self._of_other(sums))

    def gradient(self, sums: Floats) -> Floats:
        """As of `Function`."""
        one, other = self.one.gradient(self._of_one(sums)), -self.other.gradient(self._of_other(sums))
        return np.concatenate([[one[0] + other[0]], one[1:], other[1:]])

    def _of_one(self, sums: Floats) -> Floats:
        return sums[..., : 1 + self.one.terms]

    def _of_other(self, sums: Floats) -> Floats:
        return np.concatenate([sums[..., :1], sums[..., 1 + self.one.terms :]], axis=-1)


@dataclass(frozen=True, slots=True)
class Difference:
    """An estimator's word on one policy less its word on another, as an interval takes it: see `Estimated`."""

    estimator: Estimator

    @property
    def name(self) -> str:
        """The estimator's."""
        return self.estimator.name

    @property
    def needs(self) -> str | None:
        """As the estimator."""
        return self.estimator.needs

    @property
    def form(self) -> Function:
        """Of the terms of the one policy and then those of the other."""
        return Less(self.estimator.form, self.estimator.form)


def differences(
    names: tuple[str, str], one: Tally, other: Tally, arms: Sequence[str], interval: Interval
) -> list[Estimate] | Refusal:
    """By how much one policy is better than another, by each estimator: both are judged on the same rows.

    Rows in which both do the same add nothing to the uncertainty, so this is surer than the two estimates are.
    Effective sample size and mean weight are those of the policy that is worse off; the largest weight is that of both.

    Args:
        names: of the policies.
        one, other: of the same rows, with the same estimators, both with totals (see `Tally.of`).
        arms: all that the log knows.
        interval: of which kind.
    """
    for name, tally in zip(names, (one, other), strict=True):
        refusal = tally.support.refusal(name, arms)
        if refusal is not None:
            return refusal
    if one.estimators != other.estimators:
        raise ValueError("policies can be compared only by the same estimators")
    if not isinstance(one.sums, Totals) or not isinstance(other.sums, Totals):
        raise TypeError("policies can be compared only by tallies that keep totals")
    # For each estimator the terms of the one policy, then those of the other.
    m, order = one.sums.terms.shape[1], list[int]()
    for mine in places(one.estimators):
        order += [*mine, *(m + term for term in mine)]
    sums = one.sums.beside(other.sums).take(order)
    name = f"{names[0]} - {names[1]}"
    return say(name, [Difference(each) for each in one.estimators], sums, (one.weights, other.weights), interval)
