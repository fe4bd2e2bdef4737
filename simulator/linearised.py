"""A function of sums over customers, with the interval of its linear part."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, isnan
from typing import TYPE_CHECKING, Final

from optimizer.evaluation.intervals import linear_ends

if TYPE_CHECKING:
    from optimizer.evaluation.totals import Floats, Moments

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and its 95% interval by Student's t, customers as the units.

    Attributes:
        value: the number, None where it is undefined.
        low, high: the interval's ends, None where nothing is known of them.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, gradient: Floats, moments: Moments) -> Figure:
        """A function's value, and its derivatives by the sums that `moments` has: (M + 1,), rows at index 0."""
        value = float(value)
        if not isfinite(value):
            return cls(None)
        low, high = linear_ends(value, gradient, moments, CONFIDENCE)
        return cls(value) if isnan(low) else cls(value, low, high)

    def text(self, digits: int, *, signed: bool = False) -> str:
        """As a table shows it: `0.0412 [0.0391, 0.0433]`."""
        if self.value is None:
            return "-"
        sign = "+" if signed else ""
        ends = "" if self.low is None else f" [{self.low:{sign}.{digits}f}, {self.high:{sign}.{digits}f}]"
        return f"{self.value:{sign}.{digits}f}{ends}"
