"""Small campaigns on a real engine: tables in memory or a file, a clock moved by hand, seeded ids, a noting sender."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from optimizer.attributes import Attribute, Attributes, AttributeType
from optimizer.campaign import CampaignFile
from optimizer.clock import VirtualClock
from optimizer.decisions import Decision, DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import SENT
from optimizer.engine import Engine
from optimizer.ids import IdSource
from optimizer.recording import EventIn, Receipt, Status
from optimizer.secret import Secret
from optimizer.store import Store, customers, decisions, ledgers, rewards, snapshots, touches
from optimizer.store.bulk import insert_rows
from optimizer.store.customers import Customer
from optimizer.store.tables import metadata
from tests import databases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Connection

    from optimizer.clock import Clock
    from optimizer.dispatch.senders import Outcome, Outgoing
    from optimizer.store.rows import DecisionRow, RewardRow, SnapshotRow, TouchRow

SECRET: Final = Secret(b"the tests' own, of enough bytes to be one")
START: Final = datetime(2026, 1, 12, 15, 0, tzinfo=UTC)
"""A Monday."""

ATTRIBUTES: Final = Attributes(
    (
        Attribute(name="plan", type=AttributeType.CATEGORY, description="free, plus or gold"),
        Attribute(name="city", type=AttributeType.CATEGORY, description="where they live"),
        Attribute(name="zone", type=AttributeType.CATEGORY, description="IANA time zone"),
        Attribute(name="age", type=AttributeType.NUMBER, description="in years"),
        Attribute(name="vip", type=AttributeType.BOOLEAN, description="whether they are"),
        Attribute(name="tags", type=AttributeType.MULTI_CATEGORY, description="what they like"),
    )
)

FEATURES: Final = [
    {"name": "plan", "bucket": "customer", "type": "category"},
    {"name": "age", "bucket": "customer", "type": "number", "missing": "flag"},
    {"name": "vip", "bucket": "customer", "type": "boolean"},
    {"name": "tags", "bucket": "experience", "type": "multi_category"},
    {"name": "touches_7d", "bucket": "execution", "type": "number", "source": "history"},
    {
        "name": "hours_since_last_touch_on_channel",
        "bucket": "execution",
        "type": "number",
        "source": "history",
        "scale": "log",
    },
    {"name": "last_opened", "bucket": "execution", "type": "boolean", "source": "history"},
]

SLOTS: Final = {
    "horizon": "48h",
    "slots": [
        {"id": "morning", "days": "all", "from": "09:00", "to": "12:00"},
        {"id": "evening", "days": ["mon", "tue", "wed", "thu", "fri"], "from": "18:00", "to": "20:30"},
    ],
}


def message(name: str, *channels: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    """A message that can be sent on these channels."""
    return {
        "id": name,
        "creatives": {channel: {"template": f"{name}-{channel}", "version": 1} for channel in channels},
    } | more


def campaign(name: str = "camp", *, settings: dict[str, Any] | None = None, **parts: Any) -> CampaignFile:  # noqa: ANN401
    """Two messages on e-mail (sent by the service) and push (by the caller); `parts` replaces whole parts of it."""
    data: dict[str, Any] = {
        "version": 1,
        "campaign": {"id": name, "name": name.title(), "starts_at": "2026-01-01T00:00:00Z"} | (settings or {}),
        "features": FEATURES,
        "catalog": {
            "messages": [message("hello", "email", "push"), message("offer", "email", "push")],
            "channels": [{"id": "email", "cost": 0.01}, {"id": "push", "cost": 0.02, "dispatch": "caller"}],
        },
        "reward": {
            "lateness": "1d",
            "events": [
                {"name": "clicked", "value": 1, "window": "2d"},
                {"name": "purchased", "value_from": "amount", "cap": 10, "window": "3d"},
            ],
            "subtract_costs": True,
        },
    }
    return CampaignFile.model_validate(data | parts)


def only(channel: str, name: str = "camp", **parts: Any) -> CampaignFile:  # noqa: ANN401 - any part
    """A campaign with a single arm: `hello` on one channel, e-mail by the service or push by the caller."""
    dispatch = "service" if channel == "email" else "caller"
    catalog = {
        "messages": [message("hello", channel)],
        "channels": [{"id": channel, "cost": 0.25, "dispatch": dispatch}],
        "no_send": False,
    }
    return campaign(name, **{"catalog": catalog} | parts)


class ProcessDied(BaseException):
    """Stands for the end of the process in the middle of something."""


class Notes:
    """A sender that remembers what it was given; it fails where `failure` is set, and first calls `before`."""

    batch = 5_000
    needs_address = False

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.failure: BaseException | None = None
        self.before: Callable[[], object] = bool

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        self.before()
        if self.failure is not None:
            raise self.failure
        self.sent += touches
        return [SENT] * len(touches)


class Rig:
    """An engine with everything around it in hand.

    Attributes:
        clock: moved by `pass_by`; of another kind only where a test gives one.
        sender: what the touches that the service sends go to.
    """

    def __init__(
        self,
        *campaigns: CampaignFile,
        url: str | None = None,
        seed: int = 0,
        clock: Clock | None = None,
        secret: Secret = SECRET,
        routes: Routes | None = None,
    ) -> None:
        self.clock = VirtualClock(START)
        self.sender = Notes()
        self._ids = IdSource(np.random.default_rng(seed).bytes)
        self._url, self._clock = url or databases.fresh_url(), clock
        self._secret = secret
        self._routes = routes or Routes.to(self.sender)
        self._asked = 0
        self.store = Store(self._url)
        self.engine = self._engine()
        for each in campaigns:
            self.engine.load_campaign(each)

    def _engine(self) -> Engine:
        return Engine(
            self.store,
            ATTRIBUTES,
            self._routes,
            clock=self._clock or self.clock,
            ids=self._ids,
            secret=self._secret,
            worker="rig",
        )

    def restart(self) -> None:
        """Another process on the same database: everything that was only in memory is gone."""
        if self._url != "sqlite://":
            self.store.close()
            self.store = Store(self._url)
        self.engine = self._engine()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()

    # Time

    @property
    def now_us(self) -> int:
        return self.engine.runtime.now_us()

    def pass_by(self, **duration: float) -> None:
        """Time goes on, and nothing else happens."""
        self.clock.advance_to(self.clock.now() + timedelta(**duration))

    def jobs(self) -> None:
        """Every job of the scheduler once, in its order."""
        for job in self.engine.jobs():
            job.run()

    def settle(self) -> None:
        """Time passes until every decision made so far is closed and learned; touches go out or expire meanwhile."""
        for days in (1, 1, 1, 6):
            self.pass_by(days=days)
            self.jobs()

    # Doing things

    def customers(self, n: int, **facts: Any) -> list[str]:  # noqa: ANN401 - any attribute
        """Load n customers with these attributes."""
        ids = [f"c{i:03d}" for i in range(n)]
        self.engine.put_customers([Customer(each, facts, addresses={"email": f"{each}@example.com"}) for each in ids])
        return ids

    def request(self, customer: str, request_id: str | None = None, of: str = "camp", **facts: Any) -> DecisionRequest:  # noqa: ANN401
        self._asked += 1
        return DecisionRequest(of, customer, request_id or f"r{self._asked}", facts)

    def ask(self, customer: str = "c000", request_id: str | None = None, of: str = "camp", **facts: Any) -> Decision:  # noqa: ANN401
        """One decision; an error is raised."""
        (answer,) = self.engine.decide([self.request(customer, request_id, of, **facts)])
        if not isinstance(answer, Decision):
            raise answer
        return answer

    def tell(self, event_id: str, name: str, *, after: timedelta | None = None, **names: Any) -> Status:  # noqa: ANN401
        """Report one event, which occurred now, or so long after START; what became of it."""
        at = None if after is None else START + after
        (receipt,) = self.engine.record([EventIn(event_id, name, at, **names)])
        assert receipt == Receipt(event_id, receipt.status)
        return receipt.status

    # Looking

    def touch(self, decision_id: str) -> TouchRow:
        return self.store.read(lambda c: touches.touches_by_ids(c, "default", [decision_id]))[decision_id]

    def states(self, decision_id: str) -> list[str]:
        """The states that a touch had, in order."""
        return [row.state for row in self.store.read(lambda c: touches.transitions_of(c, "default", decision_id))]

    def reasons(self, decision_id: str) -> list[str | None]:
        """The reasons of a touch's states, in order."""
        return [row.reason for row in self.store.read(lambda c: touches.transitions_of(c, "default", decision_id))]

    def row(self, decision_id: str) -> DecisionRow:
        row = self.store.read(lambda c: decisions.decision_by_id(c, "default", decision_id))
        assert row is not None
        return row

    def log(self, of: str = "camp") -> list[DecisionRow]:
        return self.store.read(lambda c: decisions.decision_page(c, "default", of, after_id="", limit=100_000))

    def reward(self, decision_id: str) -> RewardRow:
        return self.store.read(lambda c: rewards.rewards_by_ids(c, "default", [decision_id]))[decision_id]

    def rewards(self, of: str = "camp") -> dict[str, tuple[float, bool, str]]:
        """Reward, whether it is learned from, and its parts, by decision."""
        ids = [row.decision_id for row in self.log(of)]
        found = self.store.read(lambda c: rewards.rewards_by_ids(c, "default", ids))
        return {each: (row.reward, row.learn, row.parts) for each, row in found.items()}

    def snapshot(self, of: str = "camp") -> SnapshotRow | None:
        """The newest published model."""
        return self.store.read(lambda c: snapshots.latest_snapshot(c, "default", of))

    def ledger(self, customer: str) -> str | None:
        def look(connection: Connection) -> str | None:
            subject = customers.subjects_by_customers(connection, "default", [customer])[customer]
            return ledgers.ledgers_by_subjects(connection, "default", [subject]).get(subject)

        return self.store.read(look)

    def dump(self, *names: str) -> dict[str, set[tuple[Any, ...]]]:
        """All rows of these tables."""

        def look(connection: Connection) -> dict[str, set[tuple[Any, ...]]]:
            return {name: {tuple(row) for row in connection.execute(metadata.tables[name].select())} for name in names}

        return self.store.read(look)

    @staticmethod
    def tables() -> list[str]:
        """The names of all tables."""
        return list(metadata.tables)

    def publish(self, row: SnapshotRow) -> None:
        """Put a model beside those that were published, behind the engine's back."""
        self.store.write(lambda c: insert_rows(c, metadata.tables["snapshots"], [row]))

    def change_snapshot(self, snapshot_id: str, **values: str | bytes) -> None:
        """Change a published model behind the engine's back."""
        table = metadata.tables["snapshots"]
        self.store.write(lambda c: c.execute(table.update().where(table.c.snapshot_id == snapshot_id).values(values)))

    def execute(self, sql: str, *values: object) -> None:
        """Change the tables behind the engine's back."""
        self.store.write(lambda c: databases.execute(c, sql, *values))
