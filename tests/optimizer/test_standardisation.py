from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from optimizer.standardisation import CLIP, SMALLEST, RunningMedian, Standardiser

if TYPE_CHECKING:
    from numpy.typing import NDArray

values = st.floats(-1e6, 1e6, allow_subnormal=False)
streams = nps.arrays(
    np.float64, st.tuples(st.integers(0, 25), st.integers(1, 4)), elements=values | st.just(float("nan"))
)


@given(streams)
def test_mean_and_variance_are_those_of_the_rows_so_far(raw: NDArray[np.float64]) -> None:
    standardiser = Standardiser(raw.shape[1])
    for i in range(len(raw)):
        standardiser.learn(raw[i : i + 1])
        for d in range(raw.shape[1]):
            present = raw[: i + 1, d][~np.isnan(raw[: i + 1, d])]
            assert standardiser.count[d] == len(present)
            if len(present):
                scale = max(1.0, float(np.abs(present).max()))
                assert standardiser.mean[d] == pytest.approx(present.mean(), abs=1e-9 * scale)
                assert standardiser.m2[d] == pytest.approx(present.var() * len(present), rel=1e-6, abs=1e-9 * scale**2)


@given(streams, st.integers(0, 3))
def test_a_row_is_standardised_by_the_rows_so_far_with_itself(raw: NDArray[np.float64], median: int) -> None:
    medians = [median] if median < raw.shape[1] else []
    standardised = Standardiser(raw.shape[1], medians).learn(raw)
    assert standardised.dtype == np.float32
    again = Standardiser(raw.shape[1], medians)
    for i in range(len(raw)):
        again.learn(raw[i : i + 1])
        applied = again.apply(raw[i : i + 1], np.arange(raw.shape[1]))[0]
        assert (standardised[i] == applied).all()


@given(streams, st.data())
def test_rows_in_pieces_leave_the_same_state_to_the_last_bit(raw: NDArray[np.float64], data: st.DataObject) -> None:
    whole, pieces = Standardiser(raw.shape[1], [0]), Standardiser(raw.shape[1], [0])
    expected = whole.learn(raw)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    parts = []
    for part in np.split(raw, cuts):
        parts.append(pieces.learn(part))
        pieces = Standardiser.restore(orjson.loads(orjson.dumps(pieces.state())))
    assert (np.concatenate(parts) == expected).all()
    assert pieces.state() == whole.state()


def test_standardising_by_hand() -> None:
    z = Standardiser(1).learn(np.array([[2.0], [4.0], [np.nan], [9.0]]))[:, 0]
    expected = [0.0, 1.0, 0.0, (9 - 5) / np.sqrt(26 / 3)]
    assert z == pytest.approx(expected)


def test_a_constant_number_is_zero() -> None:
    assert not Standardiser(1).learn(np.full((9, 1), 7.25)).any()


@pytest.mark.parametrize("size", [1e-156, 1e-120, 1e100])
def test_numbers_of_any_size_are_standardised_to_numbers(size: float) -> None:
    standardiser = Standardiser(1, [0])
    assert np.isfinite(standardiser.learn(np.array([[size], [-size], [0.0], [np.nan], [size]]))).all()
    assert np.isfinite(standardiser.apply(np.array([[1e100], [0.0], [np.nan]]), np.array([0]))).all()


def test_what_is_far_out_is_clipped() -> None:
    standardiser = Standardiser(1)
    standardiser.learn(np.array([[-1.0], [1.0]]))
    assert standardiser.apply(np.array([[1e9], [-1e9], [np.nan]]), np.array([0]))[:, 0].tolist() == [CLIP, -CLIP, 0.0]


def test_a_missing_number_takes_the_mean_or_where_asked_the_median() -> None:
    standardiser = Standardiser(2, [1])
    rows = np.array([[0.0], [1.0], [11.0]])
    standardiser.learn(np.hstack([rows, rows]))
    z = standardiser.apply(np.array([[np.nan, np.nan]]), np.array([0, 1]))[0]
    deviation = rows.std()
    assert z == pytest.approx([0.0, (1.0 - 4.0) / deviation])


def test_rounding_errors_are_no_deviations() -> None:
    z = Standardiser(1).learn(np.array([[0.3], [1.1], [(0.3 + 1.1) / 2]]))
    assert z[2, 0] == 0.0
    standardiser = Standardiser(1)
    standardiser.learn(np.array([[-1.0], [1.0]]))
    near = np.array([[-SMALLEST], [0.99 * SMALLEST], [-1e-16], [SMALLEST]])
    assert standardiser.apply(near, np.array([0]))[:, 0] == pytest.approx(
        [-SMALLEST, 0.0, 0.0, SMALLEST], abs=0.0, rel=1e-6
    )


def test_columns_of_one_feature_share_its_statistics() -> None:
    standardiser = Standardiser(2)
    standardiser.learn(np.array([[0.0, 5.0], [2.0, 9.0]]))
    z = standardiser.apply(np.array([[2.0, 0.0, 9.0]]), np.array([0, 0, 1]))
    assert z.tolist() == [[1.0, -1.0, 1.0]]


@given(st.lists(values, max_size=5))
def test_the_median_of_up_to_five_values_is_exact(stream: list[float]) -> None:
    median = RunningMedian()
    for x in stream:
        median.add(x)
    assert median.value == (np.median(stream) if stream else 0.0)


@pytest.mark.parametrize("kind", ["normal", "lognormal", "uniform", "sorted", "reversed"])
def test_the_running_median_comes_close_to_the_median(kind: str) -> None:
    rng = np.random.default_rng(7)
    stream = {
        "normal": rng.normal(3, 2, 4000),
        "lognormal": rng.lognormal(0, 1, 4000),
        "uniform": rng.random(4000),
        "sorted": np.sort(rng.normal(size=4000)),
        "reversed": np.sort(rng.normal(size=4000))[::-1],
    }[kind]
    median = RunningMedian()
    for x in stream.tolist():
        median.add(x)
    rank = np.mean(stream < median.value), np.mean(stream <= median.value)
    slack = 0.1 if kind in {"sorted", "reversed"} else 0.03
    assert rank[0] - slack <= 0.5 <= rank[1] + slack


def test_the_running_median_of_whole_numbers_comes_close_to_it() -> None:
    median = RunningMedian()
    for x in np.random.default_rng(8).poisson(4.0, 4000).tolist():
        median.add(x)
    assert median.value == pytest.approx(4.0, abs=0.25)


@given(st.lists(values, min_size=1, max_size=60))
def test_the_running_median_stays_within_what_it_has_seen(stream: list[float]) -> None:
    median = RunningMedian()
    for i, x in enumerate(stream):
        median.add(x)
        assert min(stream[: i + 1]) <= median.value <= max(stream[: i + 1])


@given(st.lists(values, max_size=40), st.lists(values, max_size=40))
def test_a_restored_median_goes_on_as_if_nothing_had_happened(before: list[float], after: list[float]) -> None:
    whole, first = RunningMedian(), RunningMedian()
    for x in before:
        whole.add(x)
        first.add(x)
    second = RunningMedian(**orjson.loads(orjson.dumps(first.state())))
    for x in after:
        whole.add(x)
        second.add(x)
    assert second.state() == whole.state()
