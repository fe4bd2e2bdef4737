"""A confidence sequence for logs that were collected adaptively: intervals that hold at all times at once.

Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro, "Anytime-valid off-policy inference for contextual bandits"
(ACM/IMS Journal of Data Science, 2024; arXiv 2210.10768): doubly robust numbers bounded from below (section 2.1), and
an empirical Bernstein sequence of values that may vary over time (section 3.1).

Row t is made into a number x of at least 0, whose expectation m, given all that came before, lies within [0, 1]: the
policy's value, brought to that scale. With any guess g of m that is within [0, 1] and was made before,

    E exp(a (x - m) - psi(a) (x - g)^2) <= 1,  psi(a) = -log(1 - a) - a,  for every a within [0, 1),

since x - g >= -1 (Fan, Grama and Liu, "Exponential inequalities for martingales with applications", 2015, lemma 4.1).
So the product of these over rows is a supermartingale whatever the logging policy did and whatever the weights are, and
so is its mean over a: with the truncated gamma density of Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform,
nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49 (2021), proposition 9, a function of
S = sum of x - m and V = sum of (x - g)^2 alone. By Ville's inequality it ever reaches 1 / d with a probability of at
most d. The lower end is the mean of m at which it does; the upper one is the same of the mirrored rewards. g is the
mean of what was seen, and of one row of 1/2 before it: a plug-in that was known before.

What is covered, with a probability of at least `confidence` at all times at once, is the **mean over the rows so far of
the policy's conditional value**: what it earns in expectation in row t, given all that came before row t. If customers
come alike and independent, that is the policy's value. If they change, it is the mean of what there was; so ends at
other times say nothing of this one, and are not intersected. Customers may have several rows: nothing is independent.

The reward has to lie within known bounds, the propensities have to be right, and weights need no bound. A model's
predictions may depend on earlier rows only: cross-fitting on the whole log is not allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import special

from optimizer.errors import InvalidInput
from optimizer.evaluation.tally import Estimate

if TYPE_CHECKING:
    from optimizer.evaluation.intervals import Ends
    from optimizer.evaluation.log import Log
    from optimizer.evaluation.totals import Floats
    from optimizer.evaluation.weights import Weights

RHO: Final = 1.0
"""The density's parameter: the V for which the interval is about as narrow as it can be. None is best for every log;
this one is that of vw-estimators."""

SLACK: Final = 1.0
"""How much a model may take from a row, in parts of the rewards' range: more lets it be used where weights are larger,
and makes every row's x smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """n rows in the log's order, as numbers whose expectation is a value brought to [0, 1].

    Attributes:
        y: (n, 2) float64; the expectation of the first is (value - low) / (high - low), of the second 1 less that.
        low, high: what a value can be.
        slack: y is at least -slack.
    """

    y: Floats
    low: float
    high: float
    slack: float = 0.0

    def less(self, other: Numbers) -> Numbers:
        """Of the difference between this policy's value and another's, in the same rows.

        The mean weight is 1, so w r + v (1 - r) has the expectation of (w - v) r, plus 1; and it is never negative.
        """
        y = (self.y + other.y[:, ::-1]) / 2.0
        width = self.high - self.low
        return Numbers(y=y, low=-width, high=width, slack=(self.slack + other.slack) / 2.0)


def weighted(log: Log, target: Floats, reward: tuple[float, float]) -> Numbers:
    """Rewards times weights.

    Args:
        log: rows in their order.
        target: (n, K) the policy's probabilities.
        reward: the smallest and largest that a reward can be. Raises `InvalidInput` where one is not within these.
    """
    return weighted_rewards(_weight(log, target), log.reward, reward)


def weighted_rewards(weight: Floats, rewards: Floats, reward: tuple[float, float]) -> Numbers:
    """The same of rows whose weights (n,) and rewards (n,) are known already."""
    r = _scaled(rewards, reward)
    return Numbers(y=np.column_stack([weight * r, weight * (1.0 - r)]), low=reward[0], high=reward[1])


def doubly_robust(
    log: Log, target: Floats, predictions: Floats, reward: tuple[float, float], slack: float = SLACK
) -> Numbers:
    """What a model says, and rewards less what it says times weights; the model is cut where that could be too low.

    Args:
        log: rows in their order, with the `distribution` of every one.
        target: (n, K) the policy's probabilities.
        predictions: (n, K) of a model that knows earlier rows only.
        reward: as of `weighted`; predictions beyond it are brought within.
        slack: see `SLACK`.
    """
    if log.distribution is None:
        raise InvalidInput(
            "a doubly robust confidence sequence needs the whole distribution of every logged draw, and this log does "
            "not have it: use the one of weighted rewards"
        )
    rows, w, r = np.arange(len(log)), _weight(log, target), _scaled(log.reward, reward)
    # As large as the model may be for each arm: slack / weight.
    largest = np.full(target.shape, np.inf)
    np.divide(slack * log.distribution, target, out=largest, where=target > 0.0)
    q = _scaled(predictions.clip(*reward), reward)
    columns = []
    for model, earned in ((q, r), (1.0 - q, 1.0 - r)):
        cut = np.minimum(model, largest)
        columns.append(np.einsum("nk,nk->n", target, cut) + w * (earned - cut[rows, log.chosen]))
    return Numbers(y=np.column_stack(columns), low=reward[0], high=reward[1], slack=slack)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceSequence:
    """What the rows so far come to. It is a fold over them in the log's order: two shards cannot be added.

    Attributes:
        low, high, slack: as of `Numbers`.
        n: rows so far.
        x: (2,) sums of x; `squares`: (2,) V.
    """

    low: float
    high: float
    slack: float = 0.0
    n: int = 0
    x: tuple[float, float] = (0.0, 0.0)
    squares: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, numbers: Numbers) -> ConfidenceSequence:
        """After a log's first rows."""
        return cls(low=numbers.low, high=numbers.high, slack=numbers.slack).after(numbers)

    def after(self, numbers: Numbers) -> ConfidenceSequence:
        """After the next rows too."""
        if (numbers.low, numbers.high, numbers.slack) != (self.low, self.high, self.slack):
            raise ValueError("a sequence goes on with numbers of the same bounds")
        x, sums, squares = self._paths(numbers)
        if not len(x):
            return self
        last, v = sums[-1].tolist(), squares[-1].tolist()
        return replace(self, n=self.n + len(x), x=(last[0], last[1]), squares=(v[0], v[1]))

    def reached(self, numbers: Numbers, values: Floats) -> Floats:
        """(n, 2) the log of the wealth against each mean value, after each of the next rows, for either end.

        An interval of confidence 1 - 2 d does not hold the value where one of the two is log(1 / d) or more.

        Args:
            numbers: of the next rows.
            values: (n,) means of the value over all rows up to each of these.
        """
        _, sums, squares = self._paths(numbers)
        mean = (values - self.low) / (self.high - self.low)
        means = (np.column_stack([mean, 1.0 - mean]) + self.slack) / (1.0 + self.slack)
        return log_wealth(sums - (self.n + 1.0 + np.arange(len(mean)))[:, None] * means, squares)

    def ends(self, confidence: float = 0.95) -> Ends:
        """The interval at this time: with the given probability those of all times hold."""
        if not self.n:
            return self.low, self.high
        lower, mirrored = (
            (1.0 + self.slack) * _least_mean(self.n, x, v, (1.0 - confidence) / 2) - self.slack
            for x, v in zip(self.x, self.squares, strict=True)
        )
        width = self.high - self.low
        return self.low + width * max(lower, 0.0), self.high - width * max(mirrored, 0.0)

    @property
    def value(self) -> float:
        """The mean of the rows' numbers; nan without rows."""
        if not self.n:
            return float("nan")
        return self.low + (self.high - self.low) * ((1.0 + self.slack) * self.x[0] / self.n - self.slack)

    def row(self, policy: str, weights: Weights, customers: int, confidence: float = 0.95) -> Estimate:
        """What a report says of a policy that is not refused (`Support.refusal`), whose customers are so many."""
        low, high = self.ends(confidence)
        return Estimate(
            policy=policy,
            estimator="dr, cut" if self.slack else "ips",
            interval="confidence sequence",
            value=self.value,
            low=low,
            high=high,
            confidence=confidence,
            rows=self.n,
            customers=customers,
            effective=weights.effective,
            largest_weight=weights.largest,
            mean_weight=weights.mean,
            matched=weights.matched / max(weights.rows, 1),
            warnings=tuple(weights.warnings()),
        )

    def _paths(self, numbers: Numbers) -> tuple[Floats, Floats, Floats]:
        """(n, 2) each: x of these rows, and after each of them the sums of x and of (x - g)^2."""
        x = (numbers.y + self.slack) / (1.0 + self.slack)
        sums = self.x + x.cumsum(axis=0)
        before = self.n + np.arange(len(x))[:, None]
        guess = np.minimum((sums - x + 0.5) / (before + 1.0), 1.0)
        return x, sums, self.squares + ((x - guess) ** 2).cumsum(axis=0)


