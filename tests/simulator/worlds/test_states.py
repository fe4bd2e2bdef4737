"""Histories under uniformly random arms look as they must."""

from __future__ import annotations

import numpy as np

from simulator.worlds.states import uniform_histories


def test_at_the_first_run_nobody_has_been_touched() -> None:
    history = uniform_histories(100, np.random.default_rng(0), runs=1)
    assert (history["touches_7d"] == 0).all()
    assert np.isnan(history["hours_since_last_touch"]).all()
    assert np.isnan(history["hours_since_last_touch_on_channel"]).all()
    assert all(message is None for message in history["last_message"])


def test_features_agree_with_one_another() -> None:
    history = uniform_histories(5_000, np.random.default_rng(1))
    by_channel = np.nan_to_num(history["hours_since_last_touch_on_channel"], nan=np.inf)
    last = np.nan_to_num(history["hours_since_last_touch"], nan=np.inf)
    np.testing.assert_array_equal(by_channel.min(axis=1), last)
    never = np.isinf(last)
    np.testing.assert_array_equal(never, [message is None for message in history["last_message"]])
    assert (history["touches_7d"][never] == 0).all()
    assert ((history["touches_7d"] > 0) == (last <= 168)).all()


def test_a_decision_every_two_days_makes_three_touches_a_week_and_the_last_one_a_day_or_two_ago() -> None:
    history = uniform_histories(5_000, np.random.default_rng(2))
    assert np.median(history["touches_7d"]) == 3
    assert history["touches_7d"].max() <= 4
    last = history["hours_since_last_touch"]
    assert np.nanmin(last) > 24
    assert np.nanmedian(last) <= 48
