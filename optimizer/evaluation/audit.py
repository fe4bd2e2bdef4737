"""Whether a log's propensities can be right, from the log alone: by arm and by slice, and in all.

Where the log says the whole distribution of a draw, the sum over rows of (1 if the arm was drawn, else 0) - p has to be
near 0, and `optimizer.bennett` says how near.

Where it says only the propensity of the arm that was drawn, the sum of 1 / p over the rows that drew an arm has to be
near the number of rows in which it was a candidate, and the sum over all rows of 1 / (p x candidates with any
probability) near the number of rows: these are numbers x of at least 0 with mean 1. That the sum is too large is proven
by the wealth of `sequence.log_wealth` with S = sum of x - 1 and V = sum of (x - 1)^2, whatever the log's order and
policy: z = sqrt(2 log wealth), and P(z >= c) <= exp(-c^2 / 2). That it is too small cannot be proven: an arm that was
all but impossible in many rows and never drawn in them leaves no trace. z is the usual one then, with the variance
estimated by the sum of (1 - p) / p^2 over draws. Either way a policy that uses the arm there is misjudged.

And some things cannot be at all: a logged propensity that is not that of the logged distribution, a distribution that
does not sum to 1, an arm that was no candidate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer import bennett
from optimizer.evaluation.sequence import log_wealth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from optimizer.evaluation.log import Log
    from optimizer.evaluation.totals import Floats

FEW_DRAWS: Final = 30
"""Of an arm drawn less often than this, 1 / p is not checked: its z is not normal."""

_EQUAL: Final = 1e-6
_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Draws:
    """What some rows come to, by arm (K,); those of other rows are added.

    Attributes:
        rows: how many there are.
        drawn, off, variance: in rows whose distribution is known, the number of draws, and S and V of `bennett`.
        drawn_alone, offered: in the other rows, the number of draws, and of rows in which the arm was a candidate.
        inverse, inverse_variance: in these, sums of 1 / p and (1 - p) / p^2 over the draws of each arm.
        weight, weight_squares: sums over all rows of 1 / (p x candidates with any probability), and of its square.
    """

    rows: int
    drawn: Floats
    off: Floats
    variance: Floats
    drawn_alone: Floats
    offered: Floats
    inverse: Floats
    inverse_variance: Floats
    weight: float
    weight_squares: float

    @classmethod
    def of(cls, log: Log) -> Draws:
        """Of some rows."""
        k, p = len(log.arms), log.propensity
        drawn, nothing = np.bincount(log.chosen, minlength=k).astype(np.float64), np.zeros(k)
        possible = log.candidates if log.distribution is None else log.distribution > 0.0
        weight = 1.0 / (p * np.count_nonzero(possible, axis=1).clip(1))
        total, squares = float(weight.sum()), float(weight @ weight)
        if log.distribution is None:
            offered = log.candidates.sum(axis=0, dtype=np.float64)
            inverse = np.bincount(log.chosen, 1.0 / p, k).astype(np.float64)
            inverse_variance = np.bincount(log.chosen, (1.0 - p) / p**2, k).astype(np.float64)
            alone = (drawn, offered, inverse, inverse_variance)
            return cls(len(log), nothing, nothing, nothing, *alone, total, squares)
        off, variance = drawn - log.distribution.sum(axis=0), (log.distribution * (1.0 - log.distribution)).sum(axis=0)
        return cls(len(log), drawn, off, variance, nothing, nothing, nothing, nothing, total, squares)

    def __add__(self, other: Draws) -> Draws:
        return Draws(
            self.rows + other.rows,
            _padded_sum(self.drawn, other.drawn),
            _padded_sum(self.off, other.off),
            _padded_sum(self.variance, other.variance),
            _padded_sum(self.drawn_alone, other.drawn_alone),
            _padded_sum(self.offered, other.offered),
            _padded_sum(self.inverse, other.inverse),
            _padded_sum(self.inverse_variance, other.inverse_variance),
            self.weight + other.weight,
            self.weight_squares + other.weight_squares,
        )


@dataclass(frozen=True, slots=True)
class Check:
    """One sum that has to be near what it is expected to be.

    Attributes:
        what: the slice, such as `segment = new` or `day = 2024-03-01`; `all` for the whole log.
        arm: None for the weights of all arms together.
        by: `draws`, `1 / p` or `weights`.
        found, expected: the two.
        z: by how much they differ, in about standard errors.
        flagged: whether that is too much, for as many checks as there are.
    """

    what: str
    arm: str | None
    by: str
    found: float
    expected: float
    z: float
    flagged: bool

    def __str__(self) -> str:
        arm = "all arms" if self.arm is None else f"arm {self.arm}"
        numbers = f"{self.found:,.1f} instead of {self.expected:,.1f}, z {self.z:+.1f}"
        if self.by == "draws":
            return f"{self.what}: {arm} was drawn {numbers} times"
        said = f"{self.what}: {self.by} of {arm} sum to {numbers}"
        if not self.flagged:
            return said
        if self.z > 0.0:
            return f"{said}: logged propensities are too small"
        return f"{said}: they are too large, or what was all but impossible in many rows was never drawn there"


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit of a log has found; that of other rows of it is added.

    Attributes:
        arms: all that these rows know.
        slices: by name of the slice.
        impossible: how many rows cannot be right; `example`: the number of the first of these, from the log's start.
        rows: how many there are.
    """

    arms: tuple[str, ...] = ()
    slices: Mapping[str, Draws] = field(default_factory=dict)
    impossible: int = 0
    example: int | None = None
    rows: int = 0

    @classmethod
    def of(cls, log: Log, columns: Sequence[str] = (), *, by_day: bool = False) -> Audit:
        """Of some rows.

        Args:
            log: which.
            columns: of the context, each value of which is a slice; those that the log does not have are passed over.
            by_day: whether each UTC day is a slice; nothing where the log does not say the time.
        """
        wrong = np.flatnonzero(_impossible(log))
        example = int(wrong[0]) if len(wrong) else None
        usable = log.take(log.propensity > 0.0)
        slices = {"all": Draws.of(usable)} if len(usable) else {}
        for name, labels in _labels(usable, columns, by_day=by_day):
            values, index = np.unique(labels, return_inverse=True)
            for i, value in enumerate(values.tolist()):
                slices[f"{name} = {value}"] = Draws.of(usable.take(index == i))
        return cls(log.arms, slices, len(wrong), example, len(log))

    def __add__(self, other: Audit) -> Audit:
        """These rows and then the other ones."""
        slices = dict(self.slices)
        for name, draws in other.slices.items():
            slices[name] = slices[name] + draws if name in slices else draws
        example = self.example
        if example is None and other.example is not None:
            example = self.rows + other.example
        arms = max(self.arms, other.arms, key=len)
        return Audit(arms, slices, self.impossible + other.impossible, example, self.rows + other.rows)

    def checks(self) -> list[Check]:
        """All of them, those of the whole log first.

        A right log has one that is flagged about once in 10,000 looks, but for sums that are too small (see above).
        """
        found = [check for name, draws in self.slices.items() for check in _checks(name, draws, self.arms)]
        alarm = bennett.alarm(len(found))
        return [
            Check(name, arm, by, value, expected, z, not abs(z) < alarm) for name, arm, by, value, expected, z in found
        ]

    @property
    def holds(self) -> bool:
        """Whether the log may be right."""
        return not self.impossible and not any(check.flagged for check in self.checks())


