"""Whether the database holds what a service has acknowledged: all of it, once, and what must follow from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import create_engine, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from benchmarks.soak_load import Acknowledged

_WAIT_S: Final = 90.0
"""How long everything may take to close and to be learned after the load."""


@dataclass(frozen=True, slots=True)
class Count:
    """Something counted on both sides."""

    what: str
    expected: int
    found: int

    @property
    def agrees(self) -> bool:
        """Whether both sides say the same."""
        return self.expected == self.found

    def line(self) -> str:
        """As it is printed."""
        return f"{self.what:72} {self.expected:>10,} {self.found:>10,}  {'' if self.agrees else 'WRONG'}".rstrip()


def settled(url: str) -> bool:
    """Wait until every decision has its reward, every reward is learned, and every due touch is sent; whether it came.

    The service has to be running.
    """
    engine = create_engine(url)
    try:
        return _until(lambda: not any(_waiting(engine)))
    finally:
        engine.dispose()


def counts(url: str, told: Acknowledged, outbox: Path) -> list[Count]:
    """Everything that has to agree once the service is settled."""
    engine = create_engine(url)
    try:
        return [*_logged(engine, told), *_followed(engine, told), *_sent(engine, outbox)]
    finally:
        engine.dispose()


def _logged(engine: Engine, told: Acknowledged) -> list[Count]:
    decisions = {row[0]: row[1] for row in _rows(engine, "SELECT request_id, decision_id FROM decisions")}
    events = Counter(row[0] for row in _rows(engine, "SELECT event_id FROM events"))
    stored = {row[0] for row in _rows(engine, "SELECT customer_id FROM customers WHERE loaded")}
    same = sum(decisions.get(request_id) == decision_id for request_id, decision_id in told.decisions.items())
    return [
        Count("decisions acknowledged, and in the log with the same id", len(told.decisions), same),
        Count("decisions acknowledged, and in the log in all", len(told.decisions), _one(engine, "decisions")),
        Count("events acknowledged, and in the log", len(told.events), sum(events[event] > 0 for event in told.events)),
        Count("events acknowledged, and in the log in all", len(told.events), events.total()),
        Count("events in the log, and keys of events", events.total(), _one(engine, "event_keys")),
        Count("customers acknowledged, and stored", len(told.customers), len(told.customers & stored)),
    ]


def _followed(engine: Engine, told: Acknowledged) -> list[Count]:
    sends = _one(engine, "decisions WHERE send_us IS NOT NULL")
    learned = _one(engine, "rewards WHERE learn")
    [(rewarded,)] = _rows(engine, "SELECT coalesce(sum(reward), 0) FROM rewards")
    [(newest,)] = _rows(engine, "SELECT coalesce(max(learned), 0) FROM snapshots")
    return [
        Count("decisions to send, and touches", sends, _one(engine, "touches")),
        Count("touches, and those with a first transition", sends, _one(engine, "touch_transitions WHERE seq = 0")),
        Count("decisions, and rewards closed", len(told.decisions), _one(engine, "rewards")),
        Count("decisions still open", 0, _one(engine, "open_decisions")),
        Count("events parked", 0, _one(engine, "parked")),
        Count("purchases acknowledged, and the sum of the rewards", len(told.bought), round(rewarded)),
        Count("rewards to learn, and learned by the newest snapshot", learned, newest),
    ]


def _sent(engine: Engine, outbox: Path) -> list[Count]:
    lines = [line for file in sorted(outbox.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    sent = Counter(orjson.loads(line)["decision_id"] for line in lines)
    ours = {row[0] for row in _rows(engine, "SELECT decision_id FROM touches WHERE dispatch = 'service'")}
    return [
        Count("touches of ours, and those that are sent", len(ours), _one(engine, "touches WHERE state = 'sent'")),
        Count("touches of ours, and those in the outbox", len(ours), len(ours & sent.keys())),
        Count("touches of ours, and lines in the outbox in all", len(ours), sent.total()),
    ]


def _waiting(engine: Engine) -> tuple[int, int, int]:
    """Decisions without reward, rewards not learned, touches of ours not sent."""
    [(newest,)] = _rows(engine, "SELECT coalesce(max(learned), 0) FROM snapshots")
    return (
        _one(engine, "open_decisions"),
        _one(engine, "rewards WHERE learn") - newest,
        _one(engine, "touches WHERE dispatch = 'service' AND state <> 'sent'"),
    )


def _one(engine: Engine, table: str) -> int:
    [(found,)] = _rows(engine, f"SELECT count(*) FROM {table}")  # noqa: S608 -- ours
    return int(found)


def _rows(engine: Engine, query: str) -> Sequence[Any]:
    with engine.connect() as connection:
        return connection.execute(text(query)).all()


def _until(done: Callable[[], bool]) -> bool:
    end = monotonic() + _WAIT_S
    while monotonic() < end:
        if done():
            return True
        sleep(1.0)
    return False
