"""Numbers of a comparison as text: as many digits as their uncertainty leaves worth reading."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, isnan, log10
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from optimizer.evaluation.tally import Estimate
    from simulator.comparison.results import Comparison, Span

_FEWEST: Final = 2
_MOST: Final = 8
_USUAL: Final = 4


@dataclass(frozen=True, slots=True)
class Digits:
    """How many decimals all values of a comparison are written with, so that they stand below each other."""

    decimals: int

    @classmethod
    def of(cls, comparison: Comparison) -> Digits:
        """Two digits of the narrowest of the values' intervals, to either side."""
        widths = [policy.estimates[0].high - policy.estimates[0].low for policy in comparison.judged]
        known = [width for width in widths if width > 0.0]
        return cls(min(max(1 - floor(log10(min(known) / 2)), _FEWEST), _MOST) if known else _USUAL)

    def number(self, value: float | None, *, signed: bool = False) -> str:
        """A dash for none."""
        if value is None or isnan(value):
            return "-"
        return f"{value:{'+' if signed else ''}.{self.decimals}f}"

    def span(self, estimate: Estimate | Span | None, *, signed: bool = False) -> str:
        """An interval, such as `0.1772..0.1875`."""
        if estimate is None or estimate.low is None or isnan(estimate.low):
            return "-"
        return f"{self.number(estimate.low, signed=signed)}..{self.number(estimate.high, signed=signed)}"
