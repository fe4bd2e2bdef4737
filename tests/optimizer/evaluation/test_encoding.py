from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from optimizer.evaluation.encoding import LEVELS, Encoding
from optimizer.evaluation.log import Log


def log_of(**context: object) -> Log:
    columns = {name: np.asarray(column) for name, column in context.items()}
    n = len(next(iter(columns.values())))
    return Log(arms=("a",), chosen=np.zeros(n, np.intp), propensity=np.ones(n), reward=np.zeros(n), context=columns)


def objects(*values: object) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def test_numbers_and_categories_are_as_scikit_learn_has_them() -> None:
    rng = np.random.default_rng(1)
    number, channel = rng.normal(3, 2, 200), rng.choice(["email", "sms", "push"], 200).astype(object)
    found = Encoding.fit(log := log_of(number=number, channel=channel)).matrix(log)
    expected = np.hstack(
        [
            StandardScaler().fit_transform(number[:, None]),
            OneHotEncoder(sparse_output=False).fit_transform(channel[:, None]),
        ]
    )
    assert found == pytest.approx(expected)


def test_what_is_missing_or_unknown_is_nothing() -> None:
    encoding = Encoding.fit(log_of(n=[1.0, np.nan, 3.0], c=objects("x", None, "y"), many=objects(("p", "q"), (), None)))
    later = encoding.matrix(log_of(n=[np.nan, 5.0], c=objects("z", "y"), many=objects(("q", "r"), ("p",))))
    # The mean of 1 and 3 is 2, their standard deviation 1.
    np.testing.assert_array_equal(later, [[0, 0, 0, 0, 1], [3, 0, 1, 1, 0]])
    assert not encoding.matrix(log_of(n=[2.0])).any()


def test_a_number_that_never_varies_or_is_far_out_does_no_harm() -> None:
    encoding = Encoding.fit(log_of(same=[4.0, 4.0], far=[0.0, 1.0]))
    found = encoding.matrix(log_of(same=[4.0, 5.0, np.inf], far=[1e300, -np.inf, 0.5]))
    np.testing.assert_array_equal(found, [[0, 5], [1, -5], [5, 0]])


def test_a_history_of_several_channels_is_a_column_for_each() -> None:
    log = log_of(n=[1.0, 3.0])
    log.history.update({"hours": np.array([[1.0, np.nan], [3.0, 7.0]])})  # type: ignore[attr-defined]
    np.testing.assert_array_equal(Encoding.fit(log).matrix(log), [[-1, -1, 0], [1, 1, 0]])


def test_each_position_has_a_column() -> None:
    one = log_of(n=[0.0, 0.0, 0.0])
    log = replace(one, position=np.array([0, 2, 1]))
    encoding = Encoding.fit(log)
    np.testing.assert_array_equal(encoding.matrix(log)[:, 1:], [[1, 0, 0], [0, 0, 1], [0, 1, 0]])
    assert not encoding.matrix(one).any()
    np.testing.assert_array_equal(
        encoding.matrix(replace(log, position=np.array([3, 1, 9])))[:, 1:].sum(axis=0), [0, 1, 0]
    )


def test_only_the_most_frequent_categories_have_a_column() -> None:
    values = [f"c{i:04}" for i in range(LEVELS + 50) for _ in range(1 + (i >= 50))]
    encoding = Encoding.fit(log_of(c=objects(*values)))
    assert encoding.width == LEVELS
    assert not encoding.matrix(log_of(c=objects("c0001"))).any()
    assert encoding.matrix(log_of(c=objects("c0050"))).sum() == 1
