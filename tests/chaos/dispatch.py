"""Touches go to a provider that misbehaves, while processes are killed: `python -m tests.chaos.dispatch`.

Then the provider's own record is compared with the tables.
"""

from __future__ import annotations

import argparse
import random
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import orjson

from tests import databases
from tests.api.running import Place, until
from tests.chaos.dispatch_campaigns import Times, channels
from tests.chaos.dispatch_load import Load
from tests.chaos.dispatch_reckoning import OPEN, Books
from tests.chaos.nursery import alive, kill, nursery
from tests.chaos.postgres import postgres
from tests.chaos.provider import PATIENCE_S, SECRET, Provider, provider
from tests.chaos.scripts import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.nursery import Nursery
    from tests.chaos.postgres import Postgres

LEASE_S: Final = 61
"""After this time what a killed process was at is taken to be lost; the clock is set forward by it."""
KILLS: Final = 50
SETTLED_S: Final = 60.0
_STARTED_S: Final = 5.0
"""After this time a process may be killed though it has sent nothing."""


class Process:
    """A process of the service, that is killed and started again, while it starts, too."""

    def __init__(self, nursery: Nursery, place: Place, name: str, *options: str) -> None:
        self._nursery = nursery
        self._place = place
        self._name = name
        self._options = options
        self._starts = 0
        self.start()

    def start(self) -> None:
        """Start it."""
        self._log = self._place.folder / f"log-{self._name}-{self._starts}"
        self._starts += 1
        self._number = self._nursery.start(self._place.command("serve", *self._options), self._log)

    def kill(self) -> None:
        """End it at once, whatever it is at."""
        kill(self._number)

    @property
    def port(self) -> int | None:
        """Where it answers; None while it starts."""
        assert alive(self._number), self._log.read_text(encoding="utf-8")[-3000:]
        for line in self._log.read_bytes().rpartition(b"\n")[0].splitlines():
            if line.startswith(b"{") and (said := orjson.loads(line))["event"] == "service_started":
                port: int = said["port"]
                return port
        return None


