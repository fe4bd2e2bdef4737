from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.preprocessing import StandardScaler

from optimizer.campaign import CampaignFile
from optimizer.standardisation import CLIP
from simulator.learners.encoding import Encoder
from simulator.learners.playing import customers, picked
from tests.simulator.learners.learned import SINGLE, people

if TYPE_CHECKING:
    from numpy.typing import NDArray


def test_what_was_learned_is_standardised_as_scikit_learn_does() -> None:
    past, asked = people(SINGLE, 200, 1), people(SINGLE, 50, 2)
    encoder = Encoder(SINGLE, pairs=False)
    encoder.learn(past)
    names = ("x0", "x1", "x2")
    theirs = StandardScaler().fit(np.stack([past.context[name] for name in names], axis=1))
    expected = theirs.transform(np.stack([asked.context[name] for name in names], axis=1)).clip(-CLIP, CLIP)
    # Values nearer to 0 than .001 are 0, and numbers have single precision.
    np.testing.assert_allclose(encoder.apply(asked)[:, 1:4], expected, atol=1.1e-3)


def test_levels_take_columns_in_the_order_in_which_they_come() -> None:
    def asked(towns: list[str], plans: list[str]) -> NDArray[np.float64]:
        context: dict[str, Any] = {"town": np.array(towns, object), "plan": np.array(plans, object)}
        return encoder.learn(customers(context, len(towns), people(SINGLE, 1, 1).schedules))[:, 4:]

    encoder = Encoder(SINGLE, pairs=False)
    np.testing.assert_array_equal(asked(["z", "a"], ["p", "p"]), [[1, 0, 1], [0, 1, 1]])
    np.testing.assert_array_equal(asked(["b", "z"], ["p", "o"]), [[0, 0, 1, 1, 0], [1, 0, 0, 0, 1]])
    encoder = Encoder(SINGLE, pairs=True)
    np.testing.assert_array_equal(asked(["z", "z"], ["p", "o"]), [[1, 1, 0, 1, 0], [1, 0, 1, 0, 1]])


def test_what_was_not_learned_is_nothing() -> None:
    encoder = Encoder(SINGLE, pairs=True)
    encoder.learn(people(SINGLE, 20, 1, towns=1))
    width = encoder.width
    strange = people(SINGLE, 10, 2, towns=50)
    x = encoder.apply(strange)
    assert x.shape == (10, width)
    known = strange.context["town"] == "t0"
    assert (x[~known, 4] == 0.0).all()


def test_learning_in_parts_is_learning_at_once_but_for_the_order_of_columns() -> None:
    batch = people(SINGLE, 60, 3, towns=5)
    parts, whole = Encoder(SINGLE, pairs=True), Encoder(SINGLE, pairs=True)
    cut = np.array_split(np.arange(60), 7)
    seen = [parts.learn(picked(batch, rows)) for rows in cut]
    x = whole.learn(batch)
    assert parts.width == whole.width
    for rows, part in zip(cut, seen, strict=True):
        np.testing.assert_allclose(x[rows] @ x[rows].T, part @ part.T, atol=1e-12)
    asked = people(SINGLE, 40, 4, towns=6)
    np.testing.assert_allclose(whole.apply(asked) @ whole.apply(asked).T, parts.apply(asked) @ parts.apply(asked).T)


def test_a_missing_number_has_its_flag_and_a_scale_is_applied() -> None:
    data = SINGLE.model_dump(mode="json", by_alias=True)
    data["features"] = [{"name": "x0", "bucket": "customer", "type": "number", "missing": "flag", "scale": "log"}]
    encoder = Encoder(CampaignFile.model_validate(data), pairs=False)
    context: dict[str, Any] = {"x0": np.array([0.0, np.nan, np.e - 1.0])}
    encoder.learn(customers(context, 3, people(SINGLE, 1, 1).schedules))
    x = encoder.apply(customers(context, 3, people(SINGLE, 1, 1).schedules))
    np.testing.assert_allclose(x, [[1, -1, 0], [1, 0, 1], [1, 1, 0]], atol=1e-6)
