"""Epsilon-greedy and SquareCB over the posterior mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.exploration import epsilon_greedy
from simulator.learners.linear import Linear

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile
    from simulator.learners.interface import Bools, Floats


class EpsilonGreedy(Linear):
    """The arm with the largest expected reward, and with probability `epsilon` any of the allowed ones."""

    def __init__(self, campaign: CampaignFile, *, pairs: bool = False, epsilon: float = 0.05) -> None:
        super().__init__(campaign, pairs=pairs)
        self.epsilon = epsilon

    def chosen(self, x: Floats, allowed: Bools) -> Floats:
        """See `Linear`."""
        return epsilon_greedy(self.regression.mean(x), allowed, self.epsilon)
