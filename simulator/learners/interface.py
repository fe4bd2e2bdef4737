"""What every learner that is compared here can do, and what it is told.

A learner gives each customer of a batch a distribution over the allowed arms; somebody draws from it, and the learner
is told later what happened. When it is told is not its business: it serves by what it was told last, so how often a
model is published is how often `learn` is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from optimizer.choices import Batch

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Indices: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Taken:
    """n decisions whose rewards are known, in learning order.

    Attributes:
        batch: the customers.
        allowed: (n, K) the arms that were candidates.
        arms: (n,) the arm drawn.
        propensities: (n,) with which it was drawn.
        rewards: (n,) in units of the reward's scale.
    """

    batch: Batch
    allowed: Bools
    arms: Indices
    propensities: Floats
    rewards: Floats

    def __len__(self) -> int:
        return len(self.arms)


class Learner(Protocol):
    """Chooses among K arms and learns. It is made from a campaign; everything else has a default."""

    def probabilities(self, batch: Batch, allowed: Bools) -> Floats:
        """(n, K) the distribution for each customer: sums to one over the allowed arms (n, K), 0 elsewhere.

        The same until `learn` is called, and for each customer the same whoever else is in the batch. The draw that
        follows is made from this very array, so its elements are exact propensities.
        """
        ...

    def learn(self, taken: Taken) -> None:
        """Take these decisions, each once."""
        ...
