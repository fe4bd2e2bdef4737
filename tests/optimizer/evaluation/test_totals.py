"""Sums over rows, by customer, against pandas and numpy; and that shards add up to the whole however it is cut."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.evaluation.totals import Moments, Totals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.evaluation.totals import Floats


@st.composite
def rows(draw: st.DrawFn) -> tuple[Floats, NDArray[np.uint64], list[slice]]:
    """Terms of rows, whose they are, and a cut into shards, some of them empty."""
    n, m = draw(st.integers(0, 40)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    terms = random.normal(draw(st.sampled_from([0.0, 5.0])), 1.0, (n, m))
    keys = random.integers(0, draw(st.integers(1, 20)), n).astype(np.uint64)
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=4)))
    return terms, keys, [slice(*each) for each in zip([0, *cuts], [*cuts, n], strict=True)]


def covariance(columns: Floats) -> Floats:
    return np.atleast_2d(np.cov(columns.T))


@given(rows())
def test_totals_of_customers_are_pandas_group_sums(case: tuple[Floats, NDArray[np.uint64], list[slice]]) -> None:
    import pandas as pd  # noqa: PLC0415 - half of a second, and only here

    terms, keys, _ = case
    totals = Totals.of(terms, keys)
    groups = pd.DataFrame(terms).groupby(keys)
    assert totals.keys is not None
    assert totals.keys.tolist() == sorted(set(keys.tolist()))
    assert totals.terms == pytest.approx(groups.sum().to_numpy().reshape(totals.terms.shape))
    assert totals.sizes.tolist() == groups.size().tolist()
    assert totals.rows == len(terms)


@given(rows())
def test_shards_add_up_to_the_whole_with_customers_in_several_of_them(
    case: tuple[Floats, NDArray[np.uint64], list[slice]],
) -> None:
    terms, keys, shards = case
    whole = Totals.of(terms, keys)
    parts = [Totals.of(terms[shard], keys[shard]) for shard in shards]
    for found in (Totals.join(parts), reduce(add, parts)):
        assert found.keys is not None
        assert whole.keys is not None
        assert found.keys.tolist() == whole.keys.tolist()
        assert found.terms == pytest.approx(whole.terms, abs=1e-12)
        assert found.sizes.tolist() == whole.sizes.tolist()


@given(rows())
def test_rows_without_customers_are_each_one_of_its_own(case: tuple[Floats, NDArray[np.uint64], list[slice]]) -> None:
    terms, _, shards = case
    found = Totals.join([Totals.of(terms[shard], None) for shard in shards])
    assert found.keys is None
    assert (found.terms == terms).all()
    assert (found.sizes == 1.0).all()


@given(rows())
def test_moments_are_numpys_and_add_up(case: tuple[Floats, NDArray[np.uint64], list[slice]]) -> None:
    terms, keys, shards = case
    totals = Totals.of(terms, keys)
    columns = np.column_stack([totals.sizes, totals.terms])
    by_shard = [Moments.of(terms[shard]) for shard in shards]
    for moments, expected in (
        (totals.moments(), columns),
        (reduce(add, by_shard), np.column_stack([np.ones(len(terms)), terms])),
    ):
        assert moments.rows == len(terms)
        assert moments.customers == len(expected)
        assert moments.most == (expected[:, 0].max() if len(expected) else 0)
        assert moments.sums == pytest.approx(expected.sum(axis=0), abs=1e-9)
        if len(expected) > 1:
            assert moments.scatter / (len(expected) - 1) == pytest.approx(covariance(expected), abs=1e-9)
            assert moments.lowest.tolist() == expected[:, 1:].min(axis=0).tolist()
            assert moments.highest.tolist() == expected[:, 1:].max(axis=0).tolist()


def test_moments_of_more_rows_than_a_block_are_numpys() -> None:
    terms = np.random.default_rng(1).normal(3.0, 2.0, (150_000, 2))
    moments = Moments.of(terms)
    assert moments.scatter[1:, 1:] / 149_999 == pytest.approx(np.cov(terms.T), rel=1e-12)


def test_the_scatter_of_large_numbers_keeps_the_digits_that_matter() -> None:
    """Sums of squares of numbers near 1e9 would leave nothing of a variance of 1."""
    terms = 1e9 + np.random.default_rng(2).normal(0.0, 1.0, (10_000, 1))
    moments = Moments.of(terms[:3_000]) + Moments.of(terms[3_000:])
    assert moments.scatter[1, 1] / 9_999 == pytest.approx(np.var(terms, ddof=1), rel=1e-6)
    # Of the sum of all terms: its gradient is 1, its variance G times that of one.
    assert moments.variance(np.array([0.0, 1.0])) == pytest.approx(10_000 * np.var(terms, ddof=1), rel=1e-6)


@pytest.mark.parametrize("reward", [0.1, 1 / 3, 1e9 / 7])
def test_where_no_customer_differs_from_another_the_variance_is_zero_and_not_a_rounding_error(reward: float) -> None:
    weight = np.random.default_rng(3).exponential(1.0, 5_000)
    alike = Moments.of(np.full((5_000, 1), reward))
    assert alike.variance(np.array([-reward / 5_000, 1 / 5_000])) == 0.0
    moments = Moments.of(np.column_stack([weight * reward, weight]))
    total = moments.sums[2]
    assert moments.variance(np.array([0.0, 1 / total, -reward / total])) == 0.0


def test_one_customer_has_no_variance() -> None:
    assert np.isnan(Totals.of(np.ones((3, 1)), np.zeros(3, np.uint64)).moments().variance(np.array([0.0, 1.0])))


@given(rows(), st.data())
def test_taking_terms_and_making_moments_commute(
    case: tuple[Floats, NDArray[np.uint64], list[slice]], data: st.DataObject
) -> None:
    terms, keys, _ = case
    chosen = data.draw(st.lists(st.integers(0, terms.shape[1] - 1), min_size=1, unique=True))
    totals = Totals.of(terms, keys)
    one, other = totals.take(chosen).moments(), totals.moments().take(chosen)
    assert one.sums == pytest.approx(other.sums)
    assert one.scatter == pytest.approx(other.scatter, abs=1e-9)
    assert (one.lowest.tolist(), one.most) == (other.lowest.tolist(), other.most)


def test_shards_with_and_without_customers_are_not_added() -> None:
    with pytest.raises(ValueError, match="whose their rows are"):
        Totals.of(np.ones((1, 1)), None) + Totals.of(np.ones((1, 1)), np.ones(1, np.uint64))


def test_terms_stand_beside_others_of_the_same_rows_only() -> None:
    keys = np.array([4, 2, 4], np.uint64)
    one, other = Totals.of(np.array([[1.0], [2.0], [4.0]]), keys), Totals.of(np.array([[8.0], [16.0], [32.0]]), keys)
    assert one.beside(other).terms.tolist() == [[2.0, 16.0], [5.0, 40.0]]
    for stranger in (Totals.of(np.ones((3, 1)), np.array([4, 3, 4], np.uint64)), Totals.of(np.ones((2, 1)), None)):
        with pytest.raises(ValueError, match="the same rows"):
            one.beside(stranger)
