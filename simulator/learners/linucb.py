"""LinUCB: the arm whose reward could be the largest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.exploration import epsilon_greedy
from simulator.learners.linear import Linear

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile
    from simulator.learners.interface import Bools, Floats


class LinUCB(Linear):
    """The arm with the largest mean + alpha width.

    Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article recommendation", WWW
    2010. It draws nothing: all probability is on one arm, or shared by those that tie, and a log of it does not support
    the evaluation of another policy.
    """

    def __init__(self, campaign: CampaignFile, *, pairs: bool, disjoint: bool, alpha: float) -> None:
        super().__init__(campaign, pairs=pairs, disjoint=disjoint, common=not disjoint)
        self.alpha = alpha

    def chosen(self, x: Floats, allowed: Bools) -> Floats:
        """See `Linear`."""
        return epsilon_greedy(self.regression.mean(x) + self.alpha * self.regression.width(x), allowed, 0.0)


class DisjointLinUCB(LinUCB):
    """LinUCB with a regression for each arm (algorithm 1)."""

    def __init__(self, campaign: CampaignFile, *, pairs: bool = False, alpha: float = 0.3) -> None:
        super().__init__(campaign, pairs=pairs, disjoint=True, alpha=alpha)


class SharedLinUCB(LinUCB):
    """LinUCB with one regression on the crosses of context and arms (algorithm 2, the hybrid model)."""

    def __init__(self, campaign: CampaignFile, *, pairs: bool = False, alpha: float = 0.3) -> None:
        super().__init__(campaign, pairs=pairs, disjoint=False, alpha=alpha)
