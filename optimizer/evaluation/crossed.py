"""A linear model of the reward with crosses of the context with the arm, which predicts for all arms at once.

The features of a row are its context c (C numbers), those of its arm a (A numbers), and the C A products of one with
the other: every arm has its own effect of the context. Of 0/1 rewards the model is logistic, of others ridge.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse, special
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.evaluation.totals import Floats


class Crossed(BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """See the module.

    Args:
        context: C, how many of the features are the context's; the others are the arm's.
        binary: whether rewards are 0 and 1.
    """

    def __init__(self, *, context: int, binary: bool) -> None:
        self.context = context
        self.binary = binary

    def fit(self, x: Floats, reward: Floats, sample_weight: Floats | None = None) -> Crossed:
        """From features (n, C + A) and rewards (n,)."""
        crossed = self._crossed(x)
        model: Any = LogisticRegression(max_iter=1000) if self.binary else Ridge(tol=1e-8)
        with warnings.catch_warnings():
            # What has not converged after so many steps is a model still, and what is estimated with it is corrected.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(crossed, reward, sample_weight)
        weights = np.ravel(model.coef_)
        c, a = self.context, x.shape[1] - self.context
        self.of_context_ = weights[:c]
        self.of_arm_ = weights[c : c + a]
        self.of_both_ = weights[c + a :].reshape(a, c)
        self.intercept_ = float(np.ravel(model.intercept_)[0])
        return self

    def predict(self, x: Floats) -> Floats:
        """(n,) the mean reward, by the features (n, C + A)."""
        c, a = x[:, : self.context], x[:, self.context :]
        both = np.einsum("nc,nc->n", c, self.of_context_ + a @ self.of_both_)
        return self._mean(both + a @ self.of_arm_)

    def per_arm(self, context: Floats, arms: Floats) -> Floats:
        """(n, K) the mean reward of each arm, by the context (n, C) and the arms' features (K, A)."""
        return self._mean(context @ (self.of_context_ + arms @ self.of_both_).T + arms @ self.of_arm_)

    def _mean(self, score: Floats) -> Floats:
        score = score + self.intercept_
        mean: Floats = special.expit(score) if self.binary else score
        return mean

    def _crossed(self, x: Floats) -> Any:  # noqa: ANN401 - scipy ships no types
        """(n, C + A + A C) sparse, the products by arm feature: each row has few arm features that are not 0."""
        context, arm = x[:, : self.context], sparse.csr_array(x[:, self.context :])
        rows: NDArray[np.intp] = np.repeat(np.arange(len(x)), np.diff(arm.indptr))
        values = arm.data[:, None] * context[rows]
        columns = arm.indices[:, None] * self.context + np.arange(self.context)
        shape = (len(x), arm.shape[1] * self.context)
        products = sparse.csr_array((values.ravel(), columns.ravel(), arm.indptr * self.context), shape=shape)
        return sparse.hstack([sparse.csr_array(x), products], format="csr")
