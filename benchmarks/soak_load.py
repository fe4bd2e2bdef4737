"""The mixed load of the soak test, and what was acknowledged to it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import count
from random import Random
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

import orjson

from benchmarks.load import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CAMPAIGN: Final = "soak"
CUSTOMERS: Final = 20_000
AGAIN: Final = 10
"""Every so manieth question and event is sent twice."""
_ROWS: Final = 200
_REPORTS: Final = 300
_REPORTED: Final = 0.3
"""The share of decisions that are followed by a purchase."""
_TIMEOUT_S: Final = 60.0
_JSON: Final = "application/json"
_NDJSON: Final = "application/x-ndjson"


@dataclass(slots=True)
class Acknowledged:
    """What the service has said that it has done; every thread has its own.

    Attributes:
        decisions: the decision of each request.
        bought: the decisions of which a purchase was accepted.
        events: the ids of the events accepted.
        customers: the ids of the customers stored.
        answers: how many requests were answered.
        errors: whatever was not as it should be.
    """

    decisions: dict[str, str] = field(default_factory=dict)
    bought: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    customers: set[str] = field(default_factory=set)
    answers: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, other: Acknowledged) -> None:
        """Take in what another thread was told."""
        self.decisions |= other.decisions
        self.bought |= other.bought
        self.events |= other.events
        self.customers |= other.customers
        self.answers += other.answers
        self.errors += other.errors


def _customer(number: int) -> dict[str, Any]:
    return {
        "customer_id": f"c-{number}",
        "attributes": {"plan": ("free", "basic", "plus", "gold")[number % 4], "days_inactive": number % 90},
        "timezone": "Europe/Paris",
        "addresses": {"email": f"{number}@example.com"},
    }


def fill(port: int) -> None:
    """Store everybody, before anything is counted. Raises RuntimeError where one is not stored."""
    worker = _Worker(0, port, _put, 0.0)
    everybody = [_customer(number) for number in range(CUSTOMERS)]
    worker.rows("/v1/customers:batch", everybody)


def run(ports: Sequence[int], seconds: float) -> Acknowledged:
    """So long single decisions, batches, events, customers and reads, each in threads of their own."""
    told: list[Acknowledged] = []
    threads = []
    end = monotonic() + seconds
    kinds = [_single] * 4 + [_batch, _events, _put, _read]
    for number, kind in enumerate(kinds):
        worker = _Worker(number, ports[number % len(ports)], kind, end)
        told.append(worker.told)
        threads.append(threading.Thread(target=worker.work))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = Acknowledged()
    for each in told:
        whole.add(each)
    return whole


class _Worker:
    """One thread with one connection; `kind` does one step and says how long to wait before the next, in seconds."""

    def __init__(self, number: int, port: int, kind: Callable[[_Worker], float], end: float) -> None:
        self.number = number
        self.random = Random(number)  # noqa: S311 -- a load, no secret
        self.told = Acknowledged()
        self.steps = count()
        self._kind = kind
        self._end = end
        self._port = port
        self._connection = self._connected()

    def work(self) -> None:
        """Steps until the end; the first thing that goes wrong in one is noted, and the next one tried."""
        while monotonic() < self._end:
            try:
                sleep(self._kind(self))
            except Exception as error:  # noqa: BLE001 -- noted; the soak test fails by it
                self.told.errors.append(f"{self._kind.__name__}: {error!r}")
                self._connection.close()
                self._connection = self._connected()
        self._connection.close()

    def send(self, method: str, path: str, body: bytes | None = None, kind: str = _JSON) -> bytes:
        """The body of the answer. Raises RuntimeError where that is no success."""
        self._connection.request(method, path, body, {"Content-Type": kind} if body is not None else {})
        answer = self._connection.getresponse()
        found = answer.read()
        if answer.status != 200:  # noqa: PLR2004 -- the status
            raise RuntimeError(f"{method} {path}: {answer.status} {found[:200]!r}")
        self.told.answers += 1
        return found

    def rows(self, path: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The answer to each row. Raises RuntimeError where one was rejected."""
        body = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        lines = [orjson.loads(line) for line in self.send("POST", path, body, _NDJSON).splitlines()]
        wrong = [line for line in lines if "error" in line]
        if wrong or len(lines) != len(rows):
            raise RuntimeError(f"{path}: {len(lines)} answers to {len(rows)} rows: {wrong[:1]}")
        return lines

    def question(self) -> dict[str, Any]:
        """A question that was not asked before."""
        return {
            "campaign_id": CAMPAIGN,
            "customer_id": f"c-{self.random.randrange(CUSTOMERS)}",
            "request_id": f"r-{self.number}-{next(self.steps)}",
            "attributes": {"days_inactive": self.random.randrange(90)},
        }

    def decided(self, asked: dict[str, Any], decision: dict[str, Any]) -> None:
        """Note a decision. Raises RuntimeError where a repeated question has another answer than before."""
        known = self.told.decisions.setdefault(asked["request_id"], decision["decision_id"])
        if known != decision["decision_id"]:
            raise RuntimeError(f"{asked['request_id']} was answered with {known} and {decision['decision_id']}")

    def report(self, decision_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Purchases that follow from some of these decisions, one in ten of them told twice."""
        events = []
        for decision_id in decision_ids:
            if self.random.random() < _REPORTED:
                event = {"event_id": f"bought-{decision_id}", "name": "bought", "decision_id": decision_id}
                events += [event] * (2 if self.random.randrange(AGAIN) == 0 else 1)
        return events

    def reported(self, events: Sequence[dict[str, Any]], lines: Sequence[dict[str, Any]]) -> None:
        """Note what became of events. Raises RuntimeError where the first report of one was not accepted."""
        for event, line in zip(events, lines, strict=True):
            known = event["event_id"] in self.told.events
            if line["status"] != ("duplicate" if known else "accepted"):
                raise RuntimeError(f"event {event['event_id']}: {line['status']}")
            self.told.events.add(event["event_id"])
            if "decision_id" in event:
                self.told.bought.add(event["decision_id"])

    def _connected(self) -> HTTPConnection:
        return HTTPConnection(HOST, self._port, timeout=_TIMEOUT_S)


def _single(worker: _Worker) -> float:
    """One decision, sometimes asked for twice, and what the customer did."""
    asked = worker.question()
    body = orjson.dumps(asked)
    for _ in range(2 if worker.random.randrange(AGAIN) == 0 else 1):
        decision = orjson.loads(worker.send("POST", "/v1/decisions", body))
        worker.decided(asked, decision)
    for event in worker.report([decision["decision_id"]]):
        receipt = orjson.loads(worker.send("POST", "/v1/events", orjson.dumps(event)))
        worker.reported([event], [receipt])
    return 0.01


def _batch(worker: _Worker) -> float:
    asked = [worker.question() for _ in range(_ROWS)]
    lines = worker.rows("/v1/decisions:batch", asked)
    for question, line in zip(asked, lines, strict=True):
        worker.decided(question, line["decision"])
    events = worker.report([line["decision"]["decision_id"] for line in lines])
    worker.reported(events, worker.rows("/v1/events", events))
    return 1.0


def _events(worker: _Worker) -> float:
    """Visits, which name only a customer and count for nothing."""
    events = [
        {
            "event_id": f"visit-{next(worker.steps)}",
            "name": "visited",
            "customer_id": f"c-{worker.random.randrange(CUSTOMERS)}",
        }
        for _ in range(_REPORTS)
    ]
    worker.reported(events, worker.rows("/v1/events", events))
    return 0.5


def _put(worker: _Worker) -> float:
    """Customers, known ones and new ones."""
    rows = [_customer(worker.random.randrange(2 * CUSTOMERS)) for _ in range(_ROWS)]
    worker.told.customers |= {line["customer_id"] for line in worker.rows("/v1/customers:batch", rows)}
    one = _customer(worker.random.randrange(2 * CUSTOMERS))
    customer_id = one.pop("customer_id")
    worker.send("PUT", f"/v1/customers/{customer_id}", orjson.dumps(one))
    worker.told.customers.add(customer_id)
    return 1.0


def _read(worker: _Worker) -> float:
    """What people and machines look at; the decision that is explained was made just before."""
    asked = worker.question()
    decision = orjson.loads(worker.send("POST", "/v1/decisions", orjson.dumps(asked)))
    worker.decided(asked, decision)
    for path in (
        f"/v1/decisions/{decision['decision_id']}/explain",
        f"/v1/customers/{asked['customer_id']}",
        f"/v1/campaigns/{CAMPAIGN}",
        "/metrics",
        "/readyz",
    ):
        worker.send("GET", path)
    return 0.2
