"""Confidence sequences of the policies that matter, in the log's order: a fold over its rows, stretch by stretch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.evaluation.sequence import ConfidenceSequence, Numbers
from simulator.comparison.results import Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST: Final = 12
"""Policies that are followed, at most: constant arms only where all policies are no more than these."""


def joined(parts: Sequence[Numbers]) -> Numbers:
    """Of rows and the rows after them."""
    return Numbers(y=np.concatenate([part.y for part in parts]), low=parts[0].low, high=parts[0].high)


@dataclass(slots=True)
class Sequences:
    """What is known of the policies at the end of each stretch, whenever one looks.

    Attributes:
        confidence: with which all intervals of one policy hold at once.
        logged: the place of the logged policy, with which the others are compared.
    """

    confidence: float
    logged: int = 0
    _values: dict[int, ConfidenceSequence] = field(default_factory=dict)
    _lifts: dict[int, ConfidenceSequence] = field(default_factory=dict)
    _ends: dict[tuple[int, int], Span] = field(default_factory=dict)

    def take(self, stretch: int, numbers: Mapping[int, Numbers]) -> None:
        """The next rows, in this stretch, by the policies' places."""
        for place, mine in numbers.items():
            before = self._values.get(place)
            self._values[place] = ConfidenceSequence.of(mine) if before is None else before.after(mine)
            self._ends[place, stretch] = self._span(self._values[place])
            if place != self.logged:
                less, known = mine.less(numbers[self.logged]), self._lifts.get(place)
                self._lifts[place] = ConfidenceSequence.of(less) if known is None else known.after(less)

    def value(self, place: int, stretch: int) -> Span | None:
        """What a policy is worth, on all rows up to the end of the stretch; None for one that is not followed."""
        return self._ends.get((place, stretch))

    def lift(self, place: int) -> Span | None:
        """How much better it is than the logged one, on all rows."""
        return self._span(self._lifts[place]) if place in self._lifts else None

    def _span(self, sequence: ConfidenceSequence) -> Span:
        return Span(sequence.value, *sequence.ends(self.confidence))