@dataclass
class Cluster:
    """A service whose touches go to a provider: one process on SQLite; on PostgreSQL one answers, two work."""

    nursery: Nursery
    place: Place
    provider: Provider
    times: Times
    clock: Path
    single: bool
    processes: list[Process] = field(default_factory=list)
    ahead_s: float = 0.0

    def start(self) -> int:
        """Start all processes; the port, at which the one that answers is started again and again."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port: int = free.getsockname()[1]
        options = [] if self.single else ["--role", "api"]
        self.processes.append(Process(self.nursery, self.place, "api", *options, "--port", str(port)))
        if not self.single:
            self.processes += [Process(self.nursery, self.place, f"worker-{n}", "--role", "worker") for n in range(2)]
        until(lambda: all(each.port for each in self.processes), timeout_s=60)
        return port

    def set_clock(self, ahead_s: float) -> None:
        """Set the clock of all processes, the provider's too, forward by so many seconds."""
        self.ahead_s = max(self.ahead_s, ahead_s)
        draft = self.clock.with_suffix(".new")
        draft.write_text(str(self.ahead_s), encoding="utf-8")
        draft.replace(self.clock)

    def now(self) -> datetime:
        """The time as the processes see it."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)

    def live_through(self, load: Load, seconds: float, kills: int) -> dict[str, Any]:
        """Kill processes under load for so many seconds, and so many at least, then let it settle; what was counted."""
        self.set_clock((self.times.begins - datetime.now(UTC)).total_seconds())
        ending, killed = threading.Event(), [0]
        killing = threading.Thread(target=self._kill, args=(ending, killed))
        with load.running():
            killing.start()
            time.sleep(seconds)
            until(lambda: killed[0] >= kills, timeout_s=10 * kills)
            ending.set()
            killing.join()
        settled_s = self._settle()
        return {"processes killed": killed[0], "settled after the load (s)": round(settled_s, 1)}

    def _kill(self, ending: threading.Event, killed: list[int]) -> None:
        """One process after the other: at any moment, or at the one at which the provider has just taken something."""
        chance = random.Random(1)
        while not ending.is_set():
            # The one that answers is spared a little: what nobody can ask for is not sent.
            unlucky = chance.choice([*self.processes, *self.processes[1:]])
            if chance.random() < 0.3:
                ending.wait(chance.uniform(0.1, 1.5))
            else:
                self._await_touch(ending)
                # Some live for a while after that, else nobody would ever do much.
                ending.wait(chance.choice([0, 0.02, 0.2, 1]) * chance.random())
            unlucky.kill()
            time.sleep(chance.uniform(0, 0.2))
            unlucky.start()
            killed[0] += 1

    def _await_touch(self, ending: threading.Event) -> None:
        record, end_s = self.provider.folder / "record.jsonl", time.monotonic() + _STARTED_S
        size = record.stat().st_size
        while record.stat().st_size == size and time.monotonic() < end_s and not ending.is_set():
            time.sleep(0.002)

    def _settle(self) -> float:
        """Wait until nothing is open; how many seconds that took. Leases run out quickly: the clock is set forward."""
        began_s = time.monotonic()
        self.provider.be_kind()
        until(lambda: all(each.port for each in self.processes), timeout_s=60)
        # What is under way to the provider is there before the clock is set.
        until(lambda: self.now() > self.times.ends + timedelta(seconds=1))
        time.sleep(2 * PATIENCE_S)
        ahead_s = LEASE_S
        while self._open():
            assert time.monotonic() < began_s + SETTLED_S, self._open()
            self.set_clock(self.ahead_s + ahead_s)
            # The provider is asked about what is in doubt at ever longer intervals.
            ahead_s *= 2
            time.sleep(1.5 * PATIENCE_S)
        return time.monotonic() - began_s

    def _open(self) -> list[tuple[Any, ...]]:
        """The touches of which something may still become, counted by campaign, channel and state."""
        states = ", ".join(f"'{state}'" for state in sorted(OPEN))
        return self.place.sql(
            f"SELECT campaign_id, channel, state, count(*) FROM touches WHERE state IN ({states}) "  # noqa: S608
            "OR (state = 'unknown' AND lease_until_us IS NOT NULL) GROUP BY campaign_id, channel, state"
        )


@contextmanager
def cluster(folder: Path, server: Postgres | None, seconds: float, seed: int) -> Iterator[tuple[Cluster, Load]]:
    """A running service with the callers of a load that is about to begin."""
    clock = folder / "clock"
    clock.write_text("0", encoding="utf-8")
    times = Times.soon(datetime.now(UTC), seconds)
    prelude = f"from tests.chaos import clock\nclock.follow({str(clock)!r})\n"
    with ExitStack() as stack:
        if server is None:
            database = f"sqlite:///{folder / 'store.db'}"
        else:
            database = server.database()
            stack.callback(server.drop, database)
        fake = stack.enter_context(provider(folder / "provider", clock, seed))
        starting = stack.enter_context(nursery())
        place = Place.make(folder, database=database, prelude=prelude, **times.campaigns())
        with (folder / "service.yaml").open("a", encoding="utf-8") as settings:
            settings.write(channels(fake.url, SECRET, PATIENCE_S))
        made = Cluster(starting, place, fake, times, clock, single=server is None)
        try:
            port = made.start()
            load = Load(f"http://127.0.0.1:{port}", clock, fake, customers=ceil(60 + 4 * seconds))
            load.store_customers()
            yield made, load
        finally:
            for process in made.processes:
                process.kill()


def survive(kind: str, seconds: float, kills: int, *, durable: bool, seed: int = 1) -> dict[str, Any]:
    """Go through it all on a new database of this kind; what was counted."""
    serving = postgres(durable=durable) if kind == "postgresql" else nullcontext()
    with serving as server, TemporaryDirectory(prefix="optimizer-chaos-") as folder:
        Path(folder).chmod(0o755)
        with cluster(Path(folder), server, seconds, seed) as (service, load):
            counted = service.live_through(load, seconds, kills)
            for process in service.processes:
                process.kill()
            return counted | Books(service.place, service.provider, load.told, service.times).reckon()


def main() -> None:
    """Kill fifty processes on each database."""
    parser = argparse.ArgumentParser(description="Dispatch to a provider that misbehaves, with SIGKILL of processes")
    parser.add_argument("--seconds", type=float, default=90, help="how long it lasts (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="of the provider's deeds (default: %(default)d)")
    given = parser.parse_args()
    for kind in databases.KINDS:
        title = f"Dispatch, {given.seconds:g} s, {kind}"
        show({title: survive(kind, given.seconds, KILLS, durable=True, seed=given.seed)})


if __name__ == "__main__":
    main()
