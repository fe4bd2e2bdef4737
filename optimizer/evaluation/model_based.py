"""Estimators with a model of the reward: the direct method, and doubly robust ones, which correct it by the outcomes.

As in `estimators`, w is the weight and r the reward. q is what the model predicts for the logged arm, d what it
predicts for the target policy, both without the customer's own rows (`reward_models`). Where the weight is changed, w'
stands for what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf
from typing import TYPE_CHECKING

import numpy as np

from optimizer.evaluation.forms import Form

if TYPE_CHECKING:
    from optimizer.evaluation.judged import Judged
    from optimizer.evaluation.totals import Floats


@dataclass(frozen=True, slots=True)
class DirectMethod:
    """What the reward model says, mean of d; as biased as the model is. Dudik, Langford and Li, ICML 2011."""

    name: str = "dm"
    form: Form = Form.MEAN
    needs: str | None = "predicted"

    def terms(self, rows: Judged) -> Floats:
        """(n, 1)."""
        _, baseline = _model(rows)
        return baseline[:, None]


@dataclass(frozen=True, slots=True)
class DR:
    """Doubly robust, mean of d + w (r - q); unbiased whatever the model is. Dudik, Langford and Li, ICML 2011."""

    name: str = "dr"
    form: Form = Form.MEAN
    needs: str | None = "predicted"

    def terms(self, rows: Judged) -> Floats:
        """(n, 1)."""
        return _corrected(rows, rows.weight)


@dataclass(frozen=True, slots=True)
class SNDR:
    """Self-normalised DR, mean of d + sum of w (r - q) over sum of w. Thomas and Brunskill, ICML 2016 (weighted DR)."""

    name: str = "sndr"
    form: Form = Form.BOTH
    needs: str | None = "predicted"

    def terms(self, rows: Judged) -> Floats:
        """(n, 3)."""
        predicted, baseline = _model(rows)
        return np.stack([baseline, rows.weight * (rows.reward - predicted), rows.weight], axis=1)


@dataclass(frozen=True, slots=True)
class SwitchDR:
    """DR whose correction is left out where w > tau: there the model alone is believed. Wang et al., ICML 2017.

    Attributes:
        tau: the largest weight that is used; 0 for `DirectMethod`, infinite for `DR`.
    """

    tau: float
    form: Form = Form.MEAN
    needs: str | None = "predicted"

    @property
    def name(self) -> str:
        """With the threshold."""
        return f"switch-dr ({self.tau:g})"

    def terms(self, rows: Judged) -> Floats:
        """(n, 1)."""
        return _corrected(rows, np.where(rows.weight <= self.tau, rows.weight, 0.0))


@dataclass(frozen=True, slots=True)
class DRos:
    """DR with optimistic shrinkage, w' = strength w / (w^2 + strength). Su et al., ICML 2020, equation 8.

    Attributes:
        strength: lambda of the paper; 0 for `DirectMethod`, infinite for `DR`.
    """

    strength: float
    form: Form = Form.MEAN
    needs: str | None = "predicted"

    @property
    def name(self) -> str:
        """With lambda."""
        return f"dr-os ({self.strength:g})"

    def terms(self, rows: Judged) -> Floats:
        """(n, 1)."""
        if isinf(self.strength):
            return _corrected(rows, rows.weight)
        with np.errstate(invalid="ignore"):
            shrunk = self.strength * rows.weight / (rows.weight**2 + self.strength)
        return _corrected(rows, np.nan_to_num(shrunk, nan=0.0))


def _model(rows: Judged) -> tuple[Floats, Floats]:
    if rows.predicted is None or rows.baseline is None:
        raise ValueError("this estimator needs the predictions of a reward model")
    return rows.predicted, rows.baseline


def _corrected(rows: Judged, weight: Floats) -> Floats:
    predicted, baseline = _model(rows)
    return (baseline + weight * (rows.reward - predicted))[:, None]
