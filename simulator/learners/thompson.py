"""Thompson sampling whose propensities are known: an arm is drawn as often as it is the best of sampled models.

Thompson sampling draws one model from the posterior and takes its best arm, so that an arm's probability is an integral
nobody writes down. Here S models are drawn whenever the learner has learned, the share of them for which an arm is the
best is its probability, and the arm is drawn from this distribution: as the posterior goes, an estimate of Thompson
sampling's; as what the log says, exact. One further vote is spread evenly over the allowed arms, so that none of them
has probability 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from optimizer.exploration import uniform
from simulator.learners.linear import Linear

if TYPE_CHECKING:
    from collections.abc import Callable

    from optimizer.campaign import CampaignFile
    from simulator.learners.interface import Bools, Floats

DRAWS = 100
"""S: the shares are within about 1 / (2 sqrt(S)) of the posterior's, .05."""

_TILE = 64
"""Customers taken at a time: n x S x K numbers."""


def shares(x: Floats, allowed: Bools, drawn: Callable[[Floats], Floats]) -> Floats:
    """(n, K) the share of votes of each arm, from `drawn`, which gives the rewards (m, S, K) of contexts (m, d)."""
    out = uniform(allowed)
    for start in range(0, len(x), _TILE):
        rows = slice(start, start + _TILE)
        rewards = drawn(x[rows])
        best = np.where(allowed[rows, None, :], rewards, -np.inf).argmax(axis=2)
        np.add.at(out[rows], (np.arange(len(best))[:, None], best), 1.0)
    out[~allowed.any(axis=1)] = 0.0
    return np.asarray(out / (1.0 + DRAWS))


class LinearThompson(Linear):
    """Thompson sampling with the posterior of a linear regression, its deviation `scale` times that of noise 1.

    Agrawal and Goyal, "Thompson sampling for contextual bandits with linear payoffs", ICML 2013.
    """

    def __init__(self, campaign: CampaignFile, *, seed: int = 0, pairs: bool = False, scale: float = 0.3) -> None:
        super().__init__(campaign, pairs=pairs)
        self.scale = scale
        self._seed = seed

    def chosen(self, x: Floats, allowed: Bools) -> Floats:
        """See `Linear`."""
        # Seeded by what was learned: the same models for everybody who is decided between two lessons.
        weights = self.regression.draws(DRAWS, self.scale, np.random.default_rng([self._seed, self.learned]))
        return shares(x, allowed, lambda rows: self.regression.drawn(rows, weights))
