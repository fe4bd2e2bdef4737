"""From scores to probabilities to a draw.

Every policy turns the scores of a batch into the whole distribution over the allowed arms, row by row, and one function
draws from it. The propensity that is logged is the very array element that was drawn from.

Shapes: `n` customers, `K` arms. `scores` is (n, K), higher is better; `allowed` is (n, K) bool; a distribution is (n,
K) float64 whose rows sum to one where any arm is allowed and are all zero where none is. Every operation is row by row,
so that the result for a customer does not depend on the batch the customer came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-53


@dataclass(frozen=True, slots=True)
class Exploration:
    """One policy with its parameters, as it is stored with a decision.

    Attributes:
        kind: the policy; `fixed` puts everything on the arm numbered `arm`.
        parameter: epsilon of `epsilon_greedy`, lambda of `softmax`, gamma of `squarecb`; unused by the others.
        uniform_share: total share mixed uniformly over the allowed arms, in [0, 1].
        arm: index of the arm of `fixed`, -1 otherwise.
    """

    kind: Literal["squarecb", "epsilon_greedy", "softmax", "greedy", "uniform", "fixed"]
    parameter: float = 0.0
    uniform_share: float = 0.0
    arm: int = -1

    def probabilities(self, scores: NDArray[Any] | None, allowed: Bools) -> Floats:
        """The distribution over the allowed arms, (n, K).

        Without scores (no model yet) every policy but `fixed` is uniform. `fixed` gives an all-zero row where its arm
        is not allowed.
        """
        if self.kind == "fixed":
            return fixed(allowed, self.arm)
        if scores is None or self.kind == "uniform":
            return uniform(allowed)
        if self.kind == "greedy":
            return epsilon_greedy(scores, allowed, 0.0)
        policy = {"squarecb": squarecb, "epsilon_greedy": epsilon_greedy, "softmax": softmax}[self.kind]
        return mix_uniform(policy(scores, allowed, self.parameter), allowed, self.uniform_share)


def squarecb(scores: NDArray[Any], allowed: Bools, gamma: float) -> Floats:
    """Inverse gap weighting: p_a = 1 / (m + gamma * (best - score_a)) for all of the m allowed arms but the best.

    That one gets the rest; of several best ones the first. Foster and Rakhlin, "Beyond UCB: Optimal and Efficient
    Contextual Bandits with Regression Oracles", ICML 2020, algorithm 1.
    """
    masked, best, any_allowed = _best(scores, allowed)
    rows = np.arange(len(masked))
    top = np.where(any_allowed, masked[rows, best], 0.0)
    gaps = np.subtract(top[:, None], masked, out=masked)
    gaps[~allowed] = 0.0
    gaps *= gamma
    gaps += np.maximum(_count(allowed), 1.0)[:, None]
    p = np.divide(1.0, gaps, out=gaps)
    p[~allowed] = 0.0
    p[rows, best] = 0.0
    p[rows, best] = np.where(any_allowed, 1.0 - p.sum(axis=1), 0.0)
    return p


def epsilon_greedy(scores: NDArray[Any], allowed: Bools, epsilon: float) -> Floats:
    """Epsilon spread uniformly over the allowed arms, the rest shared by the best of them, as in Vowpal Wabbit."""
    masked, best, _ = _best(scores, allowed)
    top = masked[np.arange(len(masked)), best]
    tied = (masked == top[:, None]) & allowed
    p: Floats = tied * ((1.0 - epsilon) / np.maximum(_count(tied), 1.0))[:, None]
    p += allowed * (epsilon / np.maximum(_count(allowed), 1.0))[:, None]
    return p


def softmax(scores: NDArray[Any], allowed: Bools, scale: float) -> Floats:
    """p_a proportional to exp(scale * score_a), computed from the gaps to the best so that nothing overflows."""
    masked, best, any_allowed = _best(scores, allowed)
    top = np.where(any_allowed, masked[np.arange(len(masked)), best], 0.0)
    masked -= top[:, None]
    masked *= scale
    masked[~allowed] = -np.inf
    p = np.exp(masked, out=masked)
    p /= np.where(any_allowed, p.sum(axis=1), 1.0)[:, None]
    return p


def uniform(allowed: Bools) -> Floats:
    """The same probability for every allowed arm."""
    p: Floats = allowed * (1.0 / np.maximum(_count(allowed), 1.0))[:, None]
    return p


def fixed(allowed: Bools, arm: int) -> Floats:
    """Everything on one arm; an all-zero row where it is not allowed."""
    p = np.zeros(allowed.shape)
    p[:, arm] = allowed[:, arm]
    return p


def mix_uniform(p: Floats, allowed: Bools, share: float) -> Floats:
    """`share` in all spread uniformly over the allowed arms, the rest as `p` says."""
    if share == 0.0:
        return p
    p *= 1.0 - share
    p += uniform(allowed) * share
    return p


def draw(p: Floats, u: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Draw one arm a row by inverting the cumulative distribution at `u` (n,), uniform in (0, 1).

    Returns the arm's index (n,), -1 where the row is all zero, and the element of `p` drawn from (0 there).
    """
    cumulative = p.cumsum(axis=1)
    arm = np.count_nonzero(cumulative <= u[:, None], axis=1)
    rows = np.arange(len(p))
    # Rounding may leave the last cumulative value a hair below u: the row's last possible arm is meant.
    past_end = arm >= p.shape[1]
    if past_end.any():
        last = p.shape[1] - 1 - (p[past_end, ::-1] > 0.0).argmax(axis=1)
        arm[past_end] = np.where(p[past_end, last] > 0.0, last, 0)
    propensity = p[rows, arm]
    return np.where(propensity > 0.0, arm, -1), propensity


def campaign_key(tenant: str, campaign_id: str) -> tuple[int, int]:
    """The two 64-bit words that key the draws of a campaign."""
    digest = blake2b(f"{tenant}\0{campaign_id}".encode(), digest_size=16, person=b"optimizer-draw").digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


def uniforms(key: tuple[int, int], words: NDArray[np.uint64]) -> Floats:
    """One number in (0, 1) for each decision id, a keyed hash of it.

    Args:
        key: from `campaign_key`.
        words: (n, 2) uint64, the halves of the decision ids.

    The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014), once for each keyed word. The 53 highest bits give the number.
    """
    h = _mix(words[:, 0] ^ np.uint64(key[0]))
    h = _mix((h + words[:, 1]) ^ np.uint64(key[1]))
    return ((h >> np.uint64(11)).astype(np.float64) + 0.5) * _TO_UNIT


def _mix(h: NDArray[np.uint64]) -> NDArray[np.uint64]:
    h = (h ^ (h >> np.uint64(30))) * _MIX_1
    h = (h ^ (h >> np.uint64(27))) * _MIX_2
    return h ^ (h >> np.uint64(31))


def _best(scores: NDArray[Any], allowed: Bools) -> tuple[Floats, NDArray[np.intp], Bools]:
    """Fresh float64 scores with -inf where not allowed, the index of each row's first best, and which rows have any."""
    masked = np.where(allowed, scores, -np.inf).astype(np.float64, copy=False)
    return masked, np.argmax(masked, axis=1), np.any(allowed, axis=1)


def _count(mask: Bools) -> Floats:
    return np.asarray(np.count_nonzero(mask, axis=1), np.float64)
