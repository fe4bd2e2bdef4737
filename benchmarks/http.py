"""One decision a request over HTTP, durable before it is answered; against a naive service and an empty endpoint."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import numpy as np
import orjson
from sqlalchemy import create_engine, text

from benchmarks import empty_service, load, naive_service, past, peer, postgres, services, shop
from benchmarks.figures import Figure, ratio
from optimizer.decider import Decider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.load import Load
    from benchmarks.postgres import Server

TITLE = (
    "A decision over HTTP: 120 arms, 22 attributes, history from the ledger, on disk before it is answered. "
    "The load, the service and its database share the cores"
)
CUSTOMERS: Final = 20_000
CONNECTIONS: Final = (1, 8, 32, 128)
ROUNDS: Final = 3
WARM_UP_S: Final = 1.0
SECONDS: Final = 3.0
STEADY_SECONDS: Final = 10.0
_PATH: Final = "/v1/decisions"
_TRAINED: Final = 2_000


def figures() -> Iterator[Figure]:
    """On PostgreSQL with one and with two processes of each service, then on SQLite."""
    with TemporaryDirectory() as folder, postgres.server() as server:
        model = _peer_model(Path(folder))
        bodies = bodies_of_questions()
        stocked = server.database()
        past.make(stocked, Path(folder), CUSTOMERS, CUSTOMERS)
        fresh = partial(copied, server, stocked)
        for processes in (1, 2):
            yield from _Contest("PostgreSQL", processes, Path(folder), bodies, model, fresh).figures()
        first = Path(folder) / "stocked.db"
        past.make(f"sqlite:///{first}", Path(folder), CUSTOMERS, CUSTOMERS)
        fresh = partial(copied_file, first, Path(folder))
        yield from _Contest("SQLite", 1, Path(folder), bodies, model, fresh).figures()


def _peer_model(folder: Path) -> Path:
    """The naive service's model, which has learned."""
    rng = np.random.default_rng(1)
    decider = Decider(shop.campaign())
    encoded = decider.space.encode(shop.columns(rng, _TRAINED), {}, _TRAINED)
    workspace = peer.workspace(f"{naive_service.OPTIONS} {peer.same_model(decider.space, pairs=False)}")
    for example in peer.lessons(decider, encoded, shop.Drawn.at_random(decider, rng, encoded), pairs=False):
        workspace.learn(example)
    path = folder / "model.vw"
    workspace.save(str(path))
    return path


def bodies_of_questions() -> list[bytes]:
    """Everything of a question but its id, which comes last."""
    rng = np.random.default_rng(2)
    ids = past.customer_ids(CUSTOMERS)
    rng.shuffle(ids)
    return [
        orjson.dumps({"campaign_id": past.CAMPAIGN, "customer_id": customer_id, "attributes": attributes})[:-1]
        for customer_id, attributes in zip(ids, past.attributes_of(rng, CUSTOMERS), strict=True)
    ]


def questions(bodies: Sequence[bytes]) -> Iterator[bytes]:
    """Questions about one customer after the other, each with an id of its own."""
    for turn in count():
        for place, body in enumerate(bodies):
            yield load.request(_PATH, b'%b,"request_id":"request-%d-%d"}' % (body, turn, place))


@contextmanager
def copied(server: Server, stocked: str) -> Iterator[str]:
    """A database like that one, as long as it is needed."""
    url = server.database(like=stocked)
    server.settle()
    try:
        yield url
    finally:
        server.drop(url)


@contextmanager
def copied_file(stocked: Path, folder: Path) -> Iterator[str]:
    """The same of a file."""
    with TemporaryDirectory(dir=folder) as own:
        path = Path(own) / "copy.db"
        shutil.copy(stocked, path)
        yield f"sqlite:///{path}"


