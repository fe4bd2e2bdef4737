"""Learners side by side on the same customers: ours, and what others use, each told at the same cadence.

All get the same encoded features. On the tutorial the pairs of its two categories are features for the others too; ours
finds out by itself whether it needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks import data, parallel, problems
from optimizer.config import load_attributes, load_campaign
from simulator.learners import (
    Bagging,
    DisjointLinUCB,
    EpsilonGreedy,
    Learner,
    LinearThompson,
    LogisticThompson,
    Ours,
    SharedLinUCB,
    Uniform,
    play,
)
from simulator.learners.factorial import FactorialRuns
from simulator.measured import Measured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.problems import Stream
    from optimizer.campaign import CampaignFile

TITLE = "Learners behind one interface: mean over seeds +- standard deviation; every: decisions between publications"

Make = Callable[["CampaignFile", int, bool], Learner]
"""A learner from a campaign, a seed, and whether pairs of its categories are to be features."""

LEARNERS: Final[Mapping[str, Make]] = {
    "ours": lambda campaign, _seed, _pairs: Ours(campaign),
    "disjoint LinUCB, alpha 1": lambda campaign, _, pairs: DisjointLinUCB(campaign, pairs=pairs, alpha=1.0),
    "disjoint LinUCB, alpha .3": lambda campaign, _, pairs: DisjointLinUCB(campaign, pairs=pairs),
    "shared LinUCB, alpha .3": lambda campaign, _, pairs: SharedLinUCB(campaign, pairs=pairs),
    "linear Thompson, .3": lambda campaign, seed, pairs: LinearThompson(campaign, seed=seed, pairs=pairs),
    "logistic Thompson, .3": lambda campaign, seed, pairs: LogisticThompson(campaign, seed=seed, pairs=pairs),
    "bagging, 5 models": lambda campaign, seed, pairs: Bagging(campaign, seed=seed, pairs=pairs),
    "epsilon-greedy, .05": lambda campaign, _, pairs: EpsilonGreedy(campaign, pairs=pairs),
    "greedy": lambda campaign, _, pairs: EpsilonGreedy(campaign, pairs=pairs, epsilon=0.0),
    "uniform": lambda campaign, _seed, _pairs: Uniform(campaign),
}

REFERENCE: Final = {
    "penbased, loss": ".118/.160 disjoint LinUCB alpha 1/.3, .124 LinTS .3, .146 greedy",
    "optdigits, loss": ".101/.094 disjoint LinUCB alpha 1/.3, .122 LinTS .3, .110 greedy",
    "tutorial, click rate": ".944 Vowpal Wabbit squarecb",
    "Hillstrom, visit rate": ".178 Vowpal Wabbit squarecb, .180 bag 5",
}
"""Measured elsewhere, told after every decision, on other orders."""

STREAMS: Final[Mapping[str, Callable[[int], Stream]]] = {
    "penbased, loss": partial(problems.multiclass, "penbased"),
    "optdigits, loss": partial(problems.multiclass, "optdigits"),
    "tutorial, click rate": problems.tutorial,
    "Hillstrom, visit rate": problems.hillstrom,
}
WITHOUT_PAIRS: Final = False
SEEDS: Final = 5
SEEDS_OF_THE_WORLD: Final = 3
PEOPLE: Final = 5_000
DAYS: Final = 60
LAST: Final = 5
"""Runs of the factorial world, one in two days, of which the end is told."""
EVERY_RUN: Final = 0


@dataclass(frozen=True, slots=True)
class Setting:
    """A problem at a cadence; `every` of `EVERY_RUN` is once a run of the factorial world."""

    problem: str
    every: int
    seeds: int = SEEDS

    @property
    def name(self) -> str:
        """As the table's head has it."""
        return f"{self.problem}, every {self.every or 'run'}"


SETTINGS: Final = (
    *(Setting(f"{name}, loss", every) for name in ("penbased", "optdigits") for every in (1, 100, 500)),
    Setting("tutorial, click rate", 100),
    Setting("Hillstrom, visit rate", 100),
    Setting("factorial, gap closed", EVERY_RUN, SEEDS_OF_THE_WORLD),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A learner's values for every seed of a setting."""

    learner: str
    values: tuple[float, ...]

    def line(self) -> str:
        """As it is printed."""
        return f"  {self.learner:28} {fmean(self.values):8.4f} +- {stdev(self.values):.4f}"


@dataclass(frozen=True, slots=True)
class Head:
    """Stands above the rows of a setting."""

    setting: Setting

    def line(self) -> str:
        """As it is printed."""
        reference = REFERENCE.get(self.setting.problem)
        return f"{self.setting.name}" + (f"   (elsewhere, every 1: {reference})" if reference else "")


def figures() -> Iterator[Head | Row]:
    """Every learner at every setting, those of a setting one after the other."""
    for setting in SETTINGS:
        yield Head(setting)
        work = partial(_value, setting)
        values = list(parallel.each(work, range(len(LEARNERS) * setting.seeds)))
        for i, name in enumerate(LEARNERS):
            yield Row(name, tuple(values[i * setting.seeds : (i + 1) * setting.seeds]))


def _value(setting: Setting, job: int) -> float:
    name = list(LEARNERS)[job // setting.seeds]
    return value(setting, LEARNERS[name], job % setting.seeds)


def value(setting: Setting, make: Make, seed: int) -> float:
    """What a learner comes to."""
    if setting.every == EVERY_RUN:
        return factorial(make, seed)
    problem = STREAMS[setting.problem](seed)
    learner = make(problem.campaign, seed, setting.problem.startswith("tutorial"))
    rewards = np.concatenate([taken.rewards for taken in play(learner, problem.turns(setting.every), seed)])
    return 1.0 - float(rewards.mean()) if setting.problem.endswith("loss") else float(rewards.mean())


def factorial(make: Make, seed: int, people: int = PEOPLE, days: int = DAYS) -> float:
    """The share of the gap between chance and the oracle that treatment closes in the last runs."""
    campaign = load_campaign(data.CONFIGS / "factorial.yaml", load_attributes(data.CONFIGS / "attributes.yaml"))
    runs = FactorialRuns(campaign, people, seed)
    for _ in play(make(campaign, seed, WITHOUT_PAIRS), runs.turns(days), seed):
        pass
    closed = Measured.concatenate(runs.measured[-LAST:]).gap_closed
    return float("nan") if closed is None else closed
