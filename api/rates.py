"""How often each caller may ask."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Rates:
    """Lets each caller ask `rate` times a second, evenly or in bursts of a second's worth, exactly.

    One number for each caller: the instant at which what was taken so far would be used up at that rate (the generic
    cell rate algorithm of ATM Forum TM 4.0, which is a token bucket).
    """

    def __init__(self, rate: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._step_s = 1 / rate
        self._burst_s = max(1.0, self._step_s) - self._step_s
        self._monotonic = monotonic
        self._used_s: dict[str, float] = {}

    def wait_s(self, caller: str) -> float:
        """0 where the caller may ask now, which counts; otherwise how long it has to wait, which does not."""
        now_s = self._monotonic()
        used_s = max(now_s, self._used_s.get(caller, now_s))
        if used_s - now_s > self._burst_s + 1e-9:
            return used_s - now_s - self._burst_s
        self._used_s[caller] = used_s + self._step_s
        return 0.0