_Found = tuple[str, str | None, str, float, float, float]


def _checks(name: str, draws: Draws, arms: Sequence[str]) -> Iterator[_Found]:
    n, w, ww = draws.rows, draws.weight, draws.weight_squares
    if n >= FEW_DRAWS:
        yield name, None, "weights", w, float(n), _z(w - n, ww - 2 * w + n, ww - w * w / n)
    for i, arm in enumerate(arms[: len(draws.drawn)]):
        drawn, off, variance = float(draws.drawn[i]), float(draws.off[i]), float(draws.variance[i])
        if drawn != off or drawn:
            yield name, arm, "draws", drawn, drawn - off, bennett.z(off, variance)
        if draws.drawn_alone[i] >= FEW_DRAWS:
            inverse, offered = float(draws.inverse[i]), float(draws.offered[i])
            variance = float(draws.inverse_variance[i])
            yield name, arm, "1 / p", inverse, offered, _z(inverse - offered, variance - inverse + offered, variance)


def _z(off: float, squares: float, variance: float) -> float:
    """Of a sum's distance from what is expected, by the squares of x - 1 above and by the estimated variance below."""
    if abs(off) <= _EQUAL:
        return 0.0
    if off > 0.0:
        return sqrt(2.0 * max(float(log_wealth(np.asarray(off), np.asarray(squares))), 0.0))
    return off / sqrt(variance) if variance > 0.0 else -inf


def _labels(log: Log, columns: Sequence[str], *, by_day: bool) -> Iterator[tuple[str, NDArray[np.object_]]]:
    for name in columns:
        if name in log.context:
            yield name, np.array([str(value) for value in log.context[name].tolist()], np.object_)
    if by_day and log.time_us is not None:
        yield "day", (log.time_us // _DAY_US).astype("datetime64[D]").astype(str).astype(np.object_)


def _impossible(log: Log) -> NDArray[np.bool_]:
    """(n,) whether a row cannot be right whatever was drawn."""
    rows = np.arange(len(log))
    wrong = ~((log.propensity > 0.0) & (log.propensity <= 1.0 + _EQUAL))
    if log.allowed is not None:
        wrong |= ~log.allowed[rows, log.chosen]
    if log.distribution is not None:
        wrong |= np.abs(log.distribution.sum(axis=1) - 1.0) > _EQUAL
        wrong |= np.abs(log.distribution[rows, log.chosen] - log.propensity) > _EQUAL
    return wrong


def _padded_sum(one: Floats, other: Floats) -> Floats:
    """Of arrays (K,), whose shorter one knows fewer arms."""
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total
