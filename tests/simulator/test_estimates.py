"""Means and intervals, against hand arithmetic and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.estimates import Mean


def test_the_interval_of_a_mean_is_1_96_standard_errors_to_either_side() -> None:
    # Values 0, 0, 1, 1: mean .5, variance 4 x .25 / 3 = 1/3, standard error sqrt(1/12).
    mean = Mean.of(np.array([0.0, 0.0, 1.0, 1.0]))
    assert (mean.n, mean.mean) == (4, 0.5)
    half = 1.959963984540054 / np.sqrt(12)
    assert mean.low == pytest.approx(0.5 - half)
    assert mean.high == pytest.approx(0.5 + half)


def test_too_few_values_are_no_interval_and_none_at_all_no_mean() -> None:
    assert Mean.of(np.array([0.25])) == Mean(1, 0.25, None, None)
    assert Mean.of(np.array([])) == Mean(0, None, None, None)
    single = Mean.of_clusters(np.array([0.3]), np.array([3.0]))
    assert (single.n, single.low, single.high) == (3, None, None)


def test_values_that_do_not_differ_are_no_interval() -> None:
    assert Mean.of(np.zeros(14)) == Mean(14, 0.0, None, None)


def test_a_table_shows_the_mean_and_half_its_interval() -> None:
    assert Mean(9, 0.18124, 0.1761, 0.1864).text(4) == "0.1812 ± 0.0052"
    assert Mean(1, 0.25, None, None).text(2) == "0.25"
    assert Mean(0, None, None, None).text(2) == "-"


def test_the_average_of_overlapping_samples_is_as_wide_as_they_are_in_the_mean() -> None:
    average = Mean.average([Mean(100, 0.2, 0.1, 0.3), Mean(102, 0.4, 0.2, 0.6)])
    assert average.n == 101
    assert [average.mean, average.low, average.high] == pytest.approx([0.3, 0.15, 0.45])
    assert Mean.average([Mean(1, 0.5, None, None)]) == Mean(1, 0.5, None, None)


def test_clusters_that_are_all_alike_inside_count_as_one_value_each() -> None:
    totals, sizes = np.array([0.0, 0.0, 10.0, 10.0]), np.full(4, 10.0)
    clustered, single = Mean.of_clusters(totals, sizes), Mean.of(totals / sizes)
    assert (clustered.n, clustered.mean) == (40, 0.5)
    assert clustered.low == pytest.approx(single.low)
    assert clustered.high == pytest.approx(single.high)


def test_the_interval_over_clusters_holds_the_true_mean_19_times_in_20() -> None:
    # 1,000 tries: the standard error of the coverage is .007; the chance of leaving [.92, .98] is below 1e-4.
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        rates = rng.beta(2, 6, 200)
        sizes = rng.integers(1, 20, 200).astype(np.float64)
        mean = Mean.of_clusters(rng.binomial(sizes.astype(np.int64), rates).astype(np.float64), sizes)
        assert mean.low is not None
        assert mean.high is not None
        held += mean.low <= 0.25 <= mean.high
    assert 0.92 <= held / 1000 <= 0.98
