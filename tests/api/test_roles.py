"""Several processes that are one service: some answer, some work, and each hears of what the others change.

That a pause or a new version acts in another process within a second is shown in `test_service`.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import TYPE_CHECKING

import httpx2
import pytest

from optimizer.leases import BEAT_S, LOOKS
from tests import databases
from tests.api.running import NOW, Place, Service, until

if TYPE_CHECKING:
    from collections.abc import Iterator

TAKEOVER_S = BEAT_S * (LOOKS + 3)
"""Within this time another worker has taken over, on a machine that is busy with other tests."""


class Cluster:
    """A process that answers, and two that work."""

    def __init__(self, place: Place, stack: ExitStack) -> None:
        self.place = place
        self._stack = stack
        self.answering = self.answer()
        self.working = [self.work(), self.work()]

    def answer(self, *options: str) -> Service:
        """One more process that answers."""
        return self._stack.enter_context(self.place.service("--role", "api", *options))

    def work(self) -> Service:
        """One more process that works."""
        return self._stack.enter_context(self.place.service("--role", "worker"))

    def leader(self) -> Service:
        """The worker that has the campaign, as the database says."""
        [[holder]] = until(
            lambda: self.place.sql(
                "select holder from leases where name = 'campaign/now' "
                "and 'worker/' || holder in (select name from leases)"
            )
        )
        [found] = [w for w in self.working if any(line["worker"] == holder for line in w.logged("leases_changed"))]
        return found

    def newest(self) -> str:
        """The snapshot that was published last."""
        found = self.place.sql("select snapshot_id from snapshots order by published_us desc limit 1")
        return str(found[0][0]) if found else ""

    def learns(self, name: str) -> None:
        """Decisions are made, and somebody closes and learns them."""
        before = self.newest()
        for i in range(5):
            self.answering.decide(f"{name}-{i}", f"c-{i}")
        until(lambda: self.newest() != before)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with databases.on("postgresql"), ExitStack() as stack:
        yield Cluster(Place.make(tmp_path_factory.mktemp("cluster"), now=NOW), stack)


def test_each_role_answers_what_is_its_business(cluster: Cluster) -> None:
    worker, api = cluster.working[0], cluster.answering
    for path in ("/healthz", "/readyz", "/metrics"):
        assert worker.client.get(path).status_code == api.client.get(path).status_code == 200
    assert worker.client.get("/v1/campaigns").status_code == 404
    assert [campaign["campaign_id"] for campaign in api.get("/v1/campaigns")] == ["now"]


def test_what_a_worker_publishes_decides_within_a_second_while_requests_go_on(cluster: Cluster) -> None:
    """A new snapshot every second, and a request every ten milliseconds, of which none fails."""
    decided: list[tuple[float, str]] = []
    stop = threading.Event()

    def ask() -> None:
        number = 0
        while not stop.wait(0.01):
            number += 1
            decision = cluster.answering.decide(f"caller-{number}", f"c-{number % 50}")
            decided.append((time.monotonic(), decision["snapshot_id"] or ""))

    caller = threading.Thread(target=ask)
    caller.start()
    published: list[tuple[float, str]] = []
    while len(published) < 4:
        newest = cluster.newest()
        if newest and (not published or newest != published[-1][1]):
            published.append((time.monotonic(), newest))
    until(lambda: decided[-1][1] >= published[-1][1])
    stop.set()
    caller.join()
    for at, snapshot_id in published[1:]:
        assert next(when for when, by in decided if by >= snapshot_id) < at + 1


def test_a_stopped_leader_that_comes_back_finds_itself_replaced(cluster: Cluster) -> None:
    leader = cluster.leader()
    leader.process.send_signal(SIGSTOP)
    try:
        until(lambda: cluster.leader() is not leader, timeout_s=TAKEOVER_S)
        cluster.learns("meanwhile")
    finally:
        leader.process.send_signal(SIGCONT)
    replaced = cluster.leader()
    cluster.learns("afterwards")
    assert cluster.leader() is replaced is not leader


def test_a_killed_leaders_work_goes_on_elsewhere(cluster: Cluster) -> None:
    leader = cluster.leader()
    leader.process.kill()
    assert leader.process.wait() == -SIGKILL
    until(lambda: cluster.leader() is not leader, timeout_s=TAKEOVER_S)
    cluster.learns("orphaned")


def test_a_worker_that_ends_leaves_its_work_to_whoever_comes(cluster: Cluster) -> None:
    leader = cluster.leader()
    assert leader.end(SIGTERM) == 0
    assert leader.logged("job_failed") == []
    assert cluster.place.sql("select name, holder from leases") == [("campaign/now", "")]


def test_a_process_that_answers_is_replaced_by_another_on_its_port(cluster: Cluster) -> None:
    old = cluster.answering
    new = cluster.answer("--port", str(old.port()))
    url = str(old.client.base_url)
    assert url == str(new.client.base_url)
    old.client.close()
    assert old.end(SIGTERM) == 0
    for i in range(20):
        body = {"campaign_id": "now", "customer_id": "c-1", "request_id": f"rolled-{i}"}
        assert httpx2.post(f"{url}/v1/decisions", json=body).status_code == 200
