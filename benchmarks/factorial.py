"""The closed loop in the factorial world: how much of the gap between chance and the oracle treatment closes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data, parallel
from benchmarks.figures import Figure
from optimizer.clock import to_us
from optimizer.config import load_attributes, load_campaign
from optimizer.groups import Group
from optimizer.history import DAY_US
from simulator.loop import ClosedLoop
from simulator.worlds.factorial import FactorialConfig, FactorialWorld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TITLE = "Factorial world: share of the gap between chance and the oracle that treatment closes"
CUSTOMERS = 20_000
DAYS = 60
SEEDS = 5
PERIOD_DAYS = 5


def figures() -> Iterator[Figure]:
    """The end of every seed as it is done, then the mean of every period, the curve; the target is for the last one."""
    runs = []
    for seed, curve in enumerate(parallel.each(gap_closed, range(SEEDS))):
        runs.append(curve)
        yield Figure(f"seed {seed}: the last {PERIOD_DAYS} days", float(curve[-1]), "{:.1%}")
    for period, values in enumerate(np.transpose(runs)):
        last = (period + 1) * PERIOD_DAYS
        yield Figure(
            f"mean of {SEEDS} seeds, days {last - PERIOD_DAYS + 1} to {last}",
            float(values.mean()),
            "{:.1%}",
            0.75 if last == DAYS else None,
            note=f"from {values.min():.1%} to {values.max():.1%}",
        )


def gap_closed(seed: int) -> NDArray[np.float64]:
    """(DAYS / PERIOD_DAYS,) the share closed in each period, in treatment's own states."""
    attributes = load_attributes(data.CONFIGS / "attributes.yaml")
    campaign = load_campaign(data.CONFIGS / "factorial.yaml", attributes)
    world = FactorialWorld(FactorialConfig(), CUSTOMERS, seed)
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'world.db'}"
        starts = campaign.campaign.starts_at
        loop = ClosedLoop(campaign, attributes, world, seed=seed, starts=starts, url=url)
        for _ in loop.run(starts + timedelta(days=DAYS)):
            pass
        measured = loop.measured
        loop.close()
    treated = measured.where(measured.group == Group.TREATMENT.value)
    period = (treated.decided_us - to_us(starts)) // (PERIOD_DAYS * DAY_US)
    shares = [treated.where(period == p).gap_closed for p in range(DAYS // PERIOD_DAYS)]
    return np.array(shares, np.float64)
