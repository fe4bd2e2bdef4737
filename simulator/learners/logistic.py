"""Logistic Thompson sampling: a Gaussian on each weight, found anew with every batch.

Chapelle and Li, "An empirical evaluation of Thompson sampling", NIPS 2011, algorithm 3. With the weights' means m and
precisions q, a batch (x_i, r_i) gives

    m <- argmin over w of sum q (w - m)^2 / 2 + sum_i log(1 + exp(w x_i)) - r_i w x_i
    q <- q + sum_i x_i^2 p_i (1 - p_i),    p_i = 1 / (1 + exp(-w x_i))

the Laplace approximation, of which the diagonal is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from optimizer.errors import InvalidInput
from optimizer.exploration import uniform
from simulator.learners.crosses import Levels
from simulator.learners.encoding import Encoder
from simulator.learners.thompson import DRAWS, shares

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile
    from optimizer.choices import Batch
    from simulator.learners.interface import Bools, Floats, Indices, Taken


class LogisticThompson:
    """Thompson sampling with logistic regression on the crosses of context with arms; rewards lie in [0, 1].

    Args:
        campaign: whose features and arms these are.
        seed: of the draws.
        pairs: whether pairs of categories are features too.
        scale: what the posterior's standard deviations are multiplied by.

    Attributes:
        weights, precision: (d, J), those of the crosses of each context column with the levels (see `Levels`).
        alone, alone_precision: (P,) those of pairs of levels.
        prior: the precision before any data.
    """

    def __init__(self, campaign: CampaignFile, *, seed: int = 0, pairs: bool = False, scale: float = 0.3) -> None:
        self.encoder = Encoder(campaign, pairs=pairs)
        self.levels = Levels.of(self.encoder.space, common=False)
        self.scale = scale
        self.learned = 0
        self._seed = seed
        self.prior = self.levels.prior(self.encoder.length)
        p, j = len(self.levels.alone), len(self.levels.crossed)
        self.alone, self.alone_precision = np.zeros(p), np.full(p, self.prior)
        self.weights, self.precision = np.zeros((0, j)), np.zeros((0, j))

    def probabilities(self, batch: Batch, allowed: Bools) -> Floats:
        """See `Learner`."""
        if not self.learned:
            return uniform(allowed)
        rng = np.random.default_rng([self._seed, self.learned])
        normal = [rng.standard_normal((DRAWS, *part.shape)) for part in (self.weights, self.alone)]
        weights = self.weights + self.scale * normal[0] / np.sqrt(self.precision)
        alone = self.alone + self.scale * normal[1] / np.sqrt(self.alone_precision)
        own = (alone @ self.levels.alone)[:, None, :]
        return shares(
            self.encoder.apply(batch),
            allowed,
            lambda x: (x @ weights @ self.levels.crossed + own).transpose(1, 0, 2),
        )

    def learn(self, taken: Taken) -> None:
        """See `Learner`. Raises `InvalidInput` for a reward outside [0, 1]."""
        if not len(taken):
            return
        if taken.rewards.min() < 0.0 or taken.rewards.max() > 1.0:
            raise InvalidInput(
                f"rewards from {taken.rewards.min():g} to {taken.rewards.max():g}: logistic regression takes those in "
                f"[0, 1] only; use LinearThompson, or another scale of the reward"
            )
        x = self.encoder.learn(taken.batch)
        new = x.shape[1] - len(self.weights)
        self.weights = np.pad(self.weights, ((0, new), (0, 0)))
        self.precision = np.pad(self.precision, ((0, new), (0, 0)), constant_values=self.prior)
        self._fit(x, taken.arms, taken.rewards)
        self.learned += len(taken)

    def _fit(self, x: Floats, arms: Indices, rewards: Floats) -> None:
        levels, own = self.levels.crossed.T[arms], self.levels.alone.T[arms]
        size = self.weights.size
        before = np.concatenate([self.weights.ravel(), self.alone])
        precision = np.concatenate([self.precision.ravel(), self.alone_precision])

        def odds(weights: Floats) -> Floats:
            crossed = x @ weights[:size].reshape(self.weights.shape)
            return np.asarray((crossed * levels).sum(axis=1) + own @ weights[size:])

        def loss(weights: Floats) -> tuple[float, Floats]:
            z, off = odds(weights), weights - before
            error = expit(z) - rewards
            slope = np.concatenate([(x.T @ (levels * error[:, None])).ravel(), own.T @ error])
            value = 0.5 * precision @ off**2 + (np.logaddexp(0.0, z) - rewards * z).sum()
            return float(value), np.asarray(slope + precision * off)

        found = minimize(loss, before, jac=True, method="L-BFGS-B", options={"gtol": 1e-6, "maxiter": 200}).x
        p = expit(odds(found))
        variance = (p * (1.0 - p))[:, None]
        self.weights, self.alone = found[:size].reshape(self.weights.shape), found[size:]
        self.precision = self.precision + (x**2).T @ (levels**2 * variance)
        self.alone_precision = self.alone_precision + (own**2).T @ variance[:, 0]
