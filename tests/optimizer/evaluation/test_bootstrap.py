"""Resampling by customers: the draws are what they are said to be, and the intervals are those of slow references."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from optimizer.evaluation import bootstrap
from optimizer.evaluation.bootstrap import BLOCK, Bootstrap, PoissonBootstrap, Replicates
from optimizer.evaluation.estimators import IPS, SNIPS
from optimizer.evaluation.intervals import StudentT
from optimizer.evaluation.model_based import SNDR
from optimizer.evaluation.totals import Totals

if TYPE_CHECKING:
    from optimizer.evaluation.forms import Estimated
    from optimizer.evaluation.totals import Floats

FALSE_ALARM = 1e-6
"""The chance that a statistical test here would fail, with another seed, without a defect."""

ESTIMATORS: list[Estimated] = [IPS(), SNIPS(), SNDR()]


def some_totals(seed: int, n: int, customers: int) -> Totals:
    """The terms of `ESTIMATORS`, six of them."""
    random = np.random.default_rng(seed)
    weight, reward = random.exponential(1.0, n), random.binomial(1, 0.3, n)
    q = random.uniform(0.2, 0.4, n)
    terms = np.column_stack([weight * reward, weight * reward, weight, q, weight * (reward - q), weight])
    return Totals.of(terms, random.integers(0, customers, n).astype(np.uint64))


def counts(draws: Bootstrap, customers: int) -> Floats:
    """(resampled, customers) how often each customer is drawn: each customer has a column of its own."""
    return draws.sums(Totals(None, np.ones(customers), np.eye(customers)))[:, 1:]


@pytest.mark.parametrize("customers", [7, 300])
def test_how_often_customers_are_drawn_is_multinomial(customers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several blocks too, the last of which is not full."""
    monkeypatch.setattr(bootstrap, "BLOCK", 64)
    drawn = counts(Bootstrap(resampled=3_000, seed=5), customers)
    assert (drawn.sum(axis=1) == customers).all()
    n = drawn.size
    expected = stats.binom.pmf(np.arange(6), customers, 1 / customers)
    seen = np.bincount(drawn.astype(np.intp).ravel(), minlength=7)
    # The counts of one resample depend on each other a little, by -1/customers, which makes the statistic smaller.
    cells = np.append(seen[:6], seen[6:].sum()), np.append(expected, 1.0 - expected.sum()) * n
    assert stats.chisquare(*cells).pvalue > FALSE_ALARM
    covariance = np.cov(drawn[:, :7].T)
    p = 1 / customers
    exact = customers * (p * np.eye(7) - p * p)
    assert covariance == pytest.approx(exact, abs=6 * 2**0.5 / 3_000**0.5)
    assert stats.chisquare(drawn.sum(axis=0)).pvalue > FALSE_ALARM


def test_all_customers_of_a_full_block_are_equally_likely() -> None:
    """Here random bits are draws, rather than numbers below a bound."""
    generator = np.random.Generator(np.random.SFC64(1))
    seen = np.bincount(bootstrap._drawn(generator, BLOCK, 1_000_001), minlength=BLOCK)  # noqa: SLF001 - the fast path
    assert seen.sum() == 1_000_001
    assert len(seen) == BLOCK
    assert stats.chisquare(seen).pvalue > FALSE_ALARM


def test_the_interval_is_that_of_a_slow_bootstrap_of_customers() -> None:
    """Their ends differ by the resamples' noise alone: 20,000 and 20,000 of them."""
    totals = some_totals(1, 2_000, 150)
    columns = np.column_stack([totals.sizes, totals.terms])
    random = np.random.default_rng(2)
    g = len(columns)
    slow = np.array([columns[random.integers(0, g, g)].sum(axis=0) for _ in range(20_000)])
    fast = Bootstrap(resampled=20_000, seed=3)
    sums = fast.sums(totals)
    for j in range(1, 7):
        assert stats.ks_2samp(slow[:, j] / slow[:, 0], sums[:, j] / sums[:, 0]).pvalue > FALSE_ALARM
    values = [
        slow[:, 1] / slow[:, 0],
        slow[:, 2] / slow[:, 3],
        slow[:, 4] / slow[:, 0] + slow[:, 5] / slow[:, 6],
    ]
    for ends, value in zip(fast.ends(ESTIMATORS, totals), values, strict=True):
        # The error of a 2.5% quantile of 20,000 normal values is .019 standard deviations.
        assert ends == pytest.approx(np.quantile(value, [0.025, 0.975]), abs=5 * 2**0.5 * 0.019 * value.std())


