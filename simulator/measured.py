"""What decisions were truly worth, which only a world knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Measured:
    """True values of n decisions, known only to the world.

    Attributes:
        decided_us: (n,) int64.
        group: (n,) the group's name.
        chosen: (n,) expected reward of the arm drawn.
        best: (n,) that of the best arm in the same state.
        uniform: (n,) that of a uniform draw in the same state.
    """

    decided_us: NDArray[np.int64]
    group: NDArray[np.str_]
    chosen: NDArray[np.float64]
    best: NDArray[np.float64]
    uniform: NDArray[np.float64]

    @classmethod
    def concatenate(cls, parts: Iterable[Measured]) -> Self:
        """All of them, in order."""
        columns = zip(*((p.decided_us, p.group, p.chosen, p.best, p.uniform) for p in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def where(self, wanted: NDArray[np.bool_]) -> Measured:
        """Those where `wanted` (n,) is true."""
        return Measured(
            self.decided_us[wanted], self.group[wanted], self.chosen[wanted], self.best[wanted], self.uniform[wanted]
        )

    def __len__(self) -> int:
        return len(self.decided_us)

    @property
    def gap_closed(self) -> float | None:
        """The share of the gap between a uniform draw and the oracle, in these very states, that was closed.

        sum(chosen - uniform) / sum(best - uniform); None where there is no gap.
        """
        gap = float(np.sum(self.best - self.uniform))
        return float(np.sum(self.chosen - self.uniform)) / gap if gap > 0.0 else None

    @property
    def oracle_share(self) -> float | None:
        """The expected reward of what was chosen, as a share of the oracle's; None where the oracle gets nothing."""
        best = float(np.sum(self.best))
        return float(np.sum(self.chosen)) / best if best > 0.0 else None
