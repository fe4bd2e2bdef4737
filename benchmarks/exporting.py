"""The log of a campaign of 120 arms out of the database and back: how fast, and whether memory grows with the log.

Some thousand decisions are made by the service, closed and learned; copies of them under new ids fill the database.
`DECISIONS` in the environment makes it smaller than a million.
"""

from __future__ import annotations

import os
from contextlib import closing
from datetime import timedelta
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from benchmarks import past
from benchmarks.figures import Figure
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import FileSender
from optimizer.engine import Engine
from optimizer.store import decisions, rewards
from simulator.logs.export import Format, export_log
from simulator.logs.opening import open_log
from simulator.logs.reading import Intake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from optimizer.store.rows import DecisionRow, RewardRow

TITLE = "Exporting a log of 120 arms and 22 attributes, and reading it again, each in a process of its own"
DECISIONS: Final = int(os.environ.get("DECISIONS", "1000000"))
MADE: Final = min(5_000, DECISIONS // 5)
GROWTH: Final = 1.15
"""What five times as many decisions may add to the peak of memory."""

T = TypeVar("T")
_MIB: Final = 1024
_PAGE: Final = 5_000


class Done(NamedTuple):
    """What a process has done: how many items in how many seconds, and its peak of memory."""

    items: int
    seconds: float
    peak_mib: float

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.items / self.seconds


def figures() -> Iterator[Figure]:
    """Parquet, written and read, of a fifth of the decisions and of all; the other formats of a fifth."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        database = f"sqlite:///{folder / 'log.db'}"
        past.make(database, folder, MADE, MADE)
        few, many = DECISIONS // 5, DECISIONS
        peaks: dict[str, list[float]] = {"export": [], "reading": []}
        for size in (few, many):
            _fill(database, folder, size)
            if size == few:
                for kind in (Format.CSV, Format.DSJSON):
                    written = _apart(partial(_export, database, folder, kind))
                    yield Figure(f"{kind} of {size:,} decisions, a second", written.rate, note=_peak(written))
            written = _apart(partial(_export, database, folder, Format.PARQUET))
            peaks["export"].append(written.peak_mib)
            yield Figure(f"parquet of {size:,} decisions, a second", written.rate, note=_peak(written))
            again = _apart(partial(_read, folder / "log.parquet"))
            peaks["reading"].append(again.peak_mib)
            yield Figure(f"reading them again, {again.items:,} to be judged, a second", again.rate, note=_peak(again))
        for what, (less, more) in peaks.items():
            label = f"peak memory of the {what}, {many:,} against {few:,} decisions"
            yield Figure(label, more / less, "{:.2f} x", GROWTH, at_most=True)


def _engine(database: str, folder: Path) -> Engine:
    return Engine.at(database, past.ATTRIBUTES, Routes.to(FileSender(folder / "sent")), timedelta(minutes=1))


def _fill(database: str, folder: Path, size: int) -> None:
    """Copy the first decisions and their rewards until there are so many."""
    with closing(_engine(database, folder)) as engine:
        store, runtime = engine.runtime.store, engine.runtime
        there = store.read(lambda c: decisions.count_decisions(c, runtime.tenant, past.CAMPAIGN))

        def look(connection: Connection) -> tuple[list[DecisionRow], dict[str, RewardRow]]:
            rows = decisions.decision_page(connection, runtime.tenant, past.CAMPAIGN, after_id="", limit=_PAGE)
            return rows, rewards.rewards_by_ids(connection, runtime.tenant, [row.decision_id for row in rows])

        rows, earned = store.read(look)
        while there < size:
            copies, paid = [], []
            for row in islice(rows, size - there):
                own = runtime.ids.uuid7(runtime.now_us())
                copies.append(row._replace(decision_id=own, request_id=None, request_hash=None, occasion=None))
                if row.decision_id in earned:
                    paid.append(earned[row.decision_id]._replace(decision_id=own))

            def put(connection: Connection, copies: list[DecisionRow] = copies, paid: list[RewardRow] = paid) -> None:
                decisions.insert_decisions(connection, copies)
                rewards.insert_rewards(connection, paid)

            store.write(put)
            there += len(copies)


def _export(database: str, folder: Path, kind: Format) -> Done:
    with closing(_engine(database, folder)) as engine:
        start = perf_counter()
        done = export_log(engine, past.CAMPAIGN, folder / f"log.{kind}", kind, overwrite=True)
        return _done(done.contents.decisions, start)


def _read(path: Path) -> Done:
    intake, start = Intake(strict=True), perf_counter()
    for _ in open_log(path).chunks(intake):
        pass
    return _done(intake.taken, start)


def _done(items: int, start: float) -> Done:
    seconds = perf_counter() - start
    # What getrusage tells of a new process includes what its parent had.
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return Done(items, seconds, int(peak.split()[1]) / _MIB)


def _apart(work: Callable[[], T]) -> T:
    """What work gives in a process of its own, whose memory is its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work)


def _peak(done: Done) -> str:
    return f"peak {done.peak_mib:,.0f} MiB"
