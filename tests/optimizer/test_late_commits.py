"""What was received in time counts, however late its transaction is committed: on PostgreSQL several write at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from optimizer import closing
from optimizer.clock import SystemClock, VirtualClock
from optimizer.recording import EventIn, Recording
from optimizer.store import settled
from tests import databases
from tests.optimizer.engine_example import Rig, only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

SOON: dict[str, Any] = {"lateness": "0s", "events": [{"name": "clicked", "value": 1, "window": "1s"}]}


@pytest.fixture(autouse=True)
def on_postgresql() -> Iterator[None]:
    with databases.on("postgresql"):
        yield


@pytest.mark.parametrize("written", [True, False], ids=["after it has written", "before it writes anything"])
def test_closing_waits_for_a_transaction_that_is_slow_to_commit_an_event(
    monkeypatch: pytest.MonkeyPatch, *, written: bool
) -> None:
    monkeypatch.setattr(closing, "SETTLE_US", 100_000)
    with Rig(only("push", reward=SOON), clock=SystemClock()) as rig:
        assert rig.engine.closing.close_due() == 0
        made = rig.ask()
        entered, go_on = threading.Event(), threading.Event()

        def slowly(connection: Connection) -> None:
            received = Recording(replace(rig.engine.runtime, clock=VirtualClock(SystemClock().now())))
            event = EventIn("e1", "clicked", decision_id=made.decision_id)
            if written:
                received.record(connection, [event])
            entered.set()
            assert go_on.wait(20)
            if not written:
                received.record(connection, [event])

        with ThreadPoolExecutor(1) as other:
            committed = other.submit(rig.store.write, slowly)
            assert entered.wait(20)
            end = time.monotonic() + 2
            while time.monotonic() < end:
                assert rig.engine.closing.close_due() == 0
            go_on.set()
            committed.result()
        assert rig.engine.closing.close_due() == 1
        assert rig.reward(made.decision_id).reward == 1.0


def test_a_transaction_that_only_reads_is_not_waited_for() -> None:
    with Rig(only("push")) as rig, ThreadPoolExecutor(1) as other:

        def busy(connection: Connection) -> int:
            connection.exec_driver_sql("select pg_sleep(0.05)")
            return other.submit(rig.store.read, settled.oldest_write_us).result()

        assert rig.store.read(busy) == 0
        assert rig.store.write(busy) > 50_000
