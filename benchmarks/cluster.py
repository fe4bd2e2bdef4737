"""What a Ray cluster brings and costs: the same work by this process, and by Ray on this machine with one and two.

Every worker has one thread of linear algebra, and so has this process. Results are compared, to the last digit.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import open_bandit_size, shop
from benchmarks.figures import Figure
from optimizer.decider import Decider
from optimizer.evaluation.bootstrap import Bootstrap
from optimizer.evaluation.totals import Totals
from simulator.audience import Scoring
from simulator.comparison.comparing import Question, compare
from simulator.logs.mapping import LogFormat
from simulator.logs.parts import stretches
from simulator.logs.plain import PlainParquet
from simulator.logs.reading import Intake
from simulator.ray_workers import ray_workers
from simulator.workers import Here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.workers import Workers

TITLE = "A Ray cluster on this machine: one and two processes against the work done in this one"

ROUNDS: Final = 3
ROWS: Final = 500_000
CUSTOMERS: Final = 400_000
GROUP: Final = 25_000
RESAMPLED: Final = 1_000
PARTS: Final = 500

_MAPPING: Final = {
    "version": 1,
    "context": {},
    "arm": {"column": "item"},
    "propensity": "propensity",
    "reward": {"column": "click"},
    "position": "position",
}


def figures() -> Iterator[Figure]:
    """How long Ray takes to start, what a part costs, and each kind of work in seconds and ratios."""
    with TemporaryDirectory() as name:
        works = {
            f"evaluate, {ROWS:,} rows of Parquet, 80 arms, 83 policies": _evaluating(Path(name)),
            f"score, {CUSTOMERS:,} customers, 120 arms": _scoring(Path(name)),
            f"bootstrap, {RESAMPLED:,} resamples of {ROWS:,} customers, 10 terms": _resampling(),
        }
        expected = {what: work(Here()) for what, work in works.items()}
        here = {what: _seconds(work, Here(), expected[what]) for what, work in works.items()}
        for processes in (1, 2):
            start = perf_counter()
            with ray_workers(processes) as cluster:
                list(cluster.map(abs, range(processes)))
                if processes == 1:
                    yield Figure("to start Ray and its first process", perf_counter() - start, "{:.1f} s")
                    yield Figure(f"each of {PARTS} parts with nothing to do", _idle_ms(cluster), "{:.2f} ms")
                for what, work in works.items():
                    took = _seconds(work, cluster, expected[what])
                    note = f"{took:.1f} s against {here[what]:.1f} s in one process without Ray"
                    yield Figure(f"{what}: {processes} of Ray's", here[what] / took, "{:.2f} x", note=note)


def _idle_ms(cluster: Workers) -> float:
    start = perf_counter()
    for _ in cluster.map(abs, range(PARTS)):
        pass
    return (perf_counter() - start) / PARTS * 1e3


def _seconds(work: Callable[[Workers], Any], workers: Workers, expected: object) -> float:
    """The median of some rounds; what comes out must be what is expected."""
    times = []
    for _ in range(ROUNDS):
        start = perf_counter()
        found = work(workers)
        times.append(perf_counter() - start)
        if found != expected:
            raise AssertionError("a cluster's result differs from that of one process")
    return median(times)


def _evaluating(folder: Path) -> Callable[[Workers], Any]:
    whole, path = folder / "whole.parquet", folder / "log.parquet"
    open_bandit_size.make(whole, ROWS)
    pq.write_table(pq.read_table(whole), path, row_group_size=GROUP)
    reader = PlainParquet([str(path)], LogFormat.model_validate(_MAPPING))

    def work(workers: Workers) -> bytes:
        return compare("log", reader, Intake(), Question(campaigns={}), workers).dumps()

    return work


def _scoring(folder: Path) -> Callable[[Workers], Any]:
    path, rng = folder / "audience.parquet", np.random.default_rng(1)
    decider = Decider(shop.campaign())
    snapshot = shop.snapshot(shop.learned(decider, rng, 2_000), pairs=False).dumps()
    columns = dict(shop.batch(decider, rng, CUSTOMERS).context)
    people = {"customer_id": [f"c{i}" for i in range(CUSTOMERS)]} | {k: pa.array(v) for k, v in columns.items()}
    pq.write_table(pa.table(people), path, row_group_size=GROUP)
    types = {each.name: each.type for each in decider.campaign.features}
    scoring = Scoring(decider.campaign, types, snapshot, datetime(2026, 1, 5, 12, tzinfo=UTC))

    def work(workers: Workers) -> pa.Table:
        return pa.concat_tables([part.table for part in workers.map(scoring, stretches([str(path)]))])

    return work


def _resampling() -> Callable[[Workers], Any]:
    rng = np.random.default_rng(1)
    totals = Totals(None, np.ones(ROWS), rng.exponential(size=(ROWS, 10)))

    def work(workers: Workers) -> bytes:
        return Bootstrap(resampled=RESAMPLED, spread=workers.map).sums(totals).tobytes()

    return work
