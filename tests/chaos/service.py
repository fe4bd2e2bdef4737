"""A service of several processes that lives through faults: started at one port, killed, and started again."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from signal import SIGTERM
from typing import TYPE_CHECKING, Any, Final

from tests.api.running import NOW, Place, Service, until
from tests.chaos.disk import disk
from tests.chaos.load import Load
from tests.chaos.reckoning import await_learned, reckon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.chaos.disk import Disk
    from tests.chaos.postgres import Postgres

CAMPAIGN: Final = NOW.replace("no_send: false", "no_send: true")
DISK_MIB: Final = 128
RECOVERED_S: Final = 10.0
"""Within this time after a fault has passed decisions are made again."""


class Process:
    """One process of a service, that is started again in the same way after it was killed."""

    def __init__(self, place: Place, *options: str) -> None:
        self._place = place
        self._options = options
        self._stack = ExitStack()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.service: Service = self._stack.enter_context(self._place.service(*self._options))

    def kill(self) -> None:
        """End it at once, whatever it is at."""
        self.service.process.kill()
        self.service.process.wait()
        self._stack.close()

    def end(self) -> None:
        """End it cleanly."""
        code = self.service.end(SIGTERM)
        self._stack.close()
        assert code == 0, self.service.log()[-2000:]


@dataclass
class Cluster:
    """All processes of a service: one that does everything on SQLite; on PostgreSQL two that answer, two that work.

    Attributes:
        server: the PostgreSQL; None on SQLite.
        disk: what the database is on, where that is a small disk.
        clock: the file that says by how many seconds the clock of the processes is moved.
    """

    place: Place
    server: Postgres | None
    disk: Disk | None
    clock: Path
    processes: list[Process] = field(default_factory=list)
    port: int = 0

    def set_clock(self, seconds: int) -> None:
        """Move the clock of all processes to so many seconds from the time that it is."""
        draft = self.clock.with_suffix(".new")
        draft.write_text(str(seconds), encoding="utf-8")
        draft.replace(self.clock)

    def start(self) -> None:
        """Start all processes, at a free port."""
        if self.server is None:
            first = Process(self.place)
            self.port = first.service.port()
            first.end()
            self.processes = [Process(self.place, "--port", str(self.port))]
            return
        self.processes = [Process(self.place, "--role", "api")]
        self.port = self.processes[0].service.port()
        self.processes.append(Process(self.place, "--role", "api", "--port", str(self.port)))
        self.processes += [Process(self.place, "--role", "worker") for _ in range(2)]

    def live_through(self, faults: Mapping[str, Callable[[Cluster], dict[str, Any]]]) -> dict[str, dict[str, Any]]:
        """Put load on the service, do one fault after the other, and reckon; what was counted in each, and at last."""
        counted = {}
        with Load(f"http://127.0.0.1:{self.port}") as load:
            self._await_snapshot()
            for name, fault in faults.items():
                began_s = time.monotonic()
                found = fault(self)
                counted[name] = found | _recovered(load, began_s, time.monotonic())
        learned_s = time.monotonic()
        await_learned(self.place)
        took = {"closed and learned after the load (s)": round(time.monotonic() - learned_s, 1)}
        for process in self.processes:
            process.end()
        return counted | {"Afterwards": took | reckon(self.place, load)}

    def _await_snapshot(self) -> None:
        """Wait until something is learned, so that there is something to lose."""
        query = "SELECT count(*) FROM snapshots"
        until(lambda: self.place.sql(query) != [(0,)], timeout_s=30)


def _recovered(load: Load, began_s: float, passed_s: float) -> dict[str, Any]:
    """How callers were answered during a fault, and how long after it."""
    while not any(each.kind == "ok" and each.at_s - each.took_s > passed_s for each in list(load.answers)):
        assert time.monotonic() < passed_s + RECOVERED_S, "no decision since the fault has passed"
        time.sleep(0.01)
    again_s = time.monotonic() - passed_s
    meanwhile = [each for each in list(load.answers) if began_s <= each.at_s <= passed_s]
    return {
        **{f"answered {kind}": sum(each.kind == kind for each in meanwhile) for kind in {e.kind for e in meanwhile}},
        "longest answer (s)": round(max((each.took_s for each in meanwhile), default=0.0), 2),
        "decisions again after (s)": round(again_s, 2),
    }


@contextmanager
def cluster(folder: Path, server: Postgres | None, *, small: bool) -> Iterator[Cluster]:
    """A running service, on SQLite where there is no server; its database is on a small disk if that is asked for.

    On SQLite the outbox is on that disk too. On PostgreSQL it holds the tables: a server whose write-ahead log has no
    room ends itself.
    """
    clock = folder / "clock"
    clock.write_text("0", encoding="utf-8")
    prelude = f"from tests.chaos import clock\nclock.follow({str(clock)!r})\n"
    with ExitStack() as stack:
        on = stack.enter_context(disk(folder / "disk", DISK_MIB)) if small else None
        if server is None:
            database = f"sqlite:///{(on.folder if on else folder) / 'store.db'}"
            if on:
                (on.folder / "outbox").mkdir()
                (folder / "outbox").symlink_to(on.folder / "outbox")
        else:
            database = server.database(on.folder if on else None)
            stack.callback(server.drop, database)
        made = Cluster(Place.make(folder, database=database, prelude=prelude, now=CAMPAIGN), server, on, clock)
        try:
            made.start()
            yield made
        finally:
            for process in made.processes:
                process.kill()
