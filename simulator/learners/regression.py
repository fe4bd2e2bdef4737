"""Bayesian linear regression of known noise on the crosses of context with arms: mean, width and draws.

    precision A = prior I + sum of x x',   mean = A^-1 sum of r x,   width^2 = x' A^-1 x

(Bishop, "Pattern recognition and machine learning", 2006, section 3.3; the noise's variance is taken as 1, whoever uses
width or draws scales them). What is kept is A^-1: a batch of k rows is a rank-k update by the Woodbury identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

    from simulator.learners.interface import Floats, Indices


class Regression(Protocol):
    """Predicts the reward of each of K arms from d context columns, of which there may be more at every `learn`."""

    def learn(self, x: Floats, arms: Indices, rewards: Floats, counts: Floats | None = None) -> None:
        """Take rows x (n, d) whose arms (n,) had these rewards (n,), each as often as `counts` (n,) says: else once."""
        ...

    def mean(self, x: Floats) -> Floats:
        """(n, K) the expected rewards."""
        ...

    def width(self, x: Floats) -> Floats:
        """(n, K) the standard deviations of the expected rewards, for noise of variance 1."""
        ...

    def draws(self, many: int, scale: float, rng: Generator) -> Floats:
        """(S, ...) S sets of weights from the posterior whose standard deviation is `scale` times this one's."""
        ...

    def drawn(self, x: Floats, weights: Floats) -> Floats:
        """(n, S, K) the rewards that S sets of weights expect."""
        ...


def absorbed(covariance: Floats, rows: Floats) -> Floats:
    """(A + rows' rows)^-1, from A^-1 (d, d) and rows (k, d)."""
    k, d = rows.shape
    if k < d:
        half = covariance @ rows.T
        made = covariance - half @ np.linalg.solve(np.eye(k) + rows @ half, half.T)
    else:
        made = np.asarray(np.linalg.inv(np.linalg.inv(covariance) + rows.T @ rows), np.float64)
    return np.asarray((made + made.T) / 2.0)


class Disjoint:
    """A regression of its own for each arm (Li, Chu, Langford and Schapire, WWW 2010, algorithm 1).

    Attributes:
        covariance: (K, d, d) A^-1 of every arm.
        moments: (K, d) sum of r x; weights: (K, d) the posterior means.
    """

    def __init__(self, arms: int, prior: float) -> None:
        self._prior = prior
        self.covariance = np.zeros((arms, 0, 0))
        self.moments = np.zeros((arms, 0))
        self.weights = np.zeros((arms, 0))

    def learn(self, x: Floats, arms: Indices, rewards: Floats, counts: Floats | None = None) -> None:
        """See `Regression`."""
        self._grow(x.shape[1])
        roots = np.ones(len(x)) if counts is None else np.sqrt(counts)
        rows, values = x * roots[:, None], rewards * roots
        for arm in np.unique(arms).tolist():
            mine = (arms == arm) & (roots > 0.0)
            self.covariance[arm] = absorbed(self.covariance[arm], rows[mine])
            self.moments[arm] += values[mine] @ rows[mine]
            self.weights[arm] = self.covariance[arm] @ self.moments[arm]

    def mean(self, x: Floats) -> Floats:
        """See `Regression`."""
        return x @ self.weights.T

    def width(self, x: Floats) -> Floats:
        """See `Regression`."""
        squares = [np.einsum("nd,nd->n", x @ covariance, x) for covariance in self.covariance]
        return np.asarray(np.sqrt(np.stack(squares, axis=1)))

    def draws(self, many: int, scale: float, rng: Generator) -> Floats:
        """(S, K, d), see `Regression`."""
        k, d = self.weights.shape
        normal = np.linalg.cholesky(self.covariance) @ rng.standard_normal((k, d, many))
        return np.asarray(self.weights + scale * normal.transpose(2, 0, 1))

    def drawn(self, x: Floats, weights: Floats) -> Floats:
        """See `Regression`."""
        many, k, d = weights.shape
        return np.asarray((x @ weights.reshape(many * k, d).T).reshape(len(x), many, k))

    def _grow(self, width: int) -> None:
        """Weights of columns that come later start where all did: at 0, with the prior's precision."""
        k, d = self.weights.shape
        if width > d:
            covariance = np.zeros((k, width, width))
            covariance[:] = np.eye(width) / self._prior
            covariance[:, :d, :d] = self.covariance
            self.covariance = covariance
            self.moments = np.pad(self.moments, ((0, 0), (0, width - d)))
            self.weights = np.pad(self.weights, ((0, 0), (0, width - d)))
