"""Online bagging: models that each saw the past another way vote.

Oza and Russell, "Online bagging and boosting", AISTATS 2001: every model takes a decision as often as a Poisson(1)
number says. As exploration: Agarwal, Hsu, Kale, Langford, Li and Schapire, "Taming the monster", ICML 2014, and `--bag`
of Vowpal Wabbit: an arm's probability is the share of the models that find it the best. Where they agree nothing else
is tried any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from optimizer.exploration import epsilon_greedy, uniform
from simulator.learners.crosses import Levels
from simulator.learners.encoding import Encoder

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile
    from optimizer.choices import Batch
    from simulator.learners.interface import Bools, Floats, Taken


class Bagging:
    """As many linear regressions on the crosses of context with arms as `bags` says.

    Args:
        campaign: whose features and arms these are.
        seed: of the Poisson numbers.
        pairs: whether pairs of categories are features too.
        bags: the number of models.
    """

    def __init__(self, campaign: CampaignFile, *, seed: int = 0, pairs: bool = False, bags: int = 5) -> None:
        self.encoder = Encoder(campaign, pairs=pairs)
        levels = Levels.of(self.encoder.space, common=False)
        self.regressions = [levels.regression(levels.prior(self.encoder.length)) for _ in range(bags)]
        self.learned = 0
        self._rng = np.random.default_rng(seed)

    def probabilities(self, batch: Batch, allowed: Bools) -> Floats:
        """See `Learner`."""
        if not self.learned:
            return uniform(allowed)
        x = self.encoder.apply(batch)
        votes = [epsilon_greedy(each.mean(x), allowed, 0.0) for each in self.regressions]
        return np.asarray(np.mean(votes, axis=0))

    def learn(self, taken: Taken) -> None:
        """See `Learner`."""
        x = self.encoder.learn(taken.batch)
        counts = self._rng.poisson(1.0, (len(taken), len(self.regressions))).astype(np.float64)
        for regression, mine in zip(self.regressions, counts.T, strict=True):
            regression.learn(x, taken.arms, taken.rewards, mine)
        self.learned += len(taken)
