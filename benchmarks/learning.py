"""How well the defaults learn: the content-personalisation tutorial, and two multi-class sets as bandits."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import problems
from benchmarks.figures import Figure
from simulator.learners import Ours, play

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "Learning with the defaults: the content-personalisation tutorial and two multi-class sets as bandits"
PUBLISH_EVERY = 100


def figures() -> Iterator[Figure]:
    """Each with its value for every seed."""
    yield _figure(
        "tutorial, 5,000 steps: click rate", [_earned(problems.tutorial(seed), seed) for seed in range(5)], 0.95
    )
    for name, target in (("penbased", 0.17), ("optdigits", 0.16)):
        losses = [1.0 - _earned(problems.multiclass(name, seed), seed) for seed in range(3)]
        yield _figure(f"{name}: mean 0/1 loss", losses, target, at_most=True)


def _earned(stream: problems.Stream, seed: int) -> float:
    """The mean reward of one pass, exploration included."""
    passed = play(Ours(stream.campaign), stream.turns(PUBLISH_EVERY), seed)
    return float(np.concatenate([taken.rewards for taken in passed]).mean())


def _figure(what: str, values: list[float], target: float, *, at_most: bool = False) -> Figure:
    note = "each: " + ", ".join(f"{value:.4f}" for value in values)
    return Figure(what, fmean(values), "{:.4f}", target, at_most, note)
