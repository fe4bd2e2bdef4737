"""Shares and means of a simulation, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from optimizer.history import DAY_US
from simulator.estimates import Mean
from simulator.measured import Measured
from simulator.results import Observed, Setting, summarise

SETTING = Setting("c", "hash", 1, 4, 8)


def measured() -> Measured:
    """Two treated customers and one in control, on days 0 and 6; the oracle gets .5 everywhere and chance .1."""
    return Measured(
        decided_us=np.array([5, 5, 5, 6 * DAY_US + 5, 6 * DAY_US + 5, 6 * DAY_US + 5]),
        group=np.array(["treatment", "treatment", "random_control"] * 2),
        chosen=np.array([0.1, 0.3, 0.5, 0.5, 0.4, 0.1]),
        best=np.full(6, 0.5),
        uniform=np.full(6, 0.1),
    )


def observed() -> Observed:
    nan = float("nan")
    return Observed(
        subject=np.array([0, 1, 2, 0, 1, 2]),
        reward=np.array([0.0, 1.0, 0.0, 1.0, nan, 1.0]),
        sent=np.array([True, True, False, True, False, True]),
    )


def test_the_gap_closed_is_what_was_gained_over_chance_as_a_share_of_what_could_be_gained() -> None:
    # Treatment: gained 0 + .2 on the first day and .4 + .3 on the last, of .4 each.
    result = summarise(SETTING, measured(), observed())
    assert result.gap_closed == pytest.approx(0.9 / 1.6)
    assert result.gap_closed_last_days == pytest.approx(0.7 / 0.8)


def test_the_gap_is_open_where_the_best_is_chance_and_negative_where_worse_is_chosen() -> None:
    part = measured()
    assert Measured(part.decided_us, part.group, part.chosen, part.uniform, part.uniform).gap_closed is None
    worse = Measured(part.decided_us, part.group, part.chosen - 0.4, part.best, part.uniform)
    assert worse.gap_closed == pytest.approx((1.9 - 2.4 - 0.6) / 2.4)
    assert part.where(part.group == "holdout").gap_closed is None


def test_each_group_has_its_decisions_touches_rewards_and_share_of_the_oracle() -> None:
    treatment, control = summarise(SETTING, measured(), observed()).groups
    assert (treatment.group, treatment.decisions, treatment.touches_sent) == ("treatment", 4, 3)
    assert treatment.oracle_share == pytest.approx(1.3 / 2.0)
    # Three rewards are closed: customer 0 has one of two, customer 1 one of one.
    assert treatment.reward == Mean.of_clusters(np.array([1.0, 1.0]), np.array([2.0, 1.0]))
    assert treatment.reward.n == 3
    assert (control.group, control.decisions, control.touches_sent) == ("random_control", 2, 1)
    assert (control.reward.n, control.reward.mean) == (2, 0.5)


def test_the_curve_has_a_point_for_each_group_and_day_with_decisions() -> None:
    curve = summarise(SETTING, measured(), observed()).curve
    assert [(point.group, point.day, point.decisions) for point in curve] == [
        ("treatment", 0, 2),
        ("treatment", 6, 2),
        ("random_control", 0, 1),
        ("random_control", 6, 1),
    ]
    assert [point.gap_closed for point in curve] == pytest.approx([0.25, 0.875, 1.0, 0.0])
    assert curve[1].expected == pytest.approx(0.45)
    assert curve[1].oracle == pytest.approx(0.5)
    assert curve[1].uniform == pytest.approx(0.1)
    assert curve[1].reward == Mean(1, 1.0, None, None)


def test_parts_are_put_together_in_order() -> None:
    whole = measured()
    parts = [whole.where(np.arange(6) < 2), whole.where(np.arange(6) >= 2)]
    joined = Measured.concatenate(parts)
    assert len(joined) == 6
    assert joined.group.tolist() == whole.group.tolist()
    np.testing.assert_array_equal(joined.chosen, whole.chosen)


def test_the_result_is_json_with_null_for_what_is_not_known() -> None:
    found = json.loads(summarise(SETTING, measured(), observed()).dumps())
    assert found["setting"] == {"campaign_id": "c", "config_hash": "hash", "seed": 1, "customers": 4, "days": 8}
    assert found["curve"][1]["reward"] == {"n": 1, "mean": 1.0, "low": None, "high": None}
    assert found["gap_closed"] == pytest.approx(0.5625)
