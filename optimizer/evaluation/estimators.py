"""Estimators of what a policy would have earned, as terms of rows whose sums give the estimate.

Each is a frozen value that turns judged rows into (n, m) terms. Sums of terms can be added over shards; the estimate is
one of three functions of them, by the estimator's `form`:

    mean    s1 / n                        the mean of one term
    ratio   s1 / s2                       self-normalised
    both    s1 / n + s2 / s3              a mean and a self-normalised correction

with n the number of rows, w a row's weight (target probability / propensity) and r its reward. Those here weigh what
was logged; those with a model of the reward are in `model_based`. A parameter buys less variance with bias: `slope`
chooses among several values of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from optimizer.errors import InvalidInput
from optimizer.evaluation.forms import Form

if TYPE_CHECKING:
    from optimizer.evaluation.judged import Judged
    from optimizer.evaluation.totals import Floats

_ROUNDING = 1e-9


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
class ClippedIPS:
    """Mean of min(w, cap) r; too low for rewards that are never negative. Ionides (2008); Bottou et al., JMLR 2013.

    Attributes:
        cap: the largest weight, positive; infinite for `IPS`.
    """

    cap: float
    form: Form = Form.MEAN
    needs: str | None = None

    @property
    def name(self) -> str:
        """With the cap."""
        return f"clipped ips ({self.cap:g})"

    def terms(self, rows: Judged) -> Floats:
        """(n, 1)."""
        return (np.minimum(rows.weight, self.cap) * rows.reward)[:, None]


@dataclass(frozen=True, slots=True)
class SNIPS:
    """Self-normalised IPS, sum of w r over sum of w. Swaminathan and Joachims, NeurIPS 2015."""

    name: str = "snips"
    form: Form = Form.RATIO
    needs: str | None = None

    def terms(self, rows: Judged) -> Floats:
        """(n, 2)."""
        return np.stack([rows.weight * rows.reward, rows.weight], axis=1)


@dataclass(frozen=True, slots=True)
class MIPS:
    """IPS by kinds of arms, mean of P(kind | target) / P(kind | log) r. Saito and Joachims, ICML 2022.

    Unbiased where a kind's arms earn alike (no effect of the arm but through its kind), and the log had each kind
    that the target wants: arms themselves may be without support.

    Attributes:
        kinds: the name of a division of the arms into kinds, one of `Judged.marginal`.
    """

    kinds: str
    form: Form = Form.MEAN
    needs: str | None = "marginal"

    @property
    def name(self) -> str:
        """With what the kinds are."""
        return f"mips ({self.kinds})"

    def terms(self, rows: Judged) -> Floats:
        """(n, 1)."""
        if self.kinds not in rows.marginal:
            raise ValueError(f"{self.name} needs the marginal weights of {self.kinds}")
        return (rows.marginal[self.kinds] * rows.reward)[:, None]


@dataclass(frozen=True, slots=True)
class Replay:
    """Mean reward of the rows accepted as if the target had drawn them. Li, Chu, Langford and Wang, WSDM 2011.

    A row is accepted with probability w / bound (rejection sampling), so that what is accepted is distributed as the
    target's own log. Where K arms were drawn uniformly and the bound is K, that is the paper's "the arm that the target
    draws is the logged one". It wastes rows, and is worth its while where a policy has to be run rather than weighed.

    Attributes:
        bound: at least as large as any weight may be.
    """

    bound: float
    name: str = "replay"
    form: Form = Form.RATIO
    needs: str | None = "uniform"

    def terms(self, rows: Judged) -> Floats:
        """(n, 2). Raises `InvalidInput` where a weight is larger than the bound."""
        if rows.uniform is None:
            raise ValueError("replay needs uniform numbers")
        largest = float(rows.weight.max(initial=0.0))
        if largest > self.bound * (1.0 + _ROUNDING):
            raise InvalidInput(
                f"replay was given {self.bound:g} as a bound of the weights, and one is {largest:g}: give a bound that "
                "holds, 1 / the smallest propensity for any policy"
            )
        accepted = rows.uniform < rows.weight / self.bound
        return np.stack([np.where(accepted, rows.reward, 0.0), accepted], axis=1)