@dataclass(frozen=True, slots=True)
class _Contest:
    """The three services on one kind of database, so many processes of each; `fresh` makes a stocked database."""

    database: str
    processes: int
    folder: Path
    bodies: Sequence[bytes]
    model: Path
    fresh: Callable[[], AbstractContextManager[str]]

    def figures(self) -> Iterator[Figure]:
        """Each level of concurrency, then what they come to."""
        measured: dict[str, list[dict[int, Load]]] = {"ours": [], "naive": [], "empty": []}
        for _ in range(ROUNDS):
            for name, rounds in measured.items():
                rounds.append(self._round(name))
        for connections in CONNECTIONS:
            yield self._level(
                connections, {name: [r[connections] for r in rounds] for name, rounds in measured.items()}
            )
        best = {
            name: [max(load.rate for load in each.values()) for each in rounds] for name, rounds in measured.items()
        }
        for name, what, target in (("naive", "the naive service", 4.0), ("empty", "an empty endpoint", 0.5)):
            note = f"{median(best['ours']):,.0f}/s against {median(best[name]):,.0f}/s, each at its best"
            yield Figure(
                f"{self._where}: against {what}", ratio(best["ours"], best[name]), "{:.2f} x", target, note=note
            )
        yield self._at_half(median(best["ours"]))

    @property
    def _where(self) -> str:
        return f"{self.database}, {self.processes} process{'es' if self.processes > 1 else ''}"

    def _level(self, connections: int, measured: Mapping[str, Sequence[Load]]) -> Figure:
        told = []
        for name, loads in measured.items():
            p50, p99 = (median(load.within_ms(share) for load in loads) for share in (0.5, 0.99))
            rate = "" if name == "ours" else f"{median(load.rate for load in loads):,.0f}/s, "
            told.append(f"{'' if name == 'ours' else name + ' '}{rate}p50 {p50:.1f} p99 {p99:.1f} ms")
        what = f"{self._where}: {connections} connection{'s' if connections > 1 else ''}"
        return Figure(what, median(load.rate for load in measured["ours"]), "{:,.0f}/s", note="; ".join(told))

    def _at_half(self, most: float) -> Figure:
        with self._started("ours") as service:
            requests = questions(self.bodies)
            measured = load.steady(service.ports, requests, most / 2, WARM_UP_S, STEADY_SECONDS)
            service.note(measured)
        return Figure(
            f"{self._where}: p99 at {most / 2:,.0f}/s, whatever comes back",
            measured.within_ms(0.99),
            "{:.1f} ms",
            25,
            at_most=True,
            note=f"p50 {measured.within_ms(0.5):.1f} ms, longest {measured.within_ms(1):.0f} ms",
        )

    def _round(self, name: str) -> dict[int, Load]:
        """A load of each level on a service; each with questions of its own."""
        with self._started(name) as service:
            requests = questions(self.bodies)
            measured = {}
            for connections in CONNECTIONS:
                measured[connections] = load.closed(service.ports, requests, connections, WARM_UP_S, SECONDS)
                service.note(measured[connections])
        return measured

    @contextmanager
    def _started(self, name: str) -> Iterator[_Service]:
        """A service's processes on a fresh database, in which is afterwards looked for what they acknowledged."""
        with self.fresh() as url:
            command, table = self._command(name, url)
            with ExitStack() as stack:
                service = _Service([])
                for _ in range(self.processes):
                    process = stack.enter_context(services.running(command, self.folder))
                    service.ports.append(process.port)
                yield service
            if table is not None and (found := _count(url, table)) != service.acknowledged:
                raise AssertionError(f"{name}: {service.acknowledged:,} were acknowledged and {found:,} are on disk")

    def _command(self, name: str, url: str) -> tuple[list[str], str | None]:
        """What starts a process of a service, without its port; and where it keeps its decisions."""
        if name == "empty":
            return services.peer(empty_service.__name__), None
        if name == "naive":
            return services.peer(naive_service.__name__, url, str(self.model)), str(naive_service.decisions)
        settings = past.Place.make(self.folder, url).settings
        role = "all" if self.database == "SQLite" else "api"
        return services.optimizer("serve", "--config", str(settings), "--role", role, "--port"), "decisions"


@dataclass(slots=True)
class _Service:
    """Where a service answers, and how many decisions it has acknowledged."""

    ports: list[int]
    acknowledged: int = 0

    def note(self, measured: Load) -> None:
        """Count the answers of a load. Raises AssertionError where one was an error."""
        if measured.errors:
            raise AssertionError(f"answers by status: {dict(measured.answers)}")
        self.acknowledged += sum(measured.answers.values())


def _count(url: str, table: str) -> int:
    """How many of our questions have a decision."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found: int = connection.execute(
            text(f"SELECT count(*) FROM {table} WHERE request_id LIKE 'request-%'")  # noqa: S608 -- one of two
        ).scalar_one()
    engine.dispose()
    return found
