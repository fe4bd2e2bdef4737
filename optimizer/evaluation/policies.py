"""Policies that need no learning: uniform, always one arm, and a given table of probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optimizer.exploration import fixed, uniform

if TYPE_CHECKING:
    from optimizer.evaluation.log import Log
    from optimizer.evaluation.totals import Floats


@dataclass(frozen=True, slots=True)
class Uniform:
    """The same probability for every candidate."""

    name: str = "uniform"

    def probabilities(self, log: Log) -> Floats:
        """(n, K)."""
        return uniform(log.candidates)


@dataclass(frozen=True, slots=True)
class Constant:
    """Always one arm; where it is no candidate, the arm `otherwise`, and where that is none either, nothing."""

    arm: str
    otherwise: str | None = None

    @property
    def name(self) -> str:
        """As reports call it."""
        return f"always {self.arm}"

    def probabilities(self, log: Log) -> Floats:
        """(n, K); a row of zeros where neither arm is a candidate."""
        p = self._fixed(log, self.arm)
        if self.otherwise is not None:
            left = p.sum(axis=1) == 0.0
            p[left] = self._fixed(log, self.otherwise)[left]
        return p

    @staticmethod
    def _fixed(log: Log, arm: str) -> Floats:
        if arm not in log.arms:
            return np.zeros((len(log), len(log.arms)))
        return fixed(log.candidates, log.arms.index(arm))


@dataclass(frozen=True, slots=True)
class Table:
    """Probabilities that depend on the position alone, such as those of the Open Bandit Dataset.

    Attributes:
        name: what reports call it.
        table: (K, P) float64, the probability of each arm at each position.
    """

    name: str
    table: Floats

    def probabilities(self, log: Log) -> Floats:
        """(n, K)."""
        return self.table.T[np.zeros(len(log), np.intp) if log.position is None else log.position]