def log_wealth(s: Floats, v: Floats) -> Floats:
    """The log of the mean over a of exp(a s - psi(a) v); 0, no evidence, where s is not positive."""
    evidence = s > 0.0
    s, v = np.where(evidence, s, 1.0), np.where(evidence, v, 1.0)
    shape, rate = v + RHO, s + v + RHO
    wealth = s + v + RHO * log(RHO) - _log_lower_gamma(np.float64(RHO), np.float64(RHO))
    wealth += _log_lower_gamma(shape, rate) - shape * np.log(rate)
    return np.where(evidence, wealth, 0.0)


def _log_lower_gamma(shape: Floats | np.float64, x: Floats | np.float64) -> Floats:
    """The log of the lower incomplete gamma function. Its argument is the larger one here, so nothing underflows."""
    return np.asarray(np.log(special.gammainc(shape, x)) + special.gammaln(shape))


def _least_mean(n: int, x: float, squares: float, d: float) -> float:
    """The least mean of m whose wealth is below 1 / d."""
    from scipy import optimize  # noqa: PLC0415 - 25 MiB, which no other interval needs

    def over(mean: float) -> float:
        return float(log_wealth(np.asarray(x - n * mean), np.asarray(squares))) + log(d)

    most = min(x / n, 1.0)
    if over(0.0) <= 0.0:
        return 0.0
    return most if over(most) >= 0.0 else float(optimize.brentq(over, 0.0, most))


def _weight(log: Log, target: Floats) -> Floats:
    return target[np.arange(len(log)), log.chosen] / log.propensity


def _scaled(rewards: Floats, bounds: tuple[float, float]) -> Floats:
    low, high = bounds
    beyond = (rewards < low) | (rewards > high)
    if beyond.any():
        raise InvalidInput(
            f"a confidence sequence was given rewards between {low:g} and {high:g}, and one is "
            f"{rewards[beyond][0]:g}: give bounds that every possible reward keeps"
        )
    return (rewards - low) / (high - low)
