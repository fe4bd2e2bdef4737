"""How far a policy is from the one that made the log: what its weights come to."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from optimizer.evaluation.totals import Floats

FEW_EFFECTIVE: Final = 100.0
"""An effective sample size below this is warned of."""

HEAVY_SHARE: Final = 0.05
"""One row that has more than this share of all weight is warned of."""

WEIGHTS_OFF: Final = 4.0
"""By how many standard errors the mean weight may differ from 1 without a warning."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Sums over the rows' weights w; those of two shards are added."""

    rows: int
    total: float
    squares: float
    largest: float
    matched: int
    """How many rows have a positive weight: those where the policy might have done what was logged."""

    @classmethod
    def of(cls, weight: Floats) -> Weights:
        """Of rows' weights (n,)."""
        return cls(
            len(weight),
            float(weight.sum()),
            float(weight @ weight),
            float(weight.max(initial=0.0)),
            int(np.count_nonzero(weight > 0.0)),
        )

    def __add__(self, other: Weights) -> Weights:
        return Weights(
            self.rows + other.rows,
            self.total + other.total,
            self.squares + other.squares,
            max(self.largest, other.largest),
            self.matched + other.matched,
        )

    @property
    def mean(self) -> float:
        """Near 1 where the propensities are right and everything the policy does was possible."""
        return self.total / self.rows if self.rows else float("nan")

    @property
    def effective(self) -> float:
        """Kish's effective sample size, (sum w)^2 / sum w^2."""
        return self.total**2 / self.squares if self.squares else 0.0

    def warnings(self) -> list[str]:
        """What a reader of the estimate has to know."""
        found = []
        if self.effective < FEW_EFFECTIVE:
            found.append(f"the effective sample size is {self.effective:.0f}: do not rely on the interval")
        if self.total and self.largest / self.total > HEAVY_SHARE:
            found.append(f"one row has {self.largest / self.total:.0%} of all weight")
        if self.rows > 1:
            error = sqrt(max(self.squares / self.rows - self.mean**2, 0.0) / self.rows)
            if abs(self.mean - 1.0) > WEIGHTS_OFF * error + 1e-9:
                found.append(f"the mean weight is {self.mean:.4f}, which should be near 1: are the propensities right?")
        return found
