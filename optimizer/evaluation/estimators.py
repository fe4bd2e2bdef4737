"""Estimators of what a policy would have earned, as terms of rows whose sums give the estimate.

Each is a frozen value that turns judged rows into (n, m) terms. Sums of terms can be added over shards; the estimate is
one of three functions of them, by the estimator's `form`:

    mean    s1 / n                        the mean of one term
    ratio   s1 / s2                       self-normalised
    both    s1 / n + s2 / s3              a mean and a self-normalised correction

with n the number of rows. w is the weight (target probability / propensity), r the reward, q the model's prediction for
the logged arm and d its prediction for the target policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from optimizer.evaluation.judged import Judged
    from optimizer.evaluation.totals import Floats


class Form(Enum):
    """How an estimate follows from sums."""

    MEAN = 1
    RATIO = 2
    BOTH = 3

    @property
    def terms(self) -> int:
        """How many terms it takes."""
        return self.value

    def estimate(self, sums: Floats) -> Floats:
        """The estimate (...,) from the number of rows and the sums of the terms (..., 1 + m); nan where undefined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if self is Form.MEAN:
                value = sums[..., 1] / sums[..., 0]
            elif self is Form.RATIO:
                value = sums[..., 1] / sums[..., 2]
            else:
                value = sums[..., 1] / sums[..., 0] + sums[..., 2] / sums[..., 3]
        return np.where(np.isfinite(value), value, np.nan)

    def gradient(self, sums: Floats) -> Floats:
        """(1 + m,) derivatives of `estimate` by the number of rows and each sum."""
        with np.errstate(divide="ignore", invalid="ignore"):
            n, s = sums[0], sums[1:]
            if self is Form.MEAN:
                return np.array([-s[0] / n**2, 1 / n])
            if self is Form.RATIO:
                return np.array([0.0, 1 / s[1], -s[0] / s[1] ** 2])
            return np.array([-s[0] / n**2, 1 / n, 1 / s[2], -s[1] / s[2] ** 2])


class Estimator(Protocol):
    """One way of estimating a policy's value."""

    @property
    def name(self) -> str:
        """The field's name of it, with its parameter."""

    @property
    def form(self) -> Form:
        """How the estimate follows from the sums of the terms."""

    @property
    def needs(self) -> str | None:
        """Which optional field of `Judged` has to be there: `predicted`, `marginal`, `uniform`; None for none."""

    def terms(self, rows: Judged) -> Floats:
        """(n, m) the terms of each row, m as the form says."""


@dataclass(frozen=True, slots=True)
class IPS:
    """Inverse propensity scoring, mean of w r; unbiased. Horvitz and Thompson (1952)."""

    name: str = "ips"
    form: Form = Form.MEAN
    needs: str | None = None

    def terms(self, rows: Judged) -> Floats:
        """(n, 1)."""
        return (rows.weight * rows.reward)[:, None]


@dataclass(frozen=True, slots=True)
class SNIPS:
    """Self-normalised IPS, sum of w r over sum of w. Swaminathan and Joachims, NeurIPS 2015."""

    name: str = "snips"
    form: Form = Form.RATIO
    needs: str | None = None

    def terms(self, rows: Judged) -> Floats:
        """(n, 2)."""
        return np.stack([rows.weight * rows.reward, rows.weight], axis=1)
