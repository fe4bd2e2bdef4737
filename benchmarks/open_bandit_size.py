"""A log of the size of the whole Open Bandit Dataset: 26 million rows, 80 items, 3 positions, synthesised as Parquet.

The random policy's log is judged for a policy that depends on the position, as the published Thompson policy does. Sums
alone are kept, so memory does not grow with the log. The estimating process does nothing else, and has one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import memory
from benchmarks.figures import Figure
from optimizer.evaluation.estimators import IPS, SNIPS
from optimizer.evaluation.intervals import StudentT
from optimizer.evaluation.judged import judge
from optimizer.evaluation.log import Log
from optimizer.evaluation.policies import Table
from optimizer.evaluation.support import Refusal, Support
from optimizer.evaluation.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "IPS and SNIPS with intervals on 26 million rows of Parquet, the size of the whole Open Bandit Dataset"

ROWS: Final = 26_000_000
ITEMS: Final = 80
POSITIONS: Final = 3
SECONDS: Final = 60.0
GIB: Final = 2.0

_ROOT: Final = Path(__file__).parents[1]
_GROUP: Final = 1_000_000
_TILE: Final = 2_048
"""Rows judged at a time: their arrays of 80 items stay in the cache."""


def figures() -> Iterator[Figure]:
    """Seconds and memory."""
    with TemporaryDirectory() as name:
        path = Path(name) / "log.parquet"
        make(path, ROWS)
        size = path.stat().st_size
        found = run(path)
    ends = ", ".join(
        f"{each['name']} {each['value']:.6f} [{each['low']:.6f}, {each['high']:.6f}]" for each in found["said"]
    )
    note = f"{found['rows'] / found['seconds']:,.0f} rows a second, {size / 2**20:,.0f} MiB of Parquet"
    yield Figure(f"{found['rows']:,} rows, seconds", found["seconds"], "{:.1f}", SECONDS, at_most=True, note=note)
    yield Figure("peak memory of the process, GiB", found["peak_bytes"] / 2**30, "{:.2f}", GIB, at_most=True, note=ends)


def policy() -> Table:
    """Some items five times as likely as others, in each position others."""
    random = np.random.default_rng(0)
    return Table("thompson", random.dirichlet(np.full(ITEMS, 1.0), POSITIONS).T)


def make(path: Path, rows: int) -> None:
    """Write a log of uniform draws; the items' click rates are around 0.4%."""
    random = np.random.default_rng(rows)
    rates = random.uniform(0.001, 0.007, ITEMS)
    schema = pa.schema(
        [("item", pa.int16()), ("position", pa.int8()), ("click", pa.int8()), ("propensity", pa.float64())]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for at in range(0, rows, _GROUP):
            n = min(_GROUP, rows - at)
            item = random.integers(0, ITEMS, n)
            columns = [item, random.integers(0, POSITIONS, n), random.random(n) < rates[item], np.full(n, 1 / ITEMS)]
            writer.write_table(
                pa.table([pa.array(c).cast(f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
            )


def run(path: Path) -> dict[str, Any]:
    """Estimate in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.open_bandit_size", str(path)]
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=_ROOT, env=os.environ | threads, check=True, capture_output=True)  # noqa: S603 - ours
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(path: Path) -> dict[str, Any]:
    """Read and estimate."""
    start = perf_counter()
    target, tally = policy(), None
    for log in chunks(path):
        p = target.probabilities(log)
        mine = Tally.of(judge(log, p), Support.of(log, p), [IPS(), SNIPS()], keep=False)
        tally = mine if tally is None else tally + mine
    if tally is None:
        raise ValueError(f"{path} has no rows")
    found = tally.estimates("thompson", [str(item) for item in range(ITEMS)], StudentT())
    if isinstance(found, Refusal):
        raise AssertionError(str(found))  # noqa: TRY004 - what is wrong is the data that was made
    return {
        "seconds": perf_counter() - start,
        "peak_bytes": memory.peak_bytes(),
        "rows": tally.weights.rows,
        "said": [{"name": e.estimator, "value": e.value, "low": e.low, "high": e.high} for e in found],
    }


def chunks(path: Path) -> Iterator[Log]:
    """The log, a row group in memory at a time, in tiles."""
    arms = tuple(str(item) for item in range(ITEMS))
    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        item, position, click, propensity = (column.to_numpy() for column in table.columns)
        for at in range(0, len(item), _TILE):
            rows = slice(at, at + _TILE)
            yield Log(
                arms=arms,
                chosen=item[rows].astype(np.intp),
                propensity=propensity[rows],
                reward=click[rows].astype(np.float64),
                position=position[rows].astype(np.intp),
            )


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
