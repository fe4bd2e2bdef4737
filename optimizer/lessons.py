"""What is learned from: matured decisions as columns, in the order of learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from optimizer.features import Encoded, FeatureSpace, Level


@dataclass(frozen=True, slots=True)
class Lessons:
    """n matured decisions in learning order.

    Attributes:
        numbers: (n, D) float64 raw numbers as the arm drawn sees them, NaN where missing.
        unseen: (n, D) True where the arm sees neither the number nor that it is missing.
        levels: for each categorical feature the n values.
        arms: (n,) the text of the arm drawn, from `FeatureSpace.arm_text`.
        rewards: (n,) float64, in units of the reward's scale.
        propensities: (n,) float64, with which the arm was drawn.
        candidates: (n,) number of arms that were allowed.
    """

    numbers: NDArray[np.float64]
    unseen: NDArray[np.bool_]
    levels: tuple[Sequence[Level], ...]
    arms: Sequence[str]
    rewards: NDArray[np.float64]
    propensities: NDArray[np.float64]
    candidates: NDArray[np.intp]

    @classmethod
    def of(  # noqa: PLR0913 - the columns of a log
        cls,
        space: FeatureSpace,
        encoded: Encoded,
        arms: NDArray[np.intp],
        variants: Sequence[tuple[str, int] | None],
        *,
        rewards: NDArray[np.float64],
        propensities: NDArray[np.float64],
        candidates: NDArray[np.intp],
    ) -> Lessons:
        """Lessons from encoded features and the index of the arm drawn (n,), whose slot was of this variant."""
        channels = space.catalog.channel_of[arms]
        texts = [space.arm_text(arm, variant) for arm, variant in zip(arms.tolist(), variants, strict=True)]
        return cls(
            space.chosen(encoded, channels),
            space.unseen(channels),
            encoded.levels,
            texts,
            rewards,
            propensities,
            candidates,
        )

    def __len__(self) -> int:
        return len(self.arms)
