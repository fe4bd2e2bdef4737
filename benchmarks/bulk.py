"""Whole audiences and many events: `optimizer run`, `/v1/decisions:batch`, `/v1/events`; against a COPY of their rows.

`CUSTOMERS` in the environment makes it smaller than a million.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import create_engine, text

from benchmarks import copying, load, past, postgres, services
from benchmarks.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.copying import Copied
    from benchmarks.postgres import Server

TITLE = "Bulk: 120 arms, 22 attributes, everything on disk. The client, the service and its database share the cores"
CUSTOMERS: Final = int(os.environ.get("CUSTOMERS", "1000000"))
ON_SQLITE: Final = CUSTOMERS // 5
TOUCHED: Final = 2_000
"""Of whom the model was learned."""
AGAIN: Final = 10
"""Every so manieth event is reported twice."""
_NDJSON: Final = {"Content-Type": "application/x-ndjson"}
_BLOCK: Final = 1 << 20
_KIB: Final = 1024


def figures() -> Iterator[Figure]:
    """On PostgreSQL against COPY, then on SQLite alone."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with postgres.server() as server:
            stocked = server.database()
            yield _stocked(stocked, folder, CUSTOMERS)
            server.settle()
            yield from _against_copy(server, stocked, folder)
        yield from _on_sqlite(folder)


def _against_copy(server: Server, stocked: str, folder: Path) -> Iterator[Figure]:
    for what, work in (("optimizer run", _run), ("/v1/decisions:batch", batch)):
        url = server.database(like=stocked)
        server.settle()
        before = copying.counted(url)
        done = work(url, folder, CUSTOMERS)
        written = copying.counted(url) - before
        copy = copying.copied(server, url, written, folder)
        yield _ratio(f"{what}, {CUSTOMERS:,} customers", done, written["decisions"], copy, "decisions")
        yield Figure(
            f"{what}: peak memory of the process", done.peak_bytes / (1 << 20), "{:,.0f} MiB", 1536, at_most=True
        )
        if work is _run:
            before += written
            done = _events(url, folder, CUSTOMERS)
            written = copying.counted(url) - before
            copy = copying.copied(server, url, written, folder)
            yield _ratio(
                f"/v1/events, {CUSTOMERS:,} events, one in {AGAIN} twice", done, written["events"], copy, "events"
            )
        server.drop(url)


def _on_sqlite(folder: Path) -> Iterator[Figure]:
    """One after the other on one database; the batch comes last, for it finds a longer log."""
    url = f"sqlite:///{folder / 'bulk.db'}"
    yield _stocked(url, folder, ON_SQLITE)
    for what, work in (("optimizer run", _run), ("/v1/events", _events), ("/v1/decisions:batch", batch)):
        done = work(url, folder, ON_SQLITE)
        yield Figure(f"SQLite: {what}, {ON_SQLITE:,}", done.rows / done.seconds, "{:,.0f}/s")


@dataclass(frozen=True, slots=True)
class Done:
    """What was done: so many rows of the log, in how long, with how much memory at the most."""

    rows: int
    seconds: float
    peak_bytes: int


def _ratio(what: str, done: Done, rows: int, copy: Copied, log: str) -> Figure:
    if done.rows != rows:
        raise AssertionError(f"{what}: {done.rows:,} were acknowledged and {rows:,} are in the database")
    rate, copied = done.rows / done.seconds, copy.rows[log] / copy.seconds
    return Figure(
        what,
        rate / copied,
        "{:.2f} x",
        0.35,
        note=f"{rate:,.0f}/s against {copied:,.0f}/s by COPY of the same rows of {len(copy.rows)} tables "
        f"({copy.rows[log] / copy.bare_seconds:,.0f}/s without keys and indexes)",
    )


def _stocked(url: str, folder: Path, customers: int) -> Figure:
    start = perf_counter()
    past.make(url, folder, customers, TOUCHED)
    kind = "PostgreSQL" if url.startswith("postgresql") else "SQLite"
    return Figure(f"{kind}: {customers:,} customers stored", customers / (perf_counter() - start), "{:,.0f}/s")


def _run(url: str, folder: Path, _customers: int) -> Done:
    """`optimizer run` as a process of its own; its time is that of the run, as the table of runs has it."""
    place = past.Place.make(folder, url)
    log = folder / "run.log"
    command = services.optimizer("run", past.CAMPAIGN, "--config", str(place.settings))
    with log.open("wb") as file, services.started(command, file.fileno()) as process:
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"optimizer run failed: {services.tail(log)}")
    [(decided, started_us, finished_us)] = _rows(url, "SELECT decided, started_us, finished_us FROM runs")
    return Done(decided, (finished_us - started_us) / 1e6, usage.ru_maxrss * _KIB)


def batch(url: str, folder: Path, customers: int) -> Done:
    """Every customer asked for in one request."""
    questions = (
        {"campaign_id": past.CAMPAIGN, "customer_id": customer_id, "request_id": f"asked-{customer_id}"}
        for customer_id in past.customer_ids(customers)
    )
    return _posted("/v1/decisions:batch", url, folder, questions, b'"decision":')


def _events(url: str, folder: Path, n: int) -> Done:
    found = _rows(url, "SELECT decision_id FROM decisions WHERE occasion IS NOT NULL ORDER BY decision_id")
    return _posted("/v1/events", url, folder, _reports([row[0] for row in found[:n]]), b'"accepted"')


def _reports(decision_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """An event about each decision, some of them twice."""
    for place, decision_id in enumerate(decision_ids):
        event = {
            "event_id": f"order-{place}",
            "name": "bought",
            "decision_id": decision_id,
            "fields": {"order": place, "currency": "USD"},
        }
        yield event
        if place % AGAIN == 0:
            yield event


def _posted(path: str, url: str, folder: Path, rows: Iterable[dict[str, Any]], good: bytes) -> Done:
    """Rows as NDJSON in one request to the service; how many were answered with what is `good`, and how soon."""
    body = folder / "rows.ndjson"
    with body.open("wb") as file:
        file.writelines(orjson.dumps(row) + b"\n" for row in rows)
    command = services.optimizer("serve", "--config", str(past.Place.make(folder, url).settings), "--port")
    with services.running(command, folder) as service, body.open("rb") as file:
        connection = HTTPConnection(load.HOST, service.port)
        start = perf_counter()
        headers = {**_NDJSON, "Content-Length": str(body.stat().st_size)}
        connection.request("POST", path, file, headers)
        answer = connection.getresponse()
        found, left = Counter[bytes](), b""
        while block := answer.read(_BLOCK):
            whole, _, left = (left + block).rpartition(b"\n")
            found[good] += whole.count(good)
            found[b'"error":'] += whole.count(b'"error":')
        seconds = perf_counter() - start
        connection.close()
        if answer.status != 200 or found[b'"error":']:  # noqa: PLR2004 -- the status
            raise RuntimeError(f"{path}: status {answer.status}, {found}, {left!r}: {services.tail(service.log)}")
        return Done(found[good], seconds, _peak_bytes(service.process.pid))


def _peak_bytes(pid: int) -> int:
    """The largest memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) * _KIB


def _rows(url: str, query: str) -> Sequence[Any]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text(query)).all()
    engine.dispose()
    return found
