"""What learners with a regression have in common: they encode, predict, choose, and learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from optimizer.exploration import uniform
from simulator.learners.crosses import Levels
from simulator.learners.encoding import Encoder

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile
    from optimizer.choices import Batch
    from simulator.learners.interface import Bools, Floats, Taken
    from simulator.learners.regression import Regression


class Linear(ABC):
    """Uniform until something was learned, then as a subclass chooses from its regression.

    Args:
        campaign: whose features and arms these are.
        pairs: whether pairs of categories are features too.
        disjoint: whether each arm has a regression of its own, whatever the arms share.
        common: whether the context is a feature by itself too.
    """

    def __init__(
        self, campaign: CampaignFile, *, pairs: bool = False, disjoint: bool = False, common: bool = False
    ) -> None:
        self.encoder = Encoder(campaign, pairs=pairs)
        levels = (
            Levels.each(len(self.encoder.space.catalog)) if disjoint else Levels.of(self.encoder.space, common=common)
        )
        self.regression: Regression = levels.regression(levels.prior(self.encoder.length))
        self.learned = 0

    def probabilities(self, batch: Batch, allowed: Bools) -> Floats:
        """See `Learner`."""
        return self.chosen(self.encoder.apply(batch), allowed) if self.learned else uniform(allowed)

    def learn(self, taken: Taken) -> None:
        """See `Learner`."""
        if len(taken):
            self.regression.learn(self.encoder.learn(taken.batch), taken.arms, taken.rewards)
            self.learned += len(taken)

    @abstractmethod
    def chosen(self, x: Floats, allowed: Bools) -> Floats:
        """(n, K) the distribution for contexts x (n, d)."""
