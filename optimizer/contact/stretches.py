"""Sets of time: stretches from one instant up to another, half-open, in order and apart."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_BEGINNING_US: Final = -(1 << 62)
_END_US: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Stretches:
    """Where each stretch starts, and where it ends, which is no part of it; UTC microseconds.

    They are in order, none is empty, and none touches another.
    """

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    @classmethod
    def of(cls, stretches: Iterable[tuple[int, int]]) -> Stretches:
        """The union of any stretches; those that end where they start, or before, are nothing."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted(stretches):
            if end <= start:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return cls(tuple(start for start, _ in merged), tuple(end for _, end in merged))

    def __contains__(self, at_us: int) -> bool:
        """Whether an instant lies in one of them."""
        place = bisect_right(self.starts, at_us)
        return place > 0 and at_us < self.ends[place - 1]

    def complement(self) -> Stretches:
        """All other time."""
        starts = (_BEGINNING_US, *self.ends)
        ends = (*self.starts, _END_US)
        return Stretches.of(zip(starts, ends, strict=True))

    def union(self, other: Stretches) -> Stretches:
        """The time that lies in either."""
        both = (*zip(self.starts, self.ends, strict=True), *zip(other.starts, other.ends, strict=True))
        return Stretches.of(both)

    def minus(self, other: Stretches) -> Stretches:
        """The time that lies in this and not in the other."""
        return self.complement().union(other).complement()

    def first(self, from_us: int, until_us: int) -> int | None:
        """The first instant of it in `[from_us, until_us)`; None where there is none."""
        place = bisect_right(self.ends, from_us)
        if place == len(self.ends):
            return None
        at_us = max(self.starts[place], from_us)
        return at_us if at_us < until_us else None

    def last_end(self, until_us: int) -> int:
        """Where the last part of it before `until_us` ends; there must be one."""
        return min(self.ends[bisect_left(self.starts, until_us) - 1], until_us)


NEVER: Final = Stretches()
"""No time at all."""
ALWAYS: Final = Stretches((_BEGINNING_US,), (_END_US,))
"""All time."""
