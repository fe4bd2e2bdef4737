"""Whether a log can tell anything of a policy: how much of what the policy does was ever done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.evaluation.log import Log
    from optimizer.evaluation.totals import Floats

TOLERATED: Final = 1e-9
"""Share of a policy's choices that may be without support: what rounding leaves."""


@dataclass(frozen=True, slots=True)
class Support:
    """What a policy does and what the log did, by arm; that of two shards is added.

    Attributes:
        rows: n.
        unable: rows in which the policy puts no probability anywhere: its arms were no candidates.
        drawn: (K,) how often the log drew each arm.
        wanted: (K,) sum over rows of the policy's probability of each arm.
        impossible: (K,) the part of `wanted` in rows where the log is known to have given the arm no probability.
    """

    rows: int
    unable: int
    drawn: Floats
    wanted: Floats
    impossible: Floats

    @classmethod
    def of(cls, log: Log, target: Floats) -> Support:
        """Of a policy's probabilities (n, K)."""
        drawn = np.bincount(log.chosen, minlength=len(log.arms)).astype(np.float64)
        impossible = np.zeros(len(log.arms))
        if log.distribution is not None:
            impossible = np.where(log.distribution > 0.0, 0.0, target).sum(axis=0)
        elif log.allowed is not None:
            impossible = np.where(log.allowed, 0.0, target).sum(axis=0)
        unable = np.count_nonzero(target.sum(axis=1) == 0.0)
        return cls(len(log), int(unable), drawn, target.sum(axis=0), impossible)

    def __add__(self, other: Support) -> Support:
        k = max(len(self.drawn), len(other.drawn))
        return Support(
            self.rows + other.rows,
            self.unable + other.unable,
            *(
                np.pad(mine, (0, k - len(mine))) + np.pad(theirs, (0, k - len(theirs)))
                for mine, theirs in (
                    (self.drawn, other.drawn),
                    (self.wanted, other.wanted),
                    (self.impossible, other.impossible),
                )
            ),
        )

    def refusal(self, policy: str, arms: Sequence[str]) -> Refusal | None:
        """Why nothing can be said of the policy, whose name is given; None if it can be judged."""
        missing = self.missing(arms)
        if not missing and not self.unable:
            return None
        return Refusal(policy, missing, self.unable / self.rows)

    def missing(self, arms: Sequence[str]) -> dict[str, float]:
        """Arms that the policy wants where nothing of the kind was logged, with their share of all that it does."""
        without = np.where(self.drawn == 0.0, self.wanted, self.impossible) / max(self.rows, 1)
        return {arm: float(share) for arm, share in zip(arms, without, strict=True) if share > TOLERATED}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no number: the log cannot tell.

    Attributes:
        policy: whose value was asked for.
        arms: the arms without support, with their share of what the policy does.
        unable: share of rows in which the policy could do nothing at all.
    """

    policy: str
    arms: dict[str, float]
    unable: float = 0.0

    def __str__(self) -> str:
        named = [f"{arm} ({share:.2%} of its choices)" for arm, share in self.arms.items()]
        parts = [f"the log has nothing on {', '.join(named)}"] if named else []
        if self.unable:
            parts.append(f"in {self.unable:.2%} of the rows none of its arms is a candidate")
        return f"{self.policy} cannot be judged: {' and '.join(parts)}"
