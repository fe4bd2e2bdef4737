"""One regression over all arms, on crosses of context with what the arms are made of.

An arm has a level of each dimension (its message, its channel, its slot); the context is crossed with the levels, so
that arms learn from each other, and pairs of levels have an effect of their own, as in our own learner's model. With
`common` the context is a feature by itself too: the hybrid model of Li, Chu, Langford and Schapire (WWW 2010). In a
catalog of one dimension without `common`, every arm has a regression of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.learners.regression import Disjoint, absorbed

if TYPE_CHECKING:
    from typing import Self

    from numpy.random import Generator

    from optimizer.features import FeatureSpace
    from simulator.learners.interface import Floats, Indices
    from simulator.learners.regression import Regression


@dataclass(frozen=True, slots=True)
class Levels:
    """What the arms are made of.

    Attributes:
        crossed: (J, K) 1 where arm k has level j; context is crossed with these.
        alone: (P, K) the same of pairs of levels, which are not crossed.
    """

    crossed: Floats
    alone: Floats

    @classmethod
    def of(cls, space: FeatureSpace, *, common: bool) -> Self:
        """The levels of a catalog; with `common` one more, which every arm has."""
        single = {name for term, name in space.arm_spaces.items() if len(term) == 1}
        # The first feature of a term is the level itself; what follows are its attributes.
        owned = []
        for arm in range(len(space.catalog)):
            first: dict[str, str] = {}
            for name, level, _ in space.arm_features(arm, None):
                first.setdefault(name, level)
            owned.append(first)
        crossed = _incidence([{each for each in mine.items() if each[0] in single} for mine in owned])
        alone = _incidence([{each for each in mine.items() if each[0] not in single} for mine in owned])
        return cls(np.vstack([np.ones((1, len(owned))), crossed]) if common else crossed, alone)

    @classmethod
    def each(cls, arms: int) -> Self:
        """Every arm by itself."""
        return cls(np.eye(arms), np.zeros((0, arms)))

    @property
    def disjoint(self) -> bool:
        """Whether no two arms share anything."""
        return not len(self.alone) and len(self.crossed) == self.crossed.shape[1] == self.crossed.sum()

    def prior(self, length: float) -> float:
        """The precision of weights with which, before any data, an arm's expected reward has variance 1.

        Args:
            length: the expected squared length of a context, each column of which is crossed with the arm's levels.
        """
        return float(length * self.crossed.sum(axis=0).mean())

    def regression(self, prior: float) -> Regression:
        """One of these crosses; where they are disjoint, one for each arm, which is the same and faster."""
        return Disjoint(self.crossed.shape[1], prior) if self.disjoint else Crossed(self, prior)


def _incidence(owned: list[set[tuple[str, str]]]) -> Floats:
    every = sorted(set().union(*owned))
    return np.array([[each in mine for mine in owned] for each in every], np.float64).reshape(len(every), len(owned))


class Crossed:
    """The regression of those crosses.

    Its D = P + d J weights are those of `alone`, then for every context column those of the levels it is crossed with.

    Attributes:
        covariance: (D, D) A^-1; moments: (D,) sum of r x; weights: (D,) the posterior mean.
    """

    def __init__(self, levels: Levels, prior: float) -> None:
        self.levels = levels
        self._prior = prior
        self._columns = 0
        p = len(levels.alone)
        self.covariance = np.eye(p) / prior
        self.moments = np.zeros(p)
        self.weights = np.zeros(p)

    def learn(self, x: Floats, arms: Indices, rewards: Floats, counts: Floats | None = None) -> None:
        """See `Regression`."""
        self._grow(x.shape[1])
        roots = np.ones(len(x)) if counts is None else np.sqrt(counts)
        taken = roots > 0.0
        x, arms, roots = x[taken], arms[taken], roots[taken]
        crossed = x[:, :, None] * self.levels.crossed.T[arms][:, None, :]
        rows = np.hstack([self.levels.alone.T[arms], crossed.reshape(len(x), math.prod(crossed.shape[1:]))])
        rows *= roots[:, None]
        self.covariance = absorbed(self.covariance, rows)
        self.moments += (rewards[taken] * roots) @ rows
        self.weights = self.covariance @ self.moments

    def mean(self, x: Floats) -> Floats:
        """See `Regression`."""
        alone, crossed = self.parts(self.weights)
        return np.asarray(x @ crossed @ self.levels.crossed + alone @ self.levels.alone)

    def width(self, x: Floats) -> Floats:
        """See `Regression`."""
        p, d, levels = len(self.levels.alone), self._columns, self.levels
        j = len(levels.crossed)
        alone = self.covariance[:p, :p]
        mixed = self.covariance[:p, p:].reshape(p, d, j)
        crossed = self.covariance[p:, p:].reshape(d, j, d, j)
        square = np.einsum("pk,pq,qk->k", levels.alone, alone, levels.alone, optimize=True) + np.zeros((len(x), 1))
        for b in range(j):
            # By pairs of levels that some arm has both of: most pairs are of one dimension and exclude each other.
            square += 2.0 * (x @ (levels.alone.T @ mixed[:, :, b]).T) * levels.crossed[b]
            for a in range(b + 1):
                both = levels.crossed[a] * levels.crossed[b]
                if both.any():
                    form = np.einsum("nc,nc->n", x @ crossed[:, a, :, b], x)
                    square += (1.0 if a == b else 2.0) * form[:, None] * both
        return np.asarray(np.sqrt(np.maximum(square, 0.0)))

    def draws(self, many: int, scale: float, rng: Generator) -> Floats:
        """(S, D), see `Regression`."""
        normal = rng.standard_normal((many, len(self.weights))) @ np.linalg.cholesky(self.covariance).T
        return np.asarray(self.weights + scale * normal)

    def drawn(self, x: Floats, weights: Floats) -> Floats:
        """See `Regression`."""
        alone, crossed = self.parts(weights)
        each = x @ crossed @ self.levels.crossed + (alone @ self.levels.alone)[:, None, :]
        return np.asarray(each.transpose(1, 0, 2))

    def parts(self, weights: Floats) -> tuple[Floats, Floats]:
        """The weights (..., D) of `alone` (..., P), and those of the crosses (..., d, J)."""
        p = len(self.levels.alone)
        return weights[..., :p], weights[..., p:].reshape(*weights.shape[:-1], self._columns, len(self.levels.crossed))

    def _grow(self, columns: int) -> None:
        """Weights of columns that come later start where all did: at 0, with the prior's precision."""
        more = (columns - self._columns) * len(self.levels.crossed)
        if more > 0:
            n = len(self.weights)
            covariance = np.eye(n + more) / self._prior
            covariance[:n, :n] = self.covariance
            self.covariance = covariance
            self.moments = np.pad(self.moments, (0, more))
            self.weights = np.pad(self.weights, (0, more))
            self._columns = columns
