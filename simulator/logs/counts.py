"""What an export holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """How many decisions were written.

    Attributes:
        decisions: in all.
        learned: those that the campaign learns from.
        left_out: how many of the others there are, by reason.
    """

    decisions: int
    learned: int
    left_out: Mapping[str, int]
