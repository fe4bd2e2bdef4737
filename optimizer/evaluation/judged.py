"""What a target policy makes of logged rows: its weight on what was done, and what a model says of what was not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from optimizer.evaluation.log import Log
    from optimizer.evaluation.totals import Floats


class Policy(Protocol):
    """A policy that can be judged on a log."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def probabilities(self, log: Log) -> Floats:
        """(n, K) the probability of each arm in each row; rows sum to one, and are 0 where an arm is no candidate.

        Called once for each chunk of a log, in the log's order: a policy that learns has seen the chunks before. A row
        of zeros says that the policy cannot act there, and such rows are refused.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """n logged rows under a target policy.

    Attributes:
        reward, propensity: (n,) as in the log.
        target: (n,) the target's probability of the logged arm.
        weight: (n,) target / propensity.
        predicted: (n,) the reward model's prediction for the logged arm; None without a model.
        baseline: (n,) the model's prediction for the target policy: sum over arms of probability x prediction.
        marginal: for `MIPS`, by the name of a division of the arms into kinds: (n,) weight of the logged arm's kind
            rather than of the arm itself. Only those that are known.
        uniform: (n,) numbers in [0, 1) that depend on nothing, for `Replay`.
        customer: (n,) as in the log.
    """

    reward: Floats
    propensity: Floats
    target: Floats
    weight: Floats
    predicted: Floats | None = None
    baseline: Floats | None = None
    marginal: Mapping[str, Floats] = field(default_factory=dict)
    uniform: Floats | None = None
    customer: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.reward)


def judge(
    log: Log,
    target: Floats,
    *,
    predictions: Floats | None = None,
    marginal: Mapping[str, Floats] | None = None,
    uniform: Floats | None = None,
) -> Judged:
    """The rows of a log under a target policy.

    Args:
        log: n rows among K arms.
        target: (n, K) the policy's probabilities.
        predictions: (n, K) a reward model's, made without the rows' own customers (cross-fitted).
        marginal: weights of kinds of arms, from `marginal_weights`.
        uniform: (n,) see `Judged`.
    """
    rows = np.arange(len(log))
    chosen = target[rows, log.chosen]
    return Judged(
        reward=log.reward,
        propensity=log.propensity,
        target=chosen,
        weight=chosen / log.propensity,
        predicted=None if predictions is None else predictions[rows, log.chosen],
        baseline=None if predictions is None else np.einsum("nk,nk->n", target, predictions),
        marginal=marginal or {},
        uniform=uniform,
        customer=log.customer,
    )


def judge_logged(log: Log) -> Judged:
    """The rows under the policy that made the log: every weight is 1, whatever its propensities were."""
    return Judged(
        reward=log.reward,
        propensity=log.propensity,
        target=log.propensity,
        weight=np.ones(len(log)),
        customer=log.customer,
    )
