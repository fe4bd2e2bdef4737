"""How an estimate follows from sums over rows, whatever the estimator: three functions, and their derivatives."""

from __future__ import annotations

from enum import Enum
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.evaluation.totals import Floats


class Function(Protocol):
    """How an estimate follows from sums: `Form`, or the difference of two."""

    @property
    def terms(self) -> int:
        """How many terms it takes."""

    def estimate(self, sums: Floats) -> Floats:
        """(...,) from the number of rows and the sums of the terms (..., 1 + m)."""

    def gradient(self, sums: Floats) -> Floats:
        """(1 + m,) derivatives of `estimate` by each of these."""


class Estimated(Protocol):
    """What is known of an estimator without its rows, or of the difference between what it says of two policies."""

    @property
    def name(self) -> str:
        """As of `Estimator`."""

    @property
    def form(self) -> Function:
        """How the estimate follows from the sums of its terms."""

    @property
    def needs(self) -> str | None:
        """As of `Estimator`."""


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


def places(estimators: Sequence[Estimated]) -> list[range]:
    """Which terms are each estimator's, where they stand one after the other."""
    ends = accumulate((each.form.terms for each in estimators), initial=0)
    return [range(*each) for each in pairwise(ends)]
