"""Logs are taken apart, put together and looked at as a campaign sees them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optimizer.evaluation.log import Log, customer_keys


def log(n: int = 4, **more: object) -> Log:
    rows = np.arange(n)
    return Log(arms=("a", "b"), chosen=rows % 2, propensity=np.full(n, 0.5), reward=rows.astype(float), **more)  # type: ignore[arg-type]


def test_chunks_joined_are_the_log_that_was_taken_apart() -> None:
    whole = log(5, customer=customer_keys(list("vwxyz")), context={"age": np.arange(5.0)})
    again = Log.join([whole.take(slice(0, 2)), whole.take(np.array([2])), whole.take(whole.reward > 2)])
    assert again.reward.tolist() == whole.reward.tolist()
    assert again.context["age"].tolist() == whole.context["age"].tolist()
    assert again.customer is not None
    assert again.customer.tolist() == customer_keys(list("vwxyz")).tolist()


def test_arms_that_a_later_chunk_knows_were_no_candidates_before() -> None:
    later = Log(arms=("a", "b", "c"), chosen=np.array([2]), propensity=np.array([1 / 3]), reward=np.zeros(1))
    whole = Log.join([log(2), later])
    assert whole.arms == ("a", "b", "c")
    assert whole.candidates.tolist() == [[True, True, False], [True, True, False], [True, True, True]]
    with pytest.raises(ValueError, match="after those that it has"):
        later.over(("a", "b"))


def test_a_column_that_a_chunk_does_not_have_is_missing_there() -> None:
    one = Log(arms=("a",), chosen=np.zeros(1, np.intp), propensity=np.ones(1), reward=np.zeros(1))
    first = replace(one, context={"age": np.array([30.0])})
    second = replace(one, context={"plan": np.array(["gold"], np.object_)}, history={"touches": np.array([[1.0, 2.0]])})
    log = Log.join([first, second])
    np.testing.assert_equal(log.context["age"], [30.0, np.nan])
    assert log.context["plan"].tolist() == [None, "gold"]
    np.testing.assert_equal(log.history["touches"], [[np.nan, np.nan], [1.0, 2.0]])


def test_history_by_channel_is_stacked_in_the_order_asked_for() -> None:
    name = "hours_since_last_touch_on_channel"
    history = {f"{name}.push": np.arange(4.0), f"{name}.sms": -np.arange(4.0), "touches_7d": np.ones(4)}
    seen = log(history=history).history_for(("sms", "fax", "push"))
    assert set(seen) == {name, "touches_7d"}
    np.testing.assert_array_equal(seen[name][3], [-3.0, np.nan, 3.0])
    assert set(log(history=history).history_for(("fax",))) == {"touches_7d"}
    assert log().history_for(("push",)) == {}
