"""The confidence sequence: its numbers by enumeration, its wealth by integration, its ends against vw-estimators."""

from __future__ import annotations

import os
from itertools import pairwise
from math import exp, log
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from estimators.bandits import cs
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special

from optimizer.errors import InvalidInput
from optimizer.evaluation.log import Log
from optimizer.evaluation.policies import Table
from optimizer.evaluation.sequence import RHO, ConfidenceSequence, Numbers, doubly_robust, log_wealth, weighted
from optimizer.evaluation.weights import Weights

if TYPE_CHECKING:
    from optimizer.evaluation.totals import Floats

SHARED = Path(os.environ.get("SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
SEEDS = st.integers(0, 2**32)
SLACKS = st.sampled_from([0.0, 0.3, 2.0])


def every_arm(seed: int) -> tuple[Log, Floats, Floats, Floats, Floats]:
    """One decision once with each of its arms, with two policies, predictions, and the arms' rewards from -2 to 3."""
    random = np.random.default_rng(seed)
    k = 4
    distribution = random.dirichlet(np.ones(k))
    one, other = random.dirichlet(np.ones(k), 2)
    one[random.integers(k)] = 0.0
    one /= one.sum()
    rewards = random.uniform(-2.0, 3.0, k)
    log_of_all = Log(
        arms=tuple("abcd"),
        chosen=np.arange(k),
        propensity=distribution,
        reward=rewards,
        distribution=np.tile(distribution, (k, 1)),
    )
    return (
        log_of_all,
        np.tile(one, (k, 1)),
        np.tile(other, (k, 1)),
        random.uniform(-3.0, 4.0, (1, k)).repeat(k, 0),
        rewards,
    )


@given(SEEDS, SLACKS)
def test_over_all_draws_the_numbers_have_the_policys_value_and_are_bounded_from_below(seed: int, slack: float) -> None:
    decision, target, _, predictions, rewards = every_arm(seed)
    value = (float(target[0] @ rewards) + 2.0) / 5.0
    for numbers in (
        weighted(decision, target, (-2.0, 3.0)),
        doubly_robust(decision, target, predictions, (-2.0, 3.0), slack),
    ):
        assert decision.propensity @ numbers.y == pytest.approx([value, 1.0 - value])
        assert (numbers.y >= -numbers.slack - 1e-12).all()


@given(SEEDS, SLACKS)
def test_over_all_draws_the_numbers_of_a_difference_have_the_difference(seed: int, slack: float) -> None:
    decision, one, other, predictions, rewards = every_arm(seed)
    value = float((one[0] - other[0]) @ rewards)
    bounds = (-2.0, 3.0)
    for numbers in (
        weighted(decision, one, bounds).less(weighted(decision, other, bounds)),
        doubly_robust(decision, one, predictions, bounds, slack).less(
            doubly_robust(decision, other, predictions, bounds, slack)
        ),
    ):
        assert (numbers.low, numbers.high) == (-5.0, 5.0)
        scaled = (value + 5.0) / 10.0
        assert decision.propensity @ numbers.y == pytest.approx([scaled, 1.0 - scaled])
        assert (numbers.y >= -numbers.slack - 1e-12).all()


def test_without_slack_a_model_changes_nothing() -> None:
    decision, target, _, predictions, _ = every_arm(1)
    plain, robust = (
        weighted(decision, target, (-2.0, 3.0)),
        doubly_robust(decision, target, predictions, (-2.0, 3.0), 0),
    )
    assert robust.y == pytest.approx(plain.y)


@given(st.floats(0.01, 60.0), st.floats(0.0, 300.0))
def test_the_wealth_is_the_integral_over_the_gamma_density(s: float, v: float) -> None:
    level = RHO**RHO / (special.gamma(RHO) * special.gammainc(RHO, RHO))
    # In b = 1 - a, so that the density is plain to see; scaled by the integrand's largest value.
    b = np.linspace(1e-9, 1.0, 20_001)
    exponent = (RHO - 1.0) * np.log(b) - RHO * b + (1.0 - b) * s - v * (-np.log(b) - (1.0 - b))
    integral = integrate.simpson(np.exp(exponent - exponent.max()), x=b)
    assert float(log_wealth(np.asarray(s), np.asarray(v))) == pytest.approx(
        log(level * integral) + exponent.max(), abs=2e-3
    )


def test_without_rows_the_wealth_is_one_and_it_grows_with_what_is_above_the_mean() -> None:
    small = np.array([1e-9, 1.0, 2.0, 5.0])
    wealth = log_wealth(small, np.full(4, 0.5))
    assert (np.diff(wealth) > 0.0).all()
    assert exp(float(log_wealth(np.asarray(1e-12), np.asarray(0.0)))) == pytest.approx(1.0)
    assert log_wealth(np.array([-1.0]), np.array([3.0])).tolist() == [0.0]


def sequence(weight: Floats, reward: Floats, bounds: tuple[float, float] = (0.0, 1.0)) -> ConfidenceSequence:
    r = (reward - bounds[0]) / (bounds[1] - bounds[0])
    y = np.column_stack([weight * r, weight * (1.0 - r)])
    return ConfidenceSequence.of(Numbers(y=y, low=bounds[0], high=bounds[1]))


def vw(weight: Floats, reward: Floats, confidence: float) -> list[float]:
    theirs = cs.IntervalImpl(adjust=False)
    for w, r in zip(weight.tolist(), reward.tolist(), strict=True):
        theirs.add(w, r, 0, 0)
    ends: list[float] = theirs.get(1.0 - confidence)
    return ends


@given(SEEDS, st.integers(1, 300), st.sampled_from([0.5, 0.95]))
def test_the_ends_are_vw_estimators_where_their_guess_stays_within_the_bounds(
    seed: int, n: int, confidence: float
) -> None:
    """Beyond 1 theirs goes on guessing, for which there is no proof; such weights do not occur here."""
    random = np.random.default_rng(seed)
    weight, reward = random.uniform(0.3, 1.0, n), random.binomial(1, 0.3, n) * random.uniform(0.2, 0.9, n)
    assert sequence(weight, reward).ends(confidence) == pytest.approx(vw(weight, reward, confidence), abs=1e-7)


@given(SEEDS, st.lists(st.integers(0, 80), max_size=4), SLACKS)
def test_it_goes_on_from_chunk_to_chunk(seed: int, cuts: list[int], slack: float) -> None:
    random = np.random.default_rng(seed)
    y = random.exponential(0.5, (80, 2)) - slack
    edges = [0, *sorted(cuts), 80]
    parts = [Numbers(y=y[a:b], low=-1.0, high=4.0, slack=slack) for a, b in pairwise(edges)]
    whole, found = ConfidenceSequence.of(Numbers(y=y, low=-1.0, high=4.0, slack=slack)), ConfidenceSequence.of(parts[0])
    for part in parts[1:]:
        found = found.after(part)
    assert found.n == 80
    assert (*found.x, *found.squares) == pytest.approx((*whole.x, *whole.squares))
    assert found.ends() == pytest.approx(whole.ends(), abs=1e-9)


@given(SEEDS, SLACKS)
def test_an_end_is_where_the_wealth_reaches_the_error(seed: int, slack: float) -> None:
    random = np.random.default_rng(seed)
    numbers = Numbers(y=random.uniform(-slack, 1.0, (400, 2)), low=2.0, high=7.0, slack=slack)
    first, last = (
        Numbers(y=numbers.y[rows], low=2.0, high=7.0, slack=slack) for rows in (slice(0, 399), slice(399, 400))
    )
    before = ConfidenceSequence.of(first)
    low, high = before.after(last).ends(0.9)
    for side, end in enumerate((low, high)):
        if 2.0 < end < 7.0:
            assert before.reached(last, np.array([end]))[0, side] == pytest.approx(log(1 / 0.05), abs=1e-6)


def test_the_interval_becomes_narrow_and_holds_the_value() -> None:
    random = np.random.default_rng(3)
    chosen = random.integers(0, 2, 20_000)
    rows = Log(
        arms=("a", "b"),
        chosen=chosen,
        propensity=np.full(20_000, 0.5),
        reward=random.binomial(1, np.where(chosen == 1, 0.3, 0.1)).astype(float),
        distribution=np.full((20_000, 2), 0.5),
    )
    target, model = np.tile([0.0, 1.0], (20_000, 1)), np.tile([0.1, 0.3], (20_000, 1))
    bounds = (0.0, 1.0)
    for numbers, width in ((weighted(rows, target, bounds), 0.08), (doubly_robust(rows, target, model, bounds), 0.06)):
        found = ConfidenceSequence.of(numbers)
        low, high = found.ends()
        assert low < 0.3 < high
        assert low < found.value < high
        assert high - low < width
    uniform = np.full((20_000, 2), 0.5)
    low, high = ConfidenceSequence.of(weighted(rows, target, bounds).less(weighted(rows, uniform, bounds))).ends()
    assert 0.0 < low < 0.1 < high < 0.2


def test_a_row_of_a_report() -> None:
    random = np.random.default_rng(4)
    weight, reward = random.uniform(0.5, 1.5, 300), random.binomial(1, 0.3, 300).astype(float)
    found = sequence(weight, reward)
    row = found.row("p", Weights.of(weight), 120, 0.9)
    assert (row.low, row.high) == found.ends(0.9)
    assert row.value == pytest.approx((weight * reward).mean())
    assert (row.policy, row.estimator, row.interval) == ("p", "ips", "confidence sequence")
    assert (row.rows, row.customers, row.confidence) == (300, 120, 0.9)


def test_before_the_first_row_every_value_is_possible() -> None:
    nothing = ConfidenceSequence(low=-1.0, high=2.0)
    assert nothing.ends() == (-1.0, 2.0)
    assert np.isnan(nothing.value)


def test_what_cannot_be_is_said() -> None:
    decision, target, _, predictions, _ = every_arm(2)
    with pytest.raises(InvalidInput, match=r"rewards between 0 and 0\.01"):
        weighted(decision, target, (0.0, 0.01))
    blind = Log(arms=decision.arms, chosen=decision.chosen, propensity=decision.propensity, reward=decision.reward)
    with pytest.raises(InvalidInput, match="whole distribution"):
        doubly_robust(blind, target, predictions, (-2.0, 3.0))
    with pytest.raises(ValueError, match="same bounds"):
        ConfidenceSequence(low=0.0, high=1.0).after(weighted(decision, target, (-2.0, 3.0)))


@pytest.mark.skipif(not (SHARED / "obd").exists(), reason="the Open Bandit sample is not there: set SHARED_DATA")
def test_on_the_open_bandit_sample_it_is_about_as_wide_as_that_of_vw_estimators() -> None:
    """Their published ends are [0, .1412]; ours keep the guess within the bounds, which changes the first rows."""
    import polars as pl  # noqa: PLC0415 - only here

    frame = pl.read_csv(SHARED / "obd" / "random_all.csv.gz").sort("timestamp", maintain_order=True)
    rows = Log(
        arms=tuple(map(str, range(80))),
        chosen=frame["item_id"].to_numpy(),
        propensity=frame["propensity_score"].to_numpy(),
        reward=frame["click"].to_numpy().astype(np.float64),
        position=frame["position"].to_numpy() - 1,
    )
    target = Table("thompson", np.load(SHARED / "obd" / "bts_action_dist_all.npy").reshape(80, 3)).probabilities(rows)
    numbers = weighted(rows, target, (0.0, 1.0))
    theirs = vw(numbers.y.sum(axis=1), rows.reward, 0.95)
    assert theirs == pytest.approx([0.0, 0.1412], abs=5e-5)
    assert ConfidenceSequence.of(numbers).ends() == pytest.approx(theirs, abs=2e-3)
