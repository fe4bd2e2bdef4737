"""Ablation by bucket on uniform logs of the factorial world, where the true shares are known."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data, parallel
from benchmarks.figures import Figure
from optimizer.config import load_attributes, load_campaign
from simulator.ablation.estimating import ablate
from simulator.ablation.shares import Ablation
from simulator.worlds import FactorialConfig, FactorialWorld, bucket_values
from simulator.worlds.states import uniform_histories
from simulator.worlds.uniform_log import uniform_log

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "Ablation by bucket: shares estimated from uniform decisions of the factorial world, and the true ones"
CUSTOMERS = 20_000
DECISIONS = 1_000_000
SEEDS = 5


def figures() -> Iterator[Figure]:
    """For each share the mean error over the seeds, and in how many of them the 95% interval held the true one."""
    began_s = time.perf_counter()
    runs = list(parallel.each(shares, range(SEEDS)))
    for name in runs[0]:
        errors = np.array([run[name][0] for run in runs])
        halves = np.array([run[name][1] for run in runs])
        held = int((np.abs(errors) < halves).sum())
        yield Figure(
            f"{name}: mean error of {SEEDS} estimates",
            float(errors.mean()),
            "{:+.1%}",
            note=f"interval +-{halves.mean():.1%}, which held the true share in {held} of {SEEDS}",
        )
    yield Figure(f"{DECISIONS:,} decisions made and divided", (time.perf_counter() - began_s) / SEEDS, "{:.0f} s")


def shares(seed: int) -> dict[str, tuple[float, float]]:
    """The error of each share, and half of its interval."""
    attributes = load_attributes(data.CONFIGS / "attributes.yaml")
    campaign = load_campaign(data.CONFIGS / "factorial.yaml", attributes)
    world = FactorialWorld(FactorialConfig(), CUSTOMERS, seed)
    history = uniform_histories(150, np.random.default_rng(seed))
    values = bucket_values(world.personal, history, world.config.strengths, world.config.late_share)
    true = {**values.shares, **values.within_execution}
    found = ablate(uniform_log(world, DECISIONS, seed), campaign)
    if not isinstance(found, Ablation):
        return dict.fromkeys(true, (float("nan"), float("nan")))
    estimates = {**found.shares, **found.within_execution}
    return {
        name: ((each.value or 0.0) - true[name], (each.high or 0.0) - (each.value or 0.0))
        for name, each in estimates.items()
    }