def test_for_many_customers_bootstraps_and_students_t_agree() -> None:
    totals = some_totals(4, 40_000, 20_000)
    expected = StudentT().ends(ESTIMATORS, totals)
    for found in (Bootstrap(resampled=2_000), PoissonBootstrap(resampled=2_000)):
        for (low, high), (t_low, t_high) in zip(found.ends(ESTIMATORS, totals), expected, strict=True):
            assert (low, high) == pytest.approx((t_low, t_high), abs=0.08 * (t_high - t_low))


@given(st.integers(0, 100), st.integers(2, 4), st.integers(1, 60))
def test_ends_depend_on_the_seed_and_not_on_the_threads(seed: int, threads: int, resampled: int) -> None:
    totals = some_totals(seed, 200, 50)
    alone = Bootstrap(resampled=resampled, seed=seed).sums(totals)
    with ThreadPoolExecutor(threads) as pool:
        assert (Bootstrap(resampled=resampled, seed=seed, spread=pool.map).sums(totals) == alone).all()
    assert (Bootstrap(resampled=resampled, seed=seed + 1).sums(totals) != alone).any()


@given(st.integers(0, 2**32), st.lists(st.integers(0, 100), max_size=3), st.integers(1, 30))
def test_replicates_add_up_over_shards_that_share_customers(seed: int, cuts: list[int], replicates: int) -> None:
    random = np.random.default_rng(seed)
    terms, keys = random.normal(0.0, 1.0, (100, 2)), random.integers(0, 20, 100).astype(np.uint64)
    edges = [0, *sorted(cuts), 100]
    whole = Replicates.of(terms, keys, replicates=replicates, seed=seed)
    parts = [
        Replicates.of(terms[a:b], keys[a:b], replicates=replicates, seed=seed)
        for a, b in zip(edges, edges[1:], strict=False)  # noqa: RUF007 - one more import for one line
    ]
    added = parts[0]
    for part in parts[1:]:
        added = added + part
    assert added.sums == pytest.approx(whole.sums, abs=1e-9)
    totals = Totals.of(terms, keys)
    assert totals.keys is not None
    grouped = Replicates.of(totals.terms, totals.keys, totals.sizes, replicates, seed)
    assert grouped.sums == pytest.approx(whole.sums, abs=1e-9)


def test_poisson_counts_are_poisson_and_independent_over_customers_and_replicates() -> None:
    """Also for keys as alike as the numbers of rows."""
    customers, replicates = 400, 1_000
    found = Replicates.of(np.eye(customers), np.arange(customers, dtype=np.uint64), replicates=replicates).sums[:, 1:]
    seen = np.bincount(found.astype(np.intp).ravel(), minlength=8)
    expected = stats.poisson.pmf(np.arange(7), 1.0)
    cells = np.append(seen[:7], seen[7:].sum()), np.append(expected, 1.0 - expected.sum()) * found.size
    assert stats.chisquare(*cells).pvalue > FALSE_ALARM
    # The largest of so many correlations of independent numbers: normal, with standard deviation 1 / sqrt(n).
    for matrix, n in ((found, replicates), (found.T, customers)):
        correlation = np.corrcoef(matrix.T) - np.eye(matrix.shape[1])
        pairs = correlation.size / 2
        assert np.abs(correlation).max() < stats.norm.isf(FALSE_ALARM / pairs / 2) / n**0.5


def test_replicates_of_another_seed_are_not_added() -> None:
    one, other = (Replicates.of(np.ones((1, 1)), np.ones(1, np.uint64), seed=seed) for seed in (1, 2))
    with pytest.raises(ValueError, match="another seed"):
        one + other


def test_moments_cannot_be_resampled() -> None:
    with pytest.raises(TypeError, match="keep them"):
        Bootstrap().ends(ESTIMATORS, some_totals(1, 10, 5).moments())


@pytest.mark.parametrize("scheme", [Bootstrap(resampled=200), PoissonBootstrap(resampled=200)])
def test_there_is_no_interval_where_a_resample_is_undefined_or_nothing_differs(
    scheme: Bootstrap | PoissonBootstrap,
) -> None:
    """Of two customers one has no weight, and a resample may draw that one only."""
    one_weighs = Totals(None, np.ones(2), np.array([[1.0, 1.0], [0.0, 0.0]]))
    alike = Totals(None, np.ones(5), np.ones((5, 2)))
    nobody = Totals(None, np.ones(0), np.ones((0, 2)))
    for totals in (one_weighs, alike, nobody):
        assert np.isnan(scheme.ends([SNIPS()], totals)).all()
