"""What contact rules cost a service: the same campaign with them and without, on the same customers, in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from sqlalchemy import create_engine, text

from benchmarks import bulk, http, load, past, postgres, services, shop
from benchmarks.figures import Figure, ratio
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import FileSender
from optimizer.engine import Engine
from optimizer.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

TITLE = (
    "Contact rules on a service: hours, caps of a day, a week and a message, a gap, a cooldown, a blackout, consent; "
    "against the same campaign without them"
)
CUSTOMERS: Final = 20_000
CONNECTIONS: Final = 32
ROUNDS: Final = 3
WARM_UP_S: Final = 1.0
SECONDS: Final = 4.0
TARGET: Final = 2 / 3
"""A third is what they may cost."""

Fresh = Callable[[], AbstractContextManager[str]]
"""Makes a stocked database."""


def figures() -> Iterator[Figure]:
    """Single decisions and one batch, on PostgreSQL and on SQLite."""
    with TemporaryDirectory() as name, postgres.server() as server:
        folder = Path(name)
        stocked = server.database()
        past.make(stocked, folder, CUSTOMERS, CUSTOMERS)
        yield from _figures("PostgreSQL", folder, partial(http.copied, server, stocked))
        first = folder / "stocked.db"
        past.make(f"sqlite:///{first}", folder, CUSTOMERS, CUSTOMERS)
        yield from _figures("SQLite", folder, partial(http.copied_file, first, folder))


@dataclass(slots=True)
class _Rates:
    """Decisions a second in each round, and the share of the decisions of the last that send something."""

    single: list[float] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)
    sending: float = 0.0


def _figures(database: str, folder: Path, fresh: Fresh) -> Iterator[Figure]:
    measured = {with_rules: _Rates() for with_rules in (False, True)}
    bodies = http.bodies_of_questions()
    for _ in range(ROUNDS):
        for with_rules, rates in measured.items():
            with fresh() as url:
                _load(url, folder, with_rules=with_rules)
                rates.single.append(_single(url, folder, bodies))
            with fresh() as url:
                _load(url, folder, with_rules=with_rules)
                done = bulk.batch(url, folder, CUSTOMERS)
                rates.batch.append(done.rows / done.seconds)
                rates.sending = _sending(url)
    off, on = measured[False], measured[True]
    for what, ours, theirs in (
        (f"{CONNECTIONS} connections, a decision each", on.single, off.single),
        (f"/v1/decisions:batch, {CUSTOMERS:,}", on.batch, off.batch),
    ):
        note = f"{median(ours):,.0f}/s against {median(theirs):,.0f}/s; {on.sending:.0%} and {off.sending:.0%} send"
        yield Figure(f"{database}: {what}", ratio(ours, theirs), "{:.2f} x", TARGET, note=note)


def _load(url: str, folder: Path, *, with_rules: bool) -> None:
    plain = shop.campaign()
    with closing(Engine(Store(url), past.ATTRIBUTES, Routes.to(FileSender(folder / "sent")))) as engine:
        engine.load_campaign(shop.with_policy(plain) if with_rules else plain)


def _single(url: str, folder: Path, bodies: Sequence[bytes]) -> float:
    command = services.optimizer("serve", "--config", str(past.Place.make(folder, url).settings), "--port")
    with services.running(command, folder) as service:
        measured = load.closed([service.port], http.questions(bodies), CONNECTIONS, WARM_UP_S, SECONDS)
    if measured.errors:
        raise AssertionError(f"answers by status: {dict(measured.answers)}")
    return measured.rate


def _sending(url: str) -> float:
    """The share of the decisions of the batch that send something."""
    engine = create_engine(url)
    query = "SELECT avg(CASE WHEN send_us IS NULL THEN 0.0 ELSE 1.0 END) FROM decisions WHERE request_id LIKE 'asked-%'"
    with engine.connect() as connection:
        share = float(connection.execute(text(query)).scalar_one())
    engine.dispose()
    return share
