"""Two workers on one database, stopped and killed at any moments, come to the weights of one that was left alone."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from optimizer import closing, leases, trainer
from optimizer.clock import VirtualClock, from_us
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.errors import Unavailable
from optimizer.ids import IdSource
from optimizer.store import Store, snapshots
from optimizer.store.leases import all_leases
from tests import databases
from tests.api.running import until
from tests.optimizer.engine_example import ATTRIBUTES, Notes, Rig, campaign
from tests.optimizer.test_trainer import GROUPS, lived

if TYPE_CHECKING:
    from pathlib import Path

    from optimizer.leases import Fence
    from optimizer.store.rows import SnapshotRow

pytestmark = pytest.mark.databases


DAY_US = 24 * 3_600_000_000
DAYS = 10
"""What is left to live when the workers begin; a day of it for each time that the worker at work is disturbed."""


def _work(name: str, url: str, start_us: int, until_us: Any) -> None:  # noqa: ANN401 - a number that processes share
    """What a worker does, for ever: time passes for it while it has the campaign, and then it closes and learns."""
    leases.BEAT_S = 0.05  # type: ignore[misc]
    trainer.PAGE, closing.PAGE = 4, 3
    clock = VirtualClock(from_us(start_us))
    engine = Engine(Store(url), ATTRIBUTES, Routes.to(Notes()), clock=clock, ids=IdSource(), worker=name)

    def pass_by(_fence: Fence) -> int:
        clock.advance_to(max(clock.now(), min(clock.now() + timedelta(hours=3), from_us(until_us.value))))
        return 1

    while True:
        try:
            engine.leases.beat()
            if engine.leases.each(["camp"], pass_by):
                engine.closing.close_due()
                engine.trainer.train_due()
            else:
                time.sleep(0.02)
        except (Unavailable, ExceptionGroup):
            time.sleep(0.02)


def test_a_takeover_in_the_middle_changes_no_weight(tmp_path: Path) -> None:
    """The same log twice: one is learned in one process, the other by two that are stopped, killed and replaced."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.optimizer.test_takeover"])
    urls = [databases.fresh_url(tmp_path) for _ in range(2)]
    for url in urls:
        with Rig(campaign(groups=GROUPS), url=url) as rig:
            lived(rig, days=3)
            start_us, end_us = rig.now_us, rig.now_us + DAYS * DAY_US
    with Rig(url=urls[0]) as rig:
        rig.clock.advance_to(from_us(end_us))
        rig.engine.closing.close_due()
        rig.engine.trainer.train_due()
        expected, rewards = rig.snapshot(), rig.rewards()
    assert expected is not None
    assert expected.learned > 40

    until_us = context.Value("q", start_us)
    workers: dict[str, Any] = {}

    def start() -> None:
        name = f"worker-{next(numbers)}"
        workers[name] = context.Process(target=_work, args=(name, urls[1], start_us, until_us), daemon=True)
        workers[name].start()

    chance, numbers = random.Random(1), itertools.count()
    start()
    start()
    with Store(urls[1]) as store:

        def holder() -> str | None:
            leased = [row for row in store.read(partial(all_leases, tenant="default")) if row.name == "campaign/camp"]
            return leased[0].holder if leased else None

        for day in range(1, DAYS + 1):
            until(lambda: holder() in workers)
            until_us.value = start_us + day * DAY_US
            time.sleep(chance.uniform(0.05, 0.4))
            unlucky = holder()
            if unlucky not in workers:
                continue  # it was given up between the two looks
            if day % 2:
                workers[unlucky].kill()
                workers.pop(unlucky).join()
                start()
            else:
                os.kill(workers[unlucky].pid, signal.SIGSTOP)
                time.sleep(chance.uniform(0.2, 0.5))
                os.kill(workers[unlucky].pid, signal.SIGCONT)
        until(lambda: _place(store.read(_newest)) == _place(expected), timeout_s=60)
        for each in workers.values():
            each.kill()
            each.join()
        learned = store.read(_newest)
        [lease] = [row for row in store.read(partial(all_leases, tenant="default")) if row.name == "campaign/camp"]
    assert lease.token >= 3, "it changed hands"
    assert learned is not None
    assert (learned.body, learned.resume, learned.learned) == (expected.body, expected.resume, expected.learned)
    with Rig(url=urls[1]) as rig:
        assert rig.rewards() == rewards


def _newest(connection: Any) -> SnapshotRow | None:  # noqa: ANN401 - a connection
    return snapshots.latest_snapshot(connection, "default", "camp")


def _place(row: SnapshotRow | None) -> tuple[int, str] | None:
    return (row.watermark_us, row.watermark_id) if row else None
