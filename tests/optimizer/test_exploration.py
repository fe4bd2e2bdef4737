from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from scipy import stats

from optimizer.exploration import (
    Exploration,
    campaign_key,
    draw,
    epsilon_greedy,
    mix_uniform,
    softmax,
    squarecb,
    uniform,
    uniforms,
)
from tests.optimizer.kernel import workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

FALSE_ALARM = 1e-9
"""The chance that a statistical test here would fail, with another seed, without a defect."""

EXPLORATIONS = st.one_of(
    st.builds(Exploration, st.just("squarecb"), st.floats(0, 1e6), st.floats(0, 1)),
    st.builds(Exploration, st.just("epsilon_greedy"), st.floats(0, 1), st.floats(0, 1)),
    st.builds(Exploration, st.just("softmax"), st.floats(1e-3, 1e3), st.floats(0, 1)),
    st.sampled_from([Exploration("greedy"), Exploration("uniform"), Exploration("fixed", arm=0)]),
)
COSTS = st.lists(st.floats(-2, 2, width=32).map(lambda x: round(x, 3)), min_size=1, max_size=9)


@st.composite
def scored(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores with many ties, and allowed arms, none at all in some rows."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 8)))
    values = st.sampled_from([0.0, 0.25, -1.0]) | st.floats(-100, 100, width=32)
    return draw(nps.arrays(np.float32, shape, elements=values)), draw(nps.arrays(np.bool_, shape))


def vowpal_wabbit(options: str, costs: NDArray[np.float32]) -> tuple[list[float], NDArray[np.float64]]:
    """Vowpal Wabbit's own distribution over arms of these costs (the weights of one feature each)."""
    vw = workspace(f"--cb_explore_adf {options}")
    space = vw.hash_space("a")
    for arm, cost in enumerate(costs.tolist()):
        vw.set_weight(vw.hash_feature(f"f{arm}", space), 0, cost)
    return vw.predict([f"|a f{arm}" for arm in range(len(costs))]), -costs[None, :].astype(np.float64)


def all_allowed(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.ones(scores.shape, np.bool_)


@given(COSTS, st.floats(0, 1, width=32))
def test_epsilon_greedy_is_vowpal_wabbits(costs: list[float], epsilon: float) -> None:
    expected, scores = vowpal_wabbit(f"--epsilon {epsilon:.9g}", np.array(costs, np.float32))
    assert epsilon_greedy(scores, all_allowed(scores), epsilon)[0] == pytest.approx(expected, abs=1e-6)


@given(COSTS, st.floats(0.125, 64, width=32))
def test_softmax_is_vowpal_wabbits(costs: list[float], scale: float) -> None:
    expected, scores = vowpal_wabbit(f"--softmax --lambda {scale:.9g}", np.array(costs, np.float32))
    assert softmax(scores, all_allowed(scores), scale)[0] == pytest.approx(expected, abs=2e-5)


@given(COSTS, st.floats(0, 10_000, width=32))
def test_squarecb_is_vowpal_wabbits_given_its_gamma(costs: list[float], gamma: float) -> None:
    options = f"--squarecb --gamma_scale {gamma:.9g} --gamma_exponent 0"
    expected, scores = vowpal_wabbit(options, np.array(costs, np.float32))
    assert squarecb(scores, all_allowed(scores), gamma)[0] == pytest.approx(expected, abs=2e-6)


def test_squarecb_by_hand() -> None:
    scores = np.array([[0.5, 0.25, 0.5, 0.0]])
    allowed = np.array([[False, True, True, True]])
    assert squarecb(scores, allowed, 4.0)[0] == pytest.approx([0.0, 1 / 4, 1 - 1 / 4 - 1 / 5, 1 / 5])


def test_of_several_best_arms_squarecb_gives_the_rest_to_the_first() -> None:
    p = squarecb(np.array([[0.0, 1.0, 1.0, 1.0]]), np.array([[True, False, True, True]]), 1.0)
    assert p[0] == pytest.approx([1 / 4, 0.0, 1 - 1 / 4 - 1 / 3, 1 / 3])


@given(scored(), EXPLORATIONS)
def test_a_distribution_is_over_the_allowed_arms_and_sums_to_one(
    case: tuple[NDArray[np.float32], NDArray[np.bool_]], exploration: Exploration
) -> None:
    scores, allowed = case
    for known in (scores, None):
        p = exploration.probabilities(known, allowed)
        assert p.shape == allowed.shape
        assert p.dtype == np.float64
        assert (p >= 0.0).all()
        assert (p[~allowed] == 0.0).all()
        possible = allowed[:, 0] if exploration.kind == "fixed" else allowed.any(axis=1)
        assert p.sum(axis=1) == pytest.approx(possible.astype(float), abs=1e-12)


@given(scored(), EXPLORATIONS)
def test_what_a_removed_arm_would_have_scored_changes_nothing(
    case: tuple[NDArray[np.float32], NDArray[np.bool_]], exploration: Exploration
) -> None:
    scores, allowed = case
    for other in (np.nan, 1e9, -1e9):
        changed = np.where(allowed, scores, np.float32(other))
        assert (exploration.probabilities(changed, allowed) == exploration.probabilities(scores, allowed)).all()


@given(scored(), EXPLORATIONS)
def test_each_row_is_what_it_would_be_alone(
    case: tuple[NDArray[np.float32], NDArray[np.bool_]], exploration: Exploration
) -> None:
    scores, allowed = case
    together = exploration.probabilities(scores, allowed)
    alone = [exploration.probabilities(scores[[i]], allowed[[i]]) for i in range(len(scores))]
    assert (together == np.vstack(alone)).all()


@given(scored(), EXPLORATIONS)
def test_the_arguments_are_left_as_they_were(
    case: tuple[NDArray[np.float32], NDArray[np.bool_]], exploration: Exploration
) -> None:
    scores, allowed = case
    copies = scores.copy(), allowed.copy()
    exploration.probabilities(scores, allowed)
    assert (scores == copies[0]).all()
    assert (allowed == copies[1]).all()


@given(scored(), st.floats(0, 1))
def test_the_uniform_share_is_a_total_and_no_floor_per_arm(
    case: tuple[NDArray[np.float32], NDArray[np.bool_]], share: float
) -> None:
    scores, allowed = case
    plain = Exploration("softmax", 3.0).probabilities(scores, allowed)
    mixed = Exploration("softmax", 3.0, share).probabilities(scores, allowed)
    assert mixed == pytest.approx((1 - share) * plain + share * uniform(allowed), abs=1e-12)
    if share == 0.0:
        assert (mixed == plain).all()
    assert mix_uniform(plain.copy(), allowed, 1.0) == pytest.approx(uniform(allowed), abs=1e-12)


def test_greedy_has_nothing_but_the_best_arms() -> None:
    p = Exploration("greedy").probabilities(np.array([[0.1, 0.3, 0.2], [0.5, 0.5, 0.0]]), np.ones((2, 3), np.bool_))
    assert p.tolist() == [[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]


@given(scored(), EXPLORATIONS, st.integers(0, 2**32))
def test_the_propensity_is_the_very_number_that_was_drawn_from(
    case: tuple[NDArray[np.float32], NDArray[np.bool_]], exploration: Exploration, seed: int
) -> None:
    scores, allowed = case
    p = exploration.probabilities(scores, allowed)
    arm, propensity = draw(p, np.random.default_rng(seed).random(len(p)))
    for i in range(len(p)):
        if arm[i] < 0:
            assert not p[i].any()
            assert propensity[i] == 0.0
        else:
            assert propensity[i] == p[i, arm[i]] > 0.0


@pytest.mark.parametrize("u", [2.0**-54, 0.5, 1 - 2.0**-53])
def test_no_number_draws_an_arm_without_probability(u: float) -> None:
    third = 1 / 3
    p = np.array([[0.0, third, third, 0.0, third - 1e-12, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0], [0.0] * 6])
    arm, propensity = draw(p, np.full(3, u))
    assert arm[0] in {1, 2, 4}
    assert (arm[1], propensity[1]) == (2, 1.0)
    assert (arm[2], propensity[2]) == (-1, 0.0)


def test_arms_are_drawn_as_often_as_their_propensities_say() -> None:
    p_row = np.array([0.4, 0.0, 0.05, 0.3, 0.2499, 0.0001])
    n = 400_000
    words = np.random.default_rng(5).integers(0, 2**64, (n, 2), np.uint64)
    arm, propensity = draw(np.tile(p_row, (n, 1)), uniforms(campaign_key("t", "c"), words))
    counts = np.bincount(arm, minlength=6)
    assert counts[1] == 0
    drawn = p_row > 0
    assert stats.chisquare(counts[drawn], n * p_row[drawn]).pvalue > FALSE_ALARM
    assert (propensity == p_row[arm]).all()


def test_keyed_numbers_are_uniform_and_differ_between_campaigns() -> None:
    """Also for ids as alike as those of one millisecond: only the last bits count up."""
    low = np.arange(200_000, dtype=np.uint64)
    words = np.column_stack([np.full_like(low, 0x0190_0000_0000_7000), low])
    u, v = uniforms(campaign_key("default", "a"), words), uniforms(campaign_key("default", "b"), words)
    assert 0.0 < u.min() < u.max() < 1.0
    for numbers in (u, v):
        assert stats.kstest(numbers, "uniform").pvalue > FALSE_ALARM
    for x, y in ((u, v), (u[:-1], u[1:])):
        cells = np.histogram2d(x, y, bins=16, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(cells.ravel()).pvalue > FALSE_ALARM
    assert np.unique(u).size == u.size


def test_a_number_depends_on_its_own_id_only() -> None:
    key = campaign_key("default", "a")
    words = np.random.default_rng(6).integers(0, 2**64, (50, 2), np.uint64)
    whole = uniforms(key, words)
    assert [uniforms(key, words[[i]])[0] for i in range(50)] == whole.tolist()


def test_tenants_and_campaigns_have_keys_of_their_own() -> None:
    keys = {campaign_key(tenant, campaign) for tenant in ("a", "ab") for campaign in ("c", "bc", "")}
    assert len(keys) == 6
