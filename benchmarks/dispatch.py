"""Due touches to the file sender, the rules asked again before each, and the polling query among a million planned."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event

from benchmarks import postgres
from benchmarks.contact import POLICY
from benchmarks.figures import Figure
from optimizer.attributes import Attributes
from optimizer.campaign import CampaignFile
from optimizer.clock import VirtualClock, to_us
from optimizer.decisions import Decision, DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import FileSender
from optimizer.engine import Engine
from optimizer.store import Store, outbox, touches
from optimizer.store.customers import Customer
from optimizer.store.rows import TouchRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

TITLE = "Dispatch: the outbox with the example's kind of policy (5 caps, quiet hours, consent), one process"
DUE: Final = int(os.environ.get("DUE", "50000"))
PLANNED: Final = int(os.environ.get("PLANNED", "1000000"))
POLLS: Final = 200
NOW: Final = datetime(2026, 1, 12, 15, 0, tzinfo=UTC)
"""Monday, in the morning of the customers' zone."""

_PAGE: Final = 5_000
_TARGET: Final = 5_000


def figures() -> Iterator[Figure]:
    """How many due touches a second, and what a poll costs with few and with a million planned, on both databases."""
    with TemporaryDirectory(prefix="bench-dispatch-") as folder:
        yield from _on(f"sqlite:///{folder}/bench.db", Path(folder, "sqlite"), "SQLite", _TARGET)
        with postgres.server() as server:
            yield from _on(server.database(), Path(folder, "postgresql"), "PostgreSQL", None)


def campaign() -> CampaignFile:
    """One message by e-mail under the policy."""
    return CampaignFile.model_validate(
        {
            "version": 1,
            "campaign": {"id": "camp", "name": "Dispatch", "starts_at": "2026-01-01T00:00:00Z"},
            "catalog": {
                "messages": [{"id": "hello", "creatives": {"email": {"template": "hello", "version": 1}}}],
                "channels": [{"id": "email", "cost": 0.01, "consent": "email_marketing"}],
                "no_send": False,
            },
            "contact_policy": POLICY,
            "reward": {"events": [{"name": "clicked", "value": 1, "window": "2d"}]},
        }
    )


def _on(url: str, folder: Path, name: str, target: float | None) -> Iterator[Figure]:
    clock = VirtualClock(NOW)
    with Store(url) as store:
        engine = Engine(store, Attributes(()), Routes.to(FileSender(folder)), clock=clock)
        engine.load_campaign(campaign())
        _plan(engine)
        # As the service sets its interpreter up, see api.service: what was loaded at the start is no garbage.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        few_ms = _poll_ms(engine)
        start, busy = perf_counter(), process_time()
        sent = engine.outbox.dispatch_due()
        took_s, busy_s = perf_counter() - start, process_time() - busy
        lines = sum(len(path.read_bytes().splitlines()) for path in folder.rglob("*.jsonl"))
        note = f"{sent:,} touches in {took_s:.1f} s ({busy_s:.1f} s of our processor), {lines:,} lines on disk"
        yield Figure(f"{name}: due touches sent a second", sent / took_s, "{:,.0f}/s", target, note=note)
        _fill(store, clock.now())
        many_ms = _poll_ms(engine)
        what = f"{name}: a poll that finds nothing, {PLANNED:,} touches planned for later"
        yield Figure(what, many_ms, "{:,.2f} ms", note=f"{few_ms:,.2f} ms with {DUE:,} due")
        for line in plan_of(store, lambda c: outbox.first_due(c, "default", "email")):
            print(f"    {line}")


def _plan(engine: Engine) -> None:
    """Customers who agree, and a touch for each, due now."""
    agree = {"email_marketing": True}
    names = [f"customer-{i:06}" for i in range(DUE)]
    for start in range(0, DUE, _PAGE):
        page = names[start : start + _PAGE]
        rows = [Customer(each, {}, "America/Mexico_City", {"email": f"{each}@example.com"}, agree) for each in page]
        engine.put_customers(rows)
        made = engine.decide([DecisionRequest("camp", each, each) for each in page])
        due = sum(isinstance(each, Decision) and each.arm is not None for each in made)
        if due != len(page):
            raise RuntimeError(f"{len(page) - due} customers got nothing")


def _fill(store: Store, now: datetime) -> None:
    """Touches planned for the days to come, beside those that were sent."""
    at_us, day_us = to_us(now), timedelta(days=1) // timedelta(microseconds=1)
    for start in range(0, PLANNED, _PAGE):
        rows = [_touch(i, at_us + day_us + i % (7 * day_us)) for i in range(start, start + _PAGE)]
        store.write(lambda c, rows=rows: touches.insert_touches(c, rows, at_us))  # type: ignore[misc]
    with _connected(store) as connection:
        connection.exec_driver_sql("ANALYZE touches")
        connection.commit()


def _touch(i: int, send_us: int) -> TouchRow:
    return TouchRow(
        tenant="default",
        decision_id=f"019bb1a5-0000-7000-8000-{i:012}",
        campaign_id="camp",
        subject_id=f"subject-{i}",
        message="hello",
        channel="email",
        dispatch="service",
        state="planned",
        seq=0,
        send_us=send_us,
        expires_us=send_us + 3_600_000_000,
        sent_us=None,
        lease_token=None,
        lease_until_us=None,
        offer=None,
        counts=True,
        due_us=send_us,
        attempts=0,
        reason=None,
        reserved_micro=0,
    )


def _poll_ms(engine: Engine) -> float:
    """What looking for due touches takes, as the job does it: which channels there are, and what is due there."""

    def look(connection: Connection) -> None:
        for channel in outbox.channels_planned(connection, "default"):
            outbox.first_due(connection, "default", channel)

    times_ms = []
    for _ in range(POLLS):
        start = perf_counter()
        engine.runtime.store.read(look)
        times_ms.append((perf_counter() - start) * 1e3)
    return median(times_ms)


def plan_of(store: Store, query: Callable[[Connection], Any]) -> list[str]:
    """How the database answers the statements of a query, in its own words."""
    with _connected(store) as connection:
        seen: list[tuple[str, Any]] = []

        def note(_c: object, _k: object, sql: str, values: Any, *_: object) -> None:  # noqa: ANN401 - SQLAlchemy's
            seen.append((sql, values))

        event.listen(connection, "before_cursor_execute", note)
        query(connection)
        event.remove(connection, "before_cursor_execute", note)
        explain = "EXPLAIN " if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
        return [
            str(row[-1])
            for sql, values in seen
            for row in connection.exec_driver_sql(explain + sql.replace(" FOR UPDATE SKIP LOCKED", ""), values)
        ]


@contextmanager
def _connected(store: Store) -> Iterator[Connection]:
    with store._engines.write.connect() as connection:  # noqa: SLF001 -- ANALYZE and EXPLAIN are nobody else's business
        yield connection
