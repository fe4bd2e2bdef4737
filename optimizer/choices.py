"""What the decider is given and what it gives: the facts about many customers, and what was chosen for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.attributes import Columns
    from optimizer.catalog import Schedule
    from optimizer.contact.facts import ContactFacts


@dataclass(frozen=True, slots=True)
class Batch:
    """The facts about n customers at one instant.

    Attributes:
        words: (n, 2) uint64, the halves of the decisions' ids.
        groups: (n,) uint8, index into `GROUPS`.
        context: declared attributes by name.
        history: history features by name; those by channel are (n, number of channels).
        touches: (n,) touches that this campaign has made or planned for the customer.
        schedules: the distinct schedules of the customers' time zones.
        schedule_of: (n,) index into `schedules`.
        contact: what contact rules read; None where nothing was gathered for them.
    """

    words: NDArray[np.uint64]
    groups: NDArray[np.uint8]
    context: Columns
    history: Columns
    touches: NDArray[np.intp]
    schedules: Sequence[Schedule]
    schedule_of: NDArray[np.intp]
    contact: ContactFacts | None = None

    def __len__(self) -> int:
        return len(self.words)

    def rows(self, start: int, end: int) -> Batch:
        """The customers from `start` up to `end`, as views."""
        return Batch(
            self.words[start:end],
            self.groups[start:end],
            {name: column[start:end] for name, column in self.context.items()},
            {name: column[start:end] for name, column in self.history.items()},
            self.touches[start:end],
            self.schedules,
            self.schedule_of[start:end],
            self.contact.rows(start, end) if self.contact is not None else None,
        )


@dataclass(frozen=True, slots=True)
class Choices:
    """What was decided for n customers.

    Attributes:
        arm: (n,) index of the arm drawn; no_send where nobody may be contacted; -1 where there is nothing to draw from.
        propensity: (n,) float64, with which it was drawn, given the group; NaN where `arm` is -1.
        reason: (n,) uint8, code of the reason for not sending, 0 where something is sent.
        removed: (n, K) uint8, code of the reason for which an arm was removed, 0 for the candidates; None if not asked
            for.
        scores: (n, K) float32, None without a model or if not asked for.
    """

    arm: NDArray[np.intp]
    propensity: NDArray[np.float64]
    reason: NDArray[np.uint8]
    removed: NDArray[np.uint8] | None
    scores: NDArray[np.float32] | None

    def first(self, size: int) -> Choices:
        """Those of the first customers."""
        removed = None if self.removed is None else self.removed[:size]
        scores = None if self.scores is None else self.scores[:size]
        return Choices(self.arm[:size], self.propensity[:size], self.reason[:size], removed, scores)

    @classmethod
    def joined(cls, parts: Sequence[Choices]) -> Choices:
        """The choices of the parts of a batch, in order; all of them have details, or none."""
        if len(parts) == 1:
            return parts[0]
        removed = [part.removed for part in parts if part.removed is not None]
        scores = [part.scores for part in parts if part.scores is not None]
        return cls(
            np.concatenate([part.arm for part in parts]),
            np.concatenate([part.propensity for part in parts]),
            np.concatenate([part.reason for part in parts]),
            np.concatenate(removed) if removed else None,
            np.concatenate(scores) if scores else None,
        )
