"""The whole decider: filter, score, explore, draw; how fast, in how much memory, and how soon a new model serves."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import million, shop
from benchmarks.figures import Figure, rates
from optimizer.decider import CHUNK, Decider
from optimizer.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optimizer.choices import Batch
    from optimizer.scorer import Scorer

TITLE = "The whole decider: 120 arms, 22 context features, audience, eligibility, groups, four time zones, SquareCB"
ROUNDS = 7
ROWS = 100_000
SINGLE = 2_000
TRAINED = 2_000
MANY_TRAINED = 10_000
MANY = {f"category_{i}": 1_000 for i in range(10)}
PAIRED = {"category_0": 300, "category_1": 300}
"""Of 10,000 customers nearly each is a new pair."""


def figures() -> Iterator[Figure]:
    """Decisions a second, the time for one, the memory for a million, and the time to swap in a snapshot."""
    rng = np.random.default_rng(1)
    decider = Decider(shop.campaign())
    learner = shop.learned(decider, rng, TRAINED)
    snapshots = {pairs: shop.snapshot(learner, pairs=pairs) for pairs in (False, True)}
    yield from _throughput(decider, snapshots, shop.batch(decider, rng, ROWS))
    yield from _latency(decider, snapshots, shop.batch(decider, rng, SINGLE))
    yield _memory()
    yield _swap(MANY, pairs=False)
    yield _swap(PAIRED, pairs=True)


def _throughput(decider: Decider, snapshots: dict[bool, Snapshot], batch: Batch) -> Iterator[Figure]:
    def decide(scorer: Scorer, workers: int | None) -> int:
        decider.decide(batch, scorer, workers=workers)
        return len(batch)

    for pairs, target in ((False, 200_000), (True, 100_000)):
        scorer = decider.scorer(snapshots[pairs])
        measured = rates({"all": partial(decide, scorer, None), "one": partial(decide, scorer, 1)}, ROUNDS)
        yield Figure(
            f"{_model(pairs=pairs)}: {ROWS:,} customers, all cores",
            median(measured["all"]),
            "{:,.0f}/s",
            target,
            note=f"{median(measured['one']):,.0f}/s on one core",
        )


def _latency(decider: Decider, snapshots: dict[bool, Snapshot], batch: Batch) -> Iterator[Figure]:
    schedule_of = batch.schedule_of.tolist()
    singles = [
        replace(batch.rows(i, i + 1), schedules=[batch.schedules[s]], schedule_of=np.zeros(1, np.intp))
        for i, s in enumerate(schedule_of)
    ]
    for pairs in (False, True):
        scorer = decider.scorer(snapshots[pairs])
        for single in singles:
            decider.decide(single, scorer)
        times_us = []
        for single in singles:
            start = perf_counter()
            decider.decide(single, scorer)
            times_us.append((perf_counter() - start) * 1e6)
        yield Figure(
            f"{_model(pairs=pairs)}: one decision in process, median",
            median(times_us),
            "{:,.0f} us",
            200,
            at_most=True,
            note=f"99% within {np.quantile(times_us, 0.99):,.0f} us",
        )


def _model(*, pairs: bool) -> str:
    return "with pairs" if pairs else "plain model"


def _memory() -> Figure:
    command = [sys.executable, "-m", million.__name__]
    process = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 -- nothing from outside
    return Figure(
        f"with pairs: peak memory, {million.CUSTOMERS:,} customers in one call",
        int(process.stdout) / (1 << 20),
        "{:,.0f} MiB",
        1024,
        at_most=True,
    )


def _swap(categories: dict[str, int], *, pairs: bool) -> Figure:
    """From a saved snapshot to a scorer that has scored one batch."""
    rng = np.random.default_rng(1)
    decider = Decider(shop.campaign(categories))
    saved = shop.snapshot(shop.learned(decider, rng, MANY_TRAINED, categories), pairs=pairs).dumps()
    batch = shop.batch(decider, rng, CHUNK, categories)
    batch = replace(batch, schedules=batch.schedules[:1], schedule_of=np.zeros(len(batch), np.intp))
    times_ms = []
    for _ in range(ROUNDS):
        start = perf_counter()
        decider.scores(batch, decider.scorer(Snapshot.loads(saved)))
        times_ms.append((perf_counter() - start) * 1e3)
    features = len(shop.NUMBERS) + sum(len(known) for known in Snapshot.loads(saved).vocabulary)
    return Figure(
        f"{_model(pairs=pairs)}: from a saved snapshot, {features:,} features, to scores",
        median(times_ms),
        "{:,.0f} ms",
        500,
        at_most=True,
        note=f"{len(saved) / 1e6:.1f} MB",
    )
