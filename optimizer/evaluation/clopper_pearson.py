"""An interval for IPS from the binomial distribution, for very few rows with a reward.

Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial" (1934), exact
for rewards of 0 and 1 under weights that are all alike. With others it takes the rows for n / W trials, of which the
sum of w r / W succeeded, W being the largest weight: what vw-estimators and its users do, with no proof behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy.special import betaincinv

from optimizer.evaluation.intervals import NONE

if TYPE_CHECKING:
    from optimizer.evaluation.intervals import Ends
    from optimizer.evaluation.weights import Weights


def clopper_pearson(weighted: float, weights: Weights, confidence: float = 0.95) -> Ends:
    """The ends.

    Args:
        weighted: the sum of weight x reward, rewards in [0, 1].
        weights: of all rows; none without any weight.
        confidence: such as 0.95.
    """
    if not weights.largest > 0.0:
        return NONE
    d, trials, successes = (1.0 - confidence) / 2, weights.rows / weights.largest, weighted / weights.largest
    low = float(betaincinv(successes, trials - successes + 1.0, d)) if successes > 0.0 else 0.0
    high = float(betaincinv(successes + 1.0, trials - successes, 1.0 - d)) if successes < trials else 1.0
    return low, high
