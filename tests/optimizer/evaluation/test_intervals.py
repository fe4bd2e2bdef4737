"""Student's t against the cluster-robust formulas and a slow reference; empirical Bernstein against the theorem."""

from __future__ import annotations

from math import log, sqrt
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from optimizer.evaluation.differences import Difference
from optimizer.evaluation.estimators import IPS, SNIPS
from optimizer.evaluation.intervals import Bernstein, StudentT
from optimizer.evaluation.model_based import DR, SNDR
from optimizer.evaluation.totals import Totals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.evaluation.forms import Estimated
    from optimizer.evaluation.totals import Floats

ESTIMATORS: list[Estimated] = [IPS(), SNIPS(), SNDR()]
SEEDS = st.integers(0, 2**32)
FEW = settings(max_examples=20)


def rows(seed: int, n: int = 80) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.uint64]]:
    """Weights, rewards, a model's prediction for the logged arm and for the policy, and customers."""
    random = np.random.default_rng(seed)
    q = random.uniform(0.0, 1.0, (2, n))
    customers = random.integers(0, 25, n).astype(np.uint64)
    return random.exponential(1.0, n), random.binomial(1, 0.4, n).astype(float), q[0], q[1], customers


def totals(seed: int, *, n: int = 80, clustered: bool = True) -> Totals:
    w, r, q, d, customers = rows(seed, n)
    return Totals.of(np.column_stack([w * r, w * r, w, d, w * (r - q), w]), customers if clustered else None)


def least_squares(y: Floats, weight: Floats, customers: NDArray[np.uint64]) -> tuple[float, float]:
    """A constant by weighted least squares, and its cluster-robust error, with the factor G / (G - 1) alone."""
    x = np.ones((len(y), 1))
    bread = np.linalg.inv(x.T @ (weight[:, None] * x))
    value = float((bread @ x.T @ (weight * y))[0])
    meat = np.zeros((1, 1))
    for customer in np.unique(customers):
        mine = customers == customer
        score = x[mine].T @ (weight[mine] * (y[mine] - value))
        meat += np.outer(score, score)
    g = len(np.unique(customers))
    return value, sqrt(float((bread @ meat @ bread)[0, 0]) * g / (g - 1))


@given(SEEDS)
def test_students_t_of_means_and_ratios_is_the_sandwich_of_least_squares(seed: int) -> None:
    """A mean is a regression on a constant, and self-normalised IPS a weighted one."""
    w, r, _, _, customers = rows(seed)
    found = StudentT().ends(ESTIMATORS, totals(seed))
    t = stats.t.ppf(0.975, len(np.unique(customers)) - 1)
    for ends, (value, error) in zip(
        found, [least_squares(w * r, np.ones(80), customers), least_squares(r, w, customers)], strict=False
    ):
        assert ends == pytest.approx((value - t * error, value + t * error))


@given(SEEDS)
def test_students_t_is_that_of_a_linear_part_found_numerically(seed: int) -> None:
    """The influence of each customer by leaving a little of it out, whatever the form is."""
    whole = totals(seed)
    columns = np.column_stack([whole.sizes, whole.terms])
    g, small, first = len(columns), 1e-6, 1
    for estimator, ends in zip(ESTIMATORS, StudentT(0.9).ends(ESTIMATORS, whole), strict=True):
        mine = [0, *range(first, first + estimator.form.terms)]
        first += estimator.form.terms
        sums = columns[:, mine].sum(axis=0)
        value = float(estimator.form.estimate(sums))
        influence = (estimator.form.estimate(sums + small * columns[:, mine]) - value) / small
        half = stats.t.ppf(0.95, g - 1) * sqrt(g / (g - 1) * float(((influence - influence.mean()) ** 2).sum()))
        assert ends == pytest.approx((value - half, value + half), rel=1e-3, abs=1e-3)


def test_students_t_of_independent_rows_is_scipys() -> None:
    w, r, *_ = rows(3)
    (ends,) = StudentT(0.99).ends([IPS()], Totals.of((w * r)[:, None], None))
    assert ends == pytest.approx(stats.t.interval(0.99, 79, (w * r).mean(), stats.sem(w * r)))


def test_customers_whose_rows_are_alike_widen_the_interval_by_the_root_of_their_rows() -> None:
    w, r, *_ = rows(4)
    once = Totals.of((w * r)[:, None], None)
    four = Totals.of(np.repeat(w * r, 4)[:, None], np.repeat(np.arange(80, dtype=np.uint64), 4))
    assert StudentT().ends([IPS()], four)[0] == pytest.approx(StudentT().ends([IPS()], once)[0])


@pytest.mark.parametrize("interval", [StudentT(), Bernstein()])
def test_nothing_is_said_without_two_customers_that_differ(interval: StudentT | Bernstein) -> None:
    one = Totals.of(np.array([[1.0, 1.0], [0.0, 1.0]]), np.zeros(2, np.uint64))
    alike = Totals.of(np.ones((9, 2)), None)
    weightless = Totals.of(np.zeros((9, 2)), None)
    for each in (one, alike, weightless):
        assert np.isnan(interval.ends([SNIPS()], each)).all()


