from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from optimizer.errors import InvalidInput
from simulator.learners import LinearThompson, LogisticThompson, Taken
from simulator.learners.thompson import DRAWS, shares
from tests.simulator.learners.learned import SEVERAL, SINGLE, drawn, people

if TYPE_CHECKING:
    from numpy.typing import NDArray


def test_shares_are_the_votes_of_the_drawn_models_and_one_more_spread_evenly() -> None:
    rewards = np.zeros((1, DRAWS, 3))
    rewards[:, :70, 1] = 1.0
    rewards[:, 70:, 2] = 1.0
    x = np.zeros((1, 1))
    every = np.ones((1, 3), np.bool_)
    p = shares(x, every, lambda _: rewards)
    np.testing.assert_allclose(p, np.array([[1 / 3, 70 + 1 / 3, 30 + 1 / 3]]) / 101)
    p = shares(x, np.array([[True, True, False]]), lambda _: rewards)
    np.testing.assert_allclose(p, np.array([[30 + 1 / 2, 70 + 1 / 2, 0]]) / 101)


def test_the_estimated_distribution_is_that_of_the_posterior() -> None:
    # Of two arms the first is better with probability Phi(difference / its deviation). The shares of 100 draws have a
    # standard error of at most .05; over 200 independent posteriors their mean error is within .02 (5.6 deviations).
    errors = []
    for seed in range(200):
        learner = LinearThompson(SINGLE, seed=seed)
        learner.learn(drawn(SINGLE, people(SINGLE, 30, seed), seed))
        one = people(SINGLE, 1, seed + 1_000)
        x = learner.encoder.apply(one)
        mean, width = learner.regression.mean(x)[0], learner.regression.width(x)[0]
        allowed = np.array([[True, True, False]])
        exact = norm.cdf((mean[0] - mean[1]) / (0.3 * np.hypot(width[0], width[1])))
        errors.append(learner.probabilities(one, allowed)[0, 0] - (DRAWS * exact + 0.5) / (DRAWS + 1))
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.06


def test_the_first_batch_gives_logistic_regressions_weights_and_its_diagonal_curvature() -> None:
    taken = drawn(SEVERAL, people(SEVERAL, 400, 1), 1)
    learner = LogisticThompson(SEVERAL)
    phi = design(learner, taken)
    learner.learn(taken)
    theirs = LogisticRegression(C=1.0 / learner.prior, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(
        phi, taken.rewards
    )
    ours = np.concatenate([learner.weights.ravel(), learner.alone])
    np.testing.assert_allclose(ours, theirs.coef_[0], atol=1e-4)
    p = theirs.predict_proba(phi)[:, 1]
    curvature = learner.prior + (phi**2).T @ (p * (1.0 - p))
    np.testing.assert_allclose(
        np.concatenate([learner.precision.ravel(), learner.alone_precision]), curvature, rtol=1e-3
    )


def test_a_later_batch_starts_from_the_weights_and_precisions_of_the_earlier() -> None:
    first, second = (drawn(SINGLE, people(SINGLE, 200, seed), seed) for seed in (1, 2))
    learner = LogisticThompson(SINGLE)
    learner.learn(first)
    before = learner.weights.copy(), learner.precision.copy()
    phi = design(learner, second)
    learner.learn(second)
    # The gradient of the penalised loss vanishes: q (w - m) + sum of (p - r) x = 0.
    error = expit(phi @ learner.weights.ravel()) - second.rewards
    gradient = (before[1] * (learner.weights - before[0])).ravel() + phi.T @ error
    np.testing.assert_allclose(gradient, 0.0, atol=1e-3)


def test_a_reward_that_is_no_probability_is_refused() -> None:
    taken = drawn(SINGLE, people(SINGLE, 5, 1), 1)
    taken.rewards[2] = 1.5
    with pytest.raises(InvalidInput, match=r"rewards from 0 to 1.5: .* \[0, 1\] only"):
        LogisticThompson(SINGLE).learn(taken)


def design(learner: LogisticThompson, taken: Taken) -> NDArray[np.float64]:
    """The rows of the crosses as the learner is about to see them."""
    x = deepcopy(learner.encoder).learn(taken.batch)
    levels = learner.levels
    crossed = (x[:, :, None] * levels.crossed.T[taken.arms][:, None, :]).reshape(len(taken), -1)
    return np.hstack([crossed, levels.alone.T[taken.arms]])
