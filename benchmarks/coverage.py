"""How often intervals hold the value that they are of, in a world where it is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import stats

from benchmarks import known_world
from benchmarks.figures import Figure
from benchmarks.known_world import HEAVIEST
from optimizer.evaluation.bootstrap import Bootstrap
from optimizer.evaluation.estimators import IPS, SNIPS
from optimizer.evaluation.intervals import Bernstein, StudentT
from optimizer.evaluation.judged import judge
from optimizer.evaluation.model_based import DR
from optimizer.evaluation.sequence import ConfidenceSequence, Numbers, doubly_robust, weighted
from optimizer.evaluation.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.known_world import Adaptive, World
    from optimizer.evaluation.estimators import Estimator
    from optimizer.evaluation.tally import Interval

TITLE = "How often 95% intervals hold the known value, in 1,000 logs"

RUNS: Final = 1_000
ROWS: Final = 1_000
CUSTOMERS: Final = 400
STEPS: Final = 2_000
RESAMPLED: Final = 1_000

ESTIMATORS: Final[tuple[Estimator, ...]] = (IPS(), SNIPS(), DR())
NAMES: Final = tuple(each.name for each in ESTIMATORS)
BOUNDS: Final = (0.0, 1.0)
NEAR: Final = 0.02
"""How far from 95% Student's t and the bootstrap may be."""

INTERVALS: Final[tuple[Interval, ...]] = (
    StudentT(),
    Bootstrap(resampled=RESAMPLED),
    Bernstein(reward=BOUNDS, weight=HEAVIEST),
    Bernstein(),
)

FIRST_LOOK: Final = 20
"""The row after which Student's t is looked at for the first time, over and over."""


def figures() -> Iterator[Figure]:
    """Independent rows, customers with several, and a policy that learns from its own log."""
    for what, world in (
        (f"{ROWS:,} rows", known_world.independent(RUNS, ROWS, 1)),
        (f"{CUSTOMERS} customers", known_world.of_customers(RUNS, CUSTOMERS, 2)),
    ):
        for interval in INTERVALS:
            for name, found in zip(NAMES, covered(world, interval), strict=True):
                yield _fixed(f"{what}, {name}, {interval.name}", found, interval)
    apart = replace(world, log=replace(world.log, customer=None))
    for name, found in zip(NAMES, covered(apart, StudentT()), strict=True):
        label = f"{what}, {name}, student t, as if rows were independent"
        yield Figure(label, found.share, "{:.1%}", note="for comparison")
    for what, drifting in (("adaptive log", False), ("adaptive log, drifting", True)):
        log = known_world.adaptive(RUNS, STEPS, 3, drifting=drifting)
        for name, numbers in sequences(log).items():
            found = always(log, numbers)
            label = f"{what}, sequence of {name}, at all {STEPS:,} times"
            yield Figure(label, found.share, "{:.1%}", 0.95, note=f"width {found.width:.3f} at the end")
        peeked = peeking(log)
        yield Figure(
            f"{what}, student t of ips, at all times from {FIRST_LOOK}", peeked, "{:.1%}", note="for comparison"
        )


@dataclass(frozen=True, slots=True)
class Covered:
    """In which share of the runs the interval held the value, and the mean width."""

    share: float
    width: float


def covered(world: World, interval: Interval) -> list[Covered]:
    """For each of the estimators."""
    log = world.log
    rows = judge(log, world.target, predictions=world.predictions)
    terms = np.hstack([estimator.terms(rows) for estimator in ESTIMATORS])
    ends = np.empty((len(world.starts) - 1, len(ESTIMATORS), 2))
    for run, (start, stop) in enumerate(zip(world.starts[:-1], world.starts[1:], strict=True)):
        mine = slice(int(start), int(stop))
        totals = Totals.of(terms[mine], None if log.customer is None else log.customer[mine])
        ends[run] = interval.ends(ESTIMATORS, totals)
    held = (ends[:, :, 0] <= world.value) & (world.value <= ends[:, :, 1])
    widths = (ends[:, :, 1] - ends[:, :, 0]).mean(axis=0)
    return [Covered(float(held[:, j].mean()), float(widths[j])) for j in range(len(ESTIMATORS))]


def sequences(log: Adaptive) -> dict[str, Numbers]:
    """The numbers of all runs, by what they are made of."""
    other = np.full(log.target.shape, 1.0 / log.target.shape[1])
    ips = weighted(log.log, log.target, BOUNDS)
    return {
        "ips": ips,
        "dr": doubly_robust(log.log, log.target, log.predictions, BOUNDS),
        "a difference": ips.less(weighted(log.log, other, BOUNDS)),
    }


def always(log: Adaptive, numbers: Numbers, confidence: float = 0.95) -> Covered:
    """In which share of the runs all intervals of a sequence held the mean value so far, after each row."""
    rows = len(log.values)
    values = log.values - log.uniform if numbers.low < 0.0 else log.values
    running = values.cumsum() / np.arange(1, rows + 1)
    least = np.log(2.0 / (1.0 - confidence))
    held, widths = 0, []
    nothing = ConfidenceSequence(low=numbers.low, high=numbers.high, slack=numbers.slack)
    for y in numbers.y.reshape(-1, rows, 2):
        mine = Numbers(y=y, low=numbers.low, high=numbers.high, slack=numbers.slack)
        held += bool((nothing.reached(mine, running) < least).all())
        low, high = nothing.after(mine).ends(confidence)
        widths.append(high - low)
    return Covered(held / len(widths), float(np.mean(widths)))


def peeking(log: Adaptive) -> float:
    """In which share of the runs Student's t of IPS held the value at every time: it is made for one time only."""
    rows = len(log.values)
    weight = log.target[np.arange(len(log.log)), log.log.chosen] / log.log.propensity
    x = (weight * log.log.reward).reshape(-1, rows)
    n = np.arange(1, rows + 1)
    mean = x.cumsum(axis=1) / n
    variance = ((x**2).cumsum(axis=1) / n - mean**2) * n / np.maximum(n - 1, 1)
    running = log.values.cumsum() / n
    half = stats.norm.ppf(0.975) * np.sqrt(variance / n)
    held = np.abs(mean - running) <= half
    return float(held[:, FIRST_LOOK:].all(axis=1).mean())


def _fixed(what: str, found: Covered, interval: Interval) -> Figure:
    note = f"{found.share:.1%}, width {found.width:.4f}"
    if isinstance(interval, Bernstein):
        return Figure(what, found.share, "{:.1%}", 0.95, note=f"width {found.width:.4f}")
    return Figure(f"{what}, off 95%", abs(found.share - 0.95), "{:.1%}", NEAR, at_most=True, note=note)