@FEW
@given(SEEDS)
def test_bernstein_of_a_mean_of_independent_rows_is_the_theorem(seed: int) -> None:
    w, r, *_ = rows(seed)
    w = w.clip(max=5.0)
    x = w * r
    (given_bounds,) = Bernstein(0.9, reward=(0.0, 1.0), weight=5.0).ends([IPS()], Totals.of(x[:, None], None))
    size = log(2 / 0.05)
    half = sqrt(2 * x.var(ddof=1) * size / 80) + 7 * 5.0 * size / (3 * 79)
    assert given_bounds == pytest.approx((max(x.mean() - half, 0.0), min(x.mean() + half, 1.0)))
    (of_data,) = Bernstein(0.9).ends([IPS()], Totals.of(x[:, None], None))
    half = sqrt(2 * x.var(ddof=1) * size / 80) + 7 * (x.max() - x.min()) * size / (3 * 79)
    assert of_data == pytest.approx((x.mean() - half, x.mean() + half))


@FEW
@given(SEEDS)
def test_bernstein_of_a_ratio_holds_every_value_whose_mean_residual_is_within_the_theorem(seed: int) -> None:
    w, r, _, _, customers = rows(seed, 4_000)
    w, customers = w.clip(max=4.0), np.arange(4_000, dtype=np.uint64) // 2
    whole = Totals.of(np.column_stack([w * r, w]), customers)
    (ends,) = Bernstein(0.9, reward=(0.0, 1.0), weight=4.0).ends([SNIPS()], whole)
    size, g = log(2 / 0.05), 2_000

    def beyond(v: float) -> float:
        residual = whole.terms[:, 0] - v * whole.terms[:, 1]
        # Two rows a customer, each with a residual between -4 v and 4 (1 - v).
        return float(
            abs(residual.mean()) - sqrt(2 * residual.var(ddof=1) * size / g) - 7 * 2 * 4.0 * size / (3 * (g - 1))
        )

    value = (w * r).sum() / w.sum()
    assert ends == pytest.approx(
        (optimize.brentq(beyond, value - 1.0, value), optimize.brentq(beyond, value, value + 1.0)), abs=1e-9
    )


@FEW
@given(SEEDS)
def test_bernstein_is_wider_than_students_t_and_of_a_sum_of_two_it_is_the_sum(seed: int) -> None:
    whole = totals(seed, n=3_000, clustered=False)
    found, t = Bernstein().ends(ESTIMATORS, whole), StudentT().ends(ESTIMATORS, whole)
    for (low, high), (t_low, t_high) in zip(found, t, strict=True):
        assert low < t_low < t_high < high
    # SNDR is a mean and a ratio, each with half of the error.
    mean, ratio = Bernstein(0.975).ends([IPS(), SNIPS()], whole.take([3, 4, 5]))
    assert found[2] == pytest.approx((mean[0] + ratio[0], mean[1] + ratio[1]))


@FEW
@given(SEEDS)
def test_bernstein_of_a_difference_is_the_sum_of_two_intervals_of_half_the_error(seed: int) -> None:
    one, other = (totals(s, n=3_000, clustered=False).take([0]) for s in (seed, seed + 1))
    (found,) = Bernstein().ends([Difference(IPS())], one.beside(other))
    (a,), (b,) = (Bernstein(0.975).ends([IPS()], each) for each in (one, other))
    assert found == pytest.approx((a[0] - b[1], a[1] - b[0]))


@FEW
@given(SEEDS)
def test_given_bounds_hold_for_whatever_the_model_predicts(seed: int) -> None:
    """The range that is taken for rows of DR is no smaller than any that could be seen."""
    w, r, q, d, _ = rows(seed, 4_000)
    w = w.clip(max=3.0)
    x = d + w * (r - q)
    assert x.max() - x.min() <= 7.0
    (ends,) = Bernstein(reward=(0.0, 1.0), weight=3.0).ends([DR()], Totals.of(x[:, None], None))
    size = log(2 / 0.025)
    half = 7 * 7.0 * size / (3 * 3_999) + sqrt(2 * x.var(ddof=1) * size / 4_000)
    assert ends == pytest.approx((x.mean() - half, x.mean() + half))


def test_where_the_weights_allow_everything_there_is_no_end() -> None:
    """Self-normalised, of few rows: any value has a mean residual that is within the theorem."""
    whole = totals(1, n=10).take([1, 2])
    assert np.isnan(Bernstein(reward=(0.0, 1.0), weight=1_000.0).ends([SNIPS()], whole)).all()


def test_the_name_says_whether_the_range_is_known() -> None:
    assert Bernstein(reward=(0.0, 1.0), weight=2.0).name == "empirical bernstein"
    for unknown in (Bernstein(), Bernstein(reward=(0.0, 1.0)), Bernstein(weight=3.0)):
        assert unknown.name == "empirical bernstein, range of the data"


@FEW
@given(SEEDS)
def test_less_confidence_is_a_narrower_interval(seed: int) -> None:
    whole = totals(seed, n=3_000)
    assume(len(whole.terms) > 2)
    for kind in (StudentT, Bernstein):
        narrow, wide = kind(confidence=0.8).ends(ESTIMATORS, whole), kind(confidence=0.95).ends(ESTIMATORS, whole)
        assert all(b[0] < a[0] < a[1] < b[1] for a, b in zip(narrow, wide, strict=True) if not np.isnan([*a, *b]).any())
