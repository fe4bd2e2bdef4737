"""SLOPE: which value of an estimator's parameter, or which kinds of arms, by Lepski's principle.

Candidates are put in order from the widest interval to the narrowest, and one is believed as long as its interval
meets those of all before it: the bias that it has is then hidden in the uncertainty of the ones that have less. The
last one believed is chosen. Su, Srinath and Krishnamurthy, "Adaptive estimator selection for off-policy evaluation",
ICML 2020, with the constant and the order of Tucker and Lee, "Improved estimator selection for off-policy evaluation"
(2021): candidate i stays while |v_i - v_j| <= width_i + (sqrt(6) - 1) width_j for all j before it.

One pass over the log is enough: a `Tally` of all candidates has the means and the variances, with customers as units.
"""

from __future__ import annotations

from math import isnan, sqrt
from typing import TYPE_CHECKING, Final

from scipy import stats

from optimizer.evaluation.estimators import ClippedIPS
from optimizer.evaluation.forms import places
from optimizer.evaluation.model_based import DRos, SwitchDR
from optimizer.evaluation.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.evaluation.estimators import Estimator
    from optimizer.evaluation.tally import Sums

PARAMETERS: Final = (float("inf"), 10000.0, 5000.0, 1000.0, 500.0, 100.0, 50.0, 10.0)
"""Values to choose among, those of the Open Bandit Pipeline's examples; the infinite one is plain DR or IPS."""

CLIPPED_IPS: Final = tuple(ClippedIPS(cap) for cap in PARAMETERS)
SWITCH_DR: Final = tuple(SwitchDR(tau) for tau in PARAMETERS)
DR_OS: Final = tuple(DRos(strength) for strength in PARAMETERS)

CONFIDENCE: Final = 0.9
"""One-sided, of the intervals that have to meet."""

_C: Final = sqrt(6.0) - 1.0


def accepted(values: Sequence[float], widths: Sequence[float]) -> int:
    """How many of some estimates, in the order in which their bias grows, are believed: at least the first one."""
    for i in range(1, len(values)):
        if any(abs(values[i] - values[j]) > widths[i] + _C * widths[j] for j in range(i)):
            return i
    return len(values)


def intervals(
    candidates: Sequence[Estimator], sums: Sums, confidence: float = CONFIDENCE
) -> tuple[list[float], list[float]]:
    """Each candidate's estimate, and how far its interval reaches to one side, by Student's t; nan where undefined.

    Args:
        candidates: at least one.
        sums: of the terms of all of them, one's after another's.
        confidence: see `CONFIDENCE`.
    """
    moments = sums.moments()
    quantile = float(stats.t.ppf(confidence, max(moments.customers - 1, 1)))
    values, widths = [], []
    for candidate, mine in zip(candidates, places(candidates), strict=True):
        own = moments.take(mine)
        values.append(float(candidate.form.estimate(own.sums)))
        widths.append(quantile * sqrt(own.variance(candidate.form.gradient(own.sums))))
    return values, widths


def choose(candidates: Sequence[Estimator], sums: Sums, confidence: float = CONFIDENCE) -> int:
    """Which of the candidates to use; arguments as of `intervals`.

    Of several with equally wide intervals the earlier is taken for less biased. Where a width is undefined, as with
    fewer than two customers, the first candidate is chosen.
    """
    values, widths = intervals(candidates, sums, confidence)
    if any(map(isnan, widths)):
        return 0
    order = sorted(range(len(values)), key=lambda i: -widths[i])
    return order[accepted([values[i] for i in order], [widths[i] for i in order]) - 1]


def tuned(tally: Tally, families: Sequence[Sequence[Estimator]], confidence: float = CONFIDENCE) -> Tally:
    """A tally in which of each family only the estimator that SLOPE chooses is left, in its place among the others.

    Args:
        tally: of all of the families' estimators, and perhaps of others.
        families: each the candidates among which one is to be chosen.
        confidence: see `CONFIDENCE`.
    """
    at = dict(zip(tally.estimators, places(tally.estimators), strict=True))
    dropped = set()
    for family in families:
        terms = [term for each in family for term in at[each]]
        best = choose(family, tally.sums.take(terms), confidence)
        dropped |= set(family) - {family[best]}
    left = [each for each in tally.estimators if each not in dropped]
    sums = tally.sums.take([term for each in left for term in at[each]])
    return Tally(tuple(left), sums, tally.weights, tally.support)
