"""Any allowed arm, whatever happened: what the others are to be better than."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer import exploration

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile
    from optimizer.choices import Batch
    from simulator.learners.interface import Bools, Floats, Taken


class Uniform:
    """Learns nothing."""

    def __init__(self, campaign: CampaignFile) -> None:
        """It needs nothing of the campaign but that every learner is made from one."""
        self.campaign = campaign

    def probabilities(self, batch: Batch, allowed: Bools) -> Floats:  # noqa: ARG002 -- as the interface has it
        """See `Learner`."""
        return exploration.uniform(allowed)

    def learn(self, taken: Taken) -> None:
        """See `Learner`."""
