"""The regressions against scikit-learn, against MABWiser, and each against the other where they are the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from mabwiser.mab import MAB, LearningPolicy
from sklearn.linear_model import BayesianRidge, Ridge

from optimizer.decider import Decider
from simulator.learners.crosses import Crossed, Levels
from simulator.learners.regression import Disjoint, absorbed
from tests.simulator.learners.learned import SEVERAL, SINGLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARMS, WIDTH = 3, 4
Rows = tuple["NDArray[np.float64]", "NDArray[np.intp]", "NDArray[np.float64]"]


def rows(n: int, seed: int, width: int = WIDTH, arms: int = ARMS) -> Rows:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)), rng.integers(0, arms, n), rng.normal(size=n)


@pytest.mark.parametrize("k", [1, 3, 5, 40])
def test_a_rank_k_update_is_the_inverse_of_the_sum(k: int) -> None:
    rng = np.random.default_rng(k)
    before, new = rng.normal(size=(20, 5)), rng.normal(size=(k, 5))
    covariance = np.asarray(np.linalg.inv(np.eye(5) + before.T @ before), np.float64)
    expected = np.linalg.inv(np.eye(5) + before.T @ before + new.T @ new)
    np.testing.assert_allclose(absorbed(covariance, new) - expected, 0.0, atol=1e-12)


def test_means_and_expectations_are_those_of_mabwiser() -> None:
    x, arms, rewards = rows(200, 1)
    asked = rows(50, 2)[0]
    ours = Disjoint(ARMS, prior=1.0)
    for part in np.array_split(np.arange(200), 7):
        ours.learn(x[part], arms[part], rewards[part])
    for policy, bounds in (
        (LearningPolicy.LinUCB(alpha=0.7, l2_lambda=1.0), ours.mean(asked) + 0.7 * ours.width(asked)),
        (LearningPolicy.LinGreedy(epsilon=0.0, l2_lambda=1.0), ours.mean(asked)),
    ):
        theirs = MAB(list(range(ARMS)), policy)
        theirs.fit(arms, rewards, x)
        expected = [[each[arm] for arm in range(ARMS)] for each in theirs.predict_expectations(asked)]
        np.testing.assert_allclose(bounds, expected, atol=1e-10)
        assert bounds.argmax(axis=1).tolist() == theirs.predict(asked)


def test_draws_have_the_mean_and_deviation_of_mabwisers_thompson_sampling() -> None:
    # 4,000 draws each: the means of both are within 5 of their standard errors, the deviations within 6%, that is 5.4.
    x, arms, rewards = rows(60, 3)
    asked = rows(1, 4)[0]
    ours = Disjoint(ARMS, prior=1.0)
    ours.learn(x, arms, rewards)
    theirs = MAB(list(range(ARMS)), LearningPolicy.LinTS(alpha=0.5, l2_lambda=1.0), seed=1)
    theirs.fit(arms, rewards, x)
    answers = theirs.predict_expectations(np.repeat(asked, 4_000, axis=0))
    expected = np.array([[each[arm] for arm in range(ARMS)] for each in answers])
    got = ours.drawn(asked, ours.draws(4_000, 0.5, np.random.default_rng(1)))[0]
    error = np.sqrt(expected.var(axis=0) / 4_000 + got.var(axis=0) / 4_000)
    assert (np.abs(expected.mean(axis=0) - got.mean(axis=0)) < 5.0 * error).all()
    np.testing.assert_allclose(got.std(axis=0), expected.std(axis=0), rtol=0.06 * 2**0.5)


def test_the_posterior_is_that_of_scikit_learns_bayesian_ridge() -> None:
    x, _, rewards = rows(80, 5)
    theirs = BayesianRidge(fit_intercept=False).fit(x, rewards)
    # It estimates the precision of the noise, alpha, and of the weights, lambda; for noise 1 the prior is their ratio.
    ours = Disjoint(1, prior=theirs.lambda_ / theirs.alpha_)
    ours.learn(x, np.zeros(80, np.intp), rewards)
    np.testing.assert_allclose(ours.weights[0], theirs.coef_, rtol=1e-6)
    asked = rows(20, 6)[0]
    _, deviation = theirs.predict(asked, return_std=True)
    widths = ours.width(asked)[:, 0] / np.sqrt(theirs.alpha_)
    np.testing.assert_allclose(np.sqrt(widths**2 + 1.0 / theirs.alpha_), deviation, rtol=1e-6)


def design(levels: Levels, x: NDArray[np.float64], arms: NDArray[np.intp]) -> NDArray[np.float64]:
    """The rows of the crosses, spelled out."""
    crossed = [np.kron(row, levels.crossed[:, arm]) for row, arm in zip(x, arms.tolist(), strict=True)]
    return np.hstack([levels.alone.T[arms], np.array(crossed)])


@pytest.mark.parametrize("common", [False, True])
def test_the_crossed_regression_is_a_ridge_on_the_crosses(*, common: bool) -> None:
    levels = Levels.of(Decider(SEVERAL).space, common=common)
    k = levels.crossed.shape[1]
    x, arms, rewards = rows(150, 7, arms=k)
    ours = Crossed(levels, prior=2.0)
    for part in np.array_split(np.arange(150), 5):
        ours.learn(x[part], arms[part], rewards[part])
    phi = design(levels, x, arms)
    theirs = Ridge(alpha=2.0, fit_intercept=False).fit(phi, rewards)
    asked = rows(20, 8)[0]
    covariance = np.linalg.inv(2.0 * np.eye(phi.shape[1]) + phi.T @ phi)
    mean, width = ours.mean(asked), ours.width(asked)
    for arm in range(k):
        row = design(levels, asked, np.full(20, arm))
        np.testing.assert_allclose(mean[:, arm], theirs.predict(row), atol=1e-9)
        np.testing.assert_allclose(width[:, arm], np.sqrt(np.sum(row @ covariance * row, axis=1)), atol=1e-9)


def test_draws_of_the_crossed_regression_have_its_mean_and_width() -> None:
    # 4,000 draws; a mean within 5 of its standard errors, a deviation within 6%, that is 5.4 of them.
    levels = Levels.of(Decider(SEVERAL).space, common=False)
    x, arms, rewards = rows(40, 9, arms=levels.crossed.shape[1])
    ours = Crossed(levels, prior=1.0)
    ours.learn(x, arms, rewards)
    asked = rows(5, 10)[0]
    got = ours.drawn(asked, ours.draws(4_000, 0.3, np.random.default_rng(2)))
    deviation = 0.3 * ours.width(asked)
    assert (np.abs(got.mean(axis=1) - ours.mean(asked)) < 5.0 * deviation / np.sqrt(4_000)).all()
    np.testing.assert_allclose(got.std(axis=1), deviation, rtol=0.06)


def test_in_a_catalog_of_one_dimension_the_crosses_are_a_regression_for_each_arm() -> None:
    levels = Levels.of(Decider(SINGLE).space, common=False)
    assert levels.disjoint
    assert not Levels.of(Decider(SINGLE).space, common=True).disjoint
    assert not Levels.of(Decider(SEVERAL).space, common=False).disjoint
    apart, together = levels.regression(1.0), Crossed(levels, 1.0)
    assert isinstance(apart, Disjoint)
    x, arms, rewards = rows(100, 11)
    asked = rows(20, 12)[0]
    for regression in (apart, together):
        regression.learn(x[:60], arms[:60], rewards[:60])
        regression.learn(x[60:], arms[60:], rewards[60:])
    np.testing.assert_allclose(apart.mean(asked), together.mean(asked), atol=1e-10)
    np.testing.assert_allclose(apart.width(asked), together.width(asked), atol=1e-10)


@pytest.mark.parametrize("several", [False, True])
def test_counts_are_repetitions_and_new_columns_start_as_if_they_had_been_zero(*, several: bool) -> None:
    levels = Levels.of(Decider(SEVERAL if several else SINGLE).space, common=False)
    x, arms, rewards = rows(60, 13, arms=levels.crossed.shape[1])
    counts = np.random.default_rng(14).poisson(1.0, 60)
    x[:30, 2:] = 0.0
    counted, repeated = levels.regression(1.0), levels.regression(1.0)
    counted.learn(x[:30, :2], arms[:30], rewards[:30], counts[:30].astype(np.float64))
    counted.learn(x[30:], arms[30:], rewards[30:], counts[30:].astype(np.float64))
    again = np.repeat(np.arange(60), counts)
    repeated.learn(x[again], arms[again], rewards[again])
    asked = rows(20, 15)[0]
    np.testing.assert_allclose(counted.mean(asked), repeated.mean(asked), atol=1e-10)
    np.testing.assert_allclose(counted.width(asked), repeated.width(asked), atol=1e-10)


def test_before_any_data_an_arm_may_be_worth_about_a_reward_more_or_less() -> None:
    levels = Levels.of(Decider(SEVERAL).space, common=True)
    regression = levels.regression(levels.prior(WIDTH))
    x, arms, rewards = rows(2_000, 16, arms=levels.crossed.shape[1])
    regression.learn(x[:0], arms[:0], rewards[:0])
    # The squared length of a context is WIDTH on average, within 5 of its deviations; pairs of levels add one weight.
    several = np.mean(regression.width(x) ** 2, axis=0)
    alone = levels.alone.sum(axis=0) / levels.prior(WIDTH)
    most = levels.crossed.sum(axis=0) / levels.crossed.sum(axis=0).mean()
    np.testing.assert_allclose(several - alone, most, rtol=5 * np.sqrt(2 / WIDTH / 2_000))
