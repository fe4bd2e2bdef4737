"""How far a sum of draws may be from what their probabilities say: Bennett's inequality, on the usual scale of z.

S = sum of (1 if an arm was drawn, else 0) - p has independent terms of mean 0, none larger than 1 in size, and the
variance V = sum of p (1 - p). By Bennett's inequality (1962; for adaptive policies Freedman 1975)

    P(S >= s) <= exp(-V h(s / V)),  h(u) = (1 + u) log(1 + u) - u,  and the same for S <= -s,

whatever V is, so an arm that is rarely drawn raises no false alarm. z = sign(S) sqrt(2 V h(|S| / V)) puts this on the
usual scale: it is S / sqrt(V) where the arm is common, and P(|z| >= c) <= 2 exp(-c^2 / 2).
"""

from __future__ import annotations

from math import copysign, inf, log, log1p, sqrt
from typing import Final

FALSE_ALARM: Final = 1e-4
"""With what probability a look at a right log is an alarm, at most."""

_EQUAL_SUMS: Final = 1e-6
_NOTHING: Final = 1e-12


def z(off: float, variance: float) -> float:
    """Of S and V; infinite for what was drawn although it could not be, or not although it had to be."""
    if variance <= _NOTHING:
        return 0.0 if abs(off) <= _EQUAL_SUMS else copysign(inf, off)
    u = abs(off) / variance
    return copysign(sqrt(2.0 * variance * ((1.0 + u) * log1p(u) - u)), off)


def alarm(checks: int) -> float:
    """The |z| that the largest of so many reaches with a probability of at most `FALSE_ALARM`; 5.4 for 120."""
    return sqrt(2.0 * log(2.0 * max(checks, 1) / FALSE_ALARM))
