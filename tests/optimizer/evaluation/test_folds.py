from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from optimizer.evaluation.folds import fold_of, sample
from optimizer.evaluation.log import Log


def log_of(n: int, customers: int | None, seed: int = 1) -> Log:
    rng = np.random.default_rng(seed)
    return Log(
        arms=("a", "b"),
        chosen=rng.integers(0, 2, n),
        propensity=np.full(n, 0.5),
        reward=np.arange(n, dtype=np.float64),
        customer=None if customers is None else rng.integers(0, customers, n).astype(np.uint64),
    )


def cut(log: Log, inner: list[int]) -> list[tuple[int, Log]]:
    return [(start, log.take(slice(start, stop))) for start, stop in pairwise([0, *sorted(inner), len(log)])]


@given(st.lists(st.integers(0, 300), max_size=4), st.sampled_from([70, None]), st.integers(0, 9))
def test_a_rows_fold_and_its_place_in_a_sample_do_not_depend_on_the_chunks(
    inner: list[int], customers: int | None, seed: int
) -> None:
    log = log_of(300, customers)
    whole = fold_of(log, folds=5, seed=seed, first=0)
    parts = [fold_of(chunk, folds=5, seed=seed, first=first) for first, chunk in cut(log, inner)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    some = sample([chunk for _, chunk in cut(log, inner)], rows=100, seed=seed)
    np.testing.assert_array_equal(some.reward, sample([log], rows=100, seed=seed).reward)
    assert 0 < len(some) <= 100
    # A row of the sample is in the fold in which it is in the log.
    np.testing.assert_array_equal(fold_of(some, folds=5, seed=seed, first=0), whole[some.reward.astype(int)])


def test_all_rows_of_a_customer_are_in_one_fold_and_together_in_a_sample_or_out_of_it() -> None:
    log = log_of(5_000, 400)
    assert log.customer is not None
    fold = fold_of(log, folds=3, seed=0, first=0)
    assert all(len(set(fold[log.customer == each].tolist())) == 1 for each in range(400))
    some = sample([log], rows=2_000, seed=0)
    assert some.customer is not None
    inside = np.isin(log.customer, some.customer)
    assert inside.sum() == len(some)


@pytest.mark.parametrize("step", [7, None])
def test_folds_are_equally_likely_and_independent_of_the_sample(step: int | None) -> None:
    """Chi squared, seeded; with another seed it would fail once in a million."""
    n = 40_000
    log = replace(log_of(n, None), customer=None if step is None else np.arange(0, step * n, step).astype(np.uint64))
    fold = fold_of(log, folds=4, seed=3, first=0)
    some = sample([log], rows=n // 2 + 1_000, seed=3)
    inside = np.isin(log.reward, some.reward)
    assert stats.chisquare(np.bincount(fold, minlength=4)).pvalue > 1e-6
    assert stats.contingency.chi2_contingency([np.bincount(fold[inside]), np.bincount(fold[~inside])]).pvalue > 1e-6
    assert abs(inside.mean() - 0.5) < 0.02


def test_a_log_that_is_small_enough_is_its_own_sample() -> None:
    log = log_of(50, None)
    some = sample([log], rows=50, seed=0)
    np.testing.assert_array_equal(some.reward, log.reward)
    assert some.customer is not None
