"""Empirical likelihood of a policy's value, by the Cressie-Read divergence of power -2, which has a closed form.

Karampatziakis, Langford and Mineiro, "Empirical likelihood for contextual bandits", NeurIPS 2020. Of all distributions
over (weight, reward) that are near to what was logged, only those are considered in which the mean weight is 1, as it
has to be. The estimate is the value under the nearest one; the interval holds the values under all that are near
enough, for rewards and weights within their bounds. Where weights fall short of a mean of 1, what is missing is put on
the largest possible weight, and where they exceed it on the smallest: one row more, which was not seen.

Rows are taken to be independent: there is no form for customers with several rows, and `Likelihood` warns of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isinf, sqrt
from typing import TYPE_CHECKING, Final

from scipy import special

from optimizer.evaluation.tally import Estimate

if TYPE_CHECKING:
    from optimizer.evaluation.intervals import Ends
    from optimizer.evaluation.judged import Judged
    from optimizer.evaluation.weights import Weights

_ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Likelihood:
    """The interval of all values that are likely enough.

    Attributes:
        confidence: how probably it holds the value, for many rows.
        weight: the smallest and largest that a weight can be, below and above 1; widened to what was seen.
        reward: the smallest and largest that a reward can be; None for what was seen, which says nothing of what was
            not.
    """

    confidence: float = 0.95
    weight: tuple[float, float] = (0.0, inf)
    reward: tuple[float, float] | None = None
    name: str = "empirical likelihood"

    def row(self, policy: str, sums: CressieRead, weights: Weights, customers: int) -> Estimate:
        """What a report says of a policy that is not refused (`Support.refusal`), whose customers are so many."""
        low, high = sums.ends(self)
        warnings = weights.warnings()
        if customers < sums.n:
            warnings.append("customers have several rows, taken to be independent: the interval is too narrow")
        return Estimate(
            policy=policy,
            estimator="cressie-read",
            interval=self.name,
            value=sums.value(self.weight),
            low=low,
            high=high,
            confidence=self.confidence,
            rows=sums.n,
            customers=customers,
            effective=weights.effective,
            largest_weight=weights.largest,
            mean_weight=weights.mean,
            matched=weights.matched / max(weights.rows, 1),
            warnings=tuple(warnings),
        )


@dataclass(frozen=True, slots=True)
class CressieRead:
    """Sums over rows of weights w and rewards r; those of two shards are added.

    Attributes:
        n: how many rows.
        r, w, ww, wr, wwr, wwrr: sums of what the letters say, times each other.
        lightest, heaviest: the smallest and largest weight.
        lowest, highest: the smallest and largest reward.
    """

    n: int = 0
    r: float = 0.0
    w: float = 0.0
    ww: float = 0.0
    wr: float = 0.0
    wwr: float = 0.0
    wwrr: float = 0.0
    lightest: float = inf
    heaviest: float = -inf
    lowest: float = inf
    highest: float = -inf

    @classmethod
    def of(cls, rows: Judged) -> CressieRead:
        """Of some rows."""
        w, r = rows.weight, rows.reward
        wr = w * r
        return cls(
            len(rows),
            float(r.sum()),
            float(w.sum()),
            float(w @ w),
            float(wr.sum()),
            float(w @ wr),
            float(wr @ wr),
            float(w.min(initial=inf)),
            float(w.max(initial=-inf)),
            float(r.min(initial=inf)),
            float(r.max(initial=-inf)),
        )

    def __add__(self, other: CressieRead) -> CressieRead:
        return CressieRead(
            self.n + other.n,
            self.r + other.r,
            self.w + other.w,
            self.ww + other.ww,
            self.wr + other.wr,
            self.wwr + other.wwr,
            self.wwrr + other.wwrr,
            min(self.lightest, other.lightest),
            max(self.heaviest, other.heaviest),
            min(self.lowest, other.lowest),
            max(self.highest, other.highest),
        )

    def value(self, weight: tuple[float, float] = (0.0, inf)) -> float:
        """The estimate; nan without rows. `weight` is as of `Likelihood`."""
        n = self.n
        if not n:
            return float("nan")
        unseen = self._unseen(*self._possible(weight))
        slope, level = 0.0, -(1 + n) / n
        if not isinf(unseen):
            mean, squares = (unseen + self.w) / (1 + n), (unseen**2 + self.ww) / (1 + n)
            variance = mean**2 - squares
            if variance == 0.0:  # every weight is 1
                return self.r / n
            level, slope = (squares - mean) / variance, (1 - mean) / variance
        # Row i has the probability -(level + slope w_i) w_i / (1 + n) under the policy; the rest earns what is usual.
        left = max(0.0, 1.0 + (level * self.w + slope * self.ww) / (1 + n))
        return -(level * self.wr + slope * self.wwr) / (1 + n) + left * self.r / n

    def ends(self, kind: Likelihood) -> Ends:
        """The interval; nan without rows."""
        n = self.n
        if not n:
            return float("nan"), float("nan")
        lightest, heaviest = self._possible(kind.weight)
        low, high = kind.reward or (self.lowest, self.highest)
        unseen = self._unseen(lightest, heaviest)
        nearest = 1 + 1 / n
        if not isinf(unseen):
            mean, squares = (unseen + self.w) / (1 + n), (unseen**2 + self.ww) / (1 + n)
            nearest = (1 + n) * (mean - 1) ** 2 / (squares - mean**2) if squares > mean**2 else 0.0
        within = -(nearest + float(special.fdtri(1, n, kind.confidence))) / (2 * (1 + n))
        below = [v for w in (lightest, heaviest) if (v := self._least(low, 1.0, w, within)) is not None]
        above = [v for w in (lightest, heaviest) if (v := self._least(high, -1.0, w, within)) is not None]
        return max(low, min(below, default=low)), min(high, -min(above, default=-high))

    def _possible(self, weight: tuple[float, float]) -> tuple[float, float]:
        return min(weight[0], self.lightest), max(weight[1], self.heaviest)

    def _unseen(self, lightest: float, heaviest: float) -> float:
        """The weight of the row that was not seen."""
        return heaviest if self.w < self.n else lightest

    def _least(self, edge: float, sign: float, unseen: float, within: float) -> float | None:
        """The least value of sign x reward under all distributions within the radius; None where all are.

        Args:
            edge: the reward of the row that was not seen, the worst possible.
            sign: 1.0 for the value itself, -1.0 for its negative.
            unseen: the weight of that row; infinite for one that is infinitely rare.
            within: less than 0, the radius.
        """
        n = self.n
        if isinf(unseen):
            centre = sign * (edge + (self.wr - self.w * edge) / n)
            one = (edge * self.w - self.wr) ** 2 / (n * (1 + n))
            other = (edge**2 * self.ww - 2 * edge * self.wwr + self.wwrr) / (1 + n)
            room = within + 1 / (2 * n)
        else:
            w, ww = (unseen + self.w) / (1 + n), (unseen**2 + self.ww) / (1 + n)
            wr, wwr = (unseen * edge + self.wr) / (1 + n), (unseen**2 * edge + self.wwr) / (1 + n)
            wwrr = (unseen**2 * edge**2 + self.wwrr) / (1 + n)
            variance, covariance = ww - w**2, sign * (wwr - w * wr)
            if variance <= 0.0:
                return None
            centre = sign * wr + (1 - w) * covariance / variance
            one, other = covariance**2 / variance, wwrr - wr**2
            room = within + (1 - w) ** 2 / (2 * variance)
        # By Cauchy and Schwarz one is never larger than the other, but for rounding.
        if room > 0.0:
            return None
        return centre if other - one <= _ROUNDING * other else centre - sqrt(2 * room * (one - other))
