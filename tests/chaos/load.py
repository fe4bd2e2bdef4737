"""Clients under load: they decide, report and store, and repeat with the same ids whatever was not acknowledged.

They keep what was acknowledged, and how every attempt was answered, and when.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import httpx2
import orjson

from tests.api.running import rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

CLIENTS: Final = 6
TIMEOUT_S: Final = 10.0
"""An answer that takes longer is a hang."""

_PAUSE_S: Final = 0.01
_AGAIN_S: Final = 0.2
_PATIENCE_S: Final = 20.0
"""How long after the end of the load the last attempts go on."""
_KNOWN: Final = 300
_NDJSON: Final = {"Content-Type": "application/x-ndjson"}


class Answer(NamedTuple):
    """How one attempt ended: `ok`, `503`, `refused` (nobody listens), `broken` (the process died), or a fault."""

    at_s: float
    took_s: float
    kind: str


class _GivenUp(Exception):
    """The load has ended long ago, and this attempt is still not acknowledged."""


class _Again(Exception):
    """This attempt was not acknowledged, and the service said, or its process showed, that it may be repeated."""


@dataclass
class Acknowledged:
    """What the service has said that it did."""

    decisions: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    customers: dict[str, str] = field(default_factory=dict)


class Load:
    """Clients that run from `with` on until its end, where each comes to the end of what it was at.

    Attributes:
        faults: what should never happen, in words.
    """

    def __init__(self, url: str, clients: int = CLIENTS) -> None:
        self._url = url
        self._stop = threading.Event()
        self._ends_s = 0.0
        self._lock = threading.Lock()
        self.acknowledged = Acknowledged()
        self.answers: list[Answer] = []
        self.faults: Counter[str] = Counter()
        self._threads = [threading.Thread(target=_Client(self, n).run, daemon=True) for n in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends_s = time.monotonic() + _PATIENCE_S
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def stopped(self) -> bool:
        """Whether no client is to begin anything new."""
        return self._stop.is_set()

    @property
    def given_up(self) -> bool:
        """Whether what is not acknowledged by now will never be."""
        return self.stopped and time.monotonic() > self._ends_s

    def fault(self, what: str) -> None:
        """Note what should never happen."""
        with self._lock:
            self.faults[what] += 1

    def answered(self, began_s: float, kind: str) -> None:
        """Note how an attempt ended."""
        now_s = time.monotonic()
        with self._lock:
            self.answers.append(Answer(now_s, now_s - began_s, kind))

    def connect(self) -> httpx2.Client:
        """Connections to the service."""
        return httpx2.Client(base_url=self._url, timeout=TIMEOUT_S)


class _Client:
    """One caller: it asks, sometimes repeats itself, and reports of what it asked, early, late and doubled."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._mine = load.acknowledged
        self._number = number
        self._chance = random.Random(number)
        self._asked = 0

    def run(self) -> None:
        with self._load.connect() as self._client:
            while not self._load.stopped:
                act = self._chance.choices([self._one, self._many, self._early, self._customers], [12, 3, 2, 1])[0]
                try:
                    act()
                except _GivenUp:
                    self._load.fault("a client never came to its end")
                time.sleep(_PAUSE_S)

    def _question(self) -> dict[str, str]:
        self._asked += 1
        customer = f"c-{self._chance.randrange(_KNOWN)}"
        return {"campaign_id": "now", "customer_id": customer, "request_id": f"q-{self._number}-{self._asked}"}

    def _one(self) -> None:
        question = self._question()
        self._decide(question)
        if self._chance.random() < 0.1:
            self._decide(question)
        if self._chance.random() < 0.4:
            self._click(question["request_id"], times=self._chance.choice([1, 1, 2]))

    def _many(self) -> None:
        questions = [self._question() for _ in range(self._chance.randrange(2, 12))]
        for line in self._lines("/v1/decisions:batch", questions):
            self._decided(questions[line["row"] - 1], line["decision"])
        events = [self._event(question["request_id"]) for question in questions if self._chance.random() < 0.5]
        doubled = [*events, *events[:2]]
        for line in self._lines("/v1/events", doubled):
            self._mine.events.add(line["event_id"])

    def _early(self) -> None:
        """What is clicked is reported before the decision is asked for."""
        question = self._question()
        named = {"campaign_id": "now", "request_id": question["request_id"]}
        event = {"event_id": f"e-{question['request_id']}", "name": "clicked", **named}
        self._post("/v1/events", event)
        self._mine.events.add(event["event_id"])
        self._decide(question)

    def _customers(self) -> None:
        # Those of each client are its own, so that it knows which write was the last.
        plans = {
            f"c-{each}": self._chance.choice(["basic", "silver", "gold"])
            for each in range(self._number, _KNOWN, CLIENTS)
            if self._chance.random() < 0.2
        }
        people = [{"customer_id": customer, "attributes": {"plan": plan}} for customer, plan in plans.items()]
        self._lines("/v1/customers:batch", people)
        self._mine.customers.update(plans)

    def _decide(self, question: dict[str, str]) -> None:
        self._decided(question, self._post("/v1/decisions", question))

    def _decided(self, question: dict[str, str], decision: dict[str, Any]) -> None:
        before = self._mine.decisions.setdefault(question["request_id"], decision)
        if {**before, "replayed": None} != {**decision, "replayed": None}:
            self._load.fault(f"{question['request_id']} was answered twice, differently")

    def _event(self, request_id: str) -> dict[str, str]:
        decision_id = self._mine.decisions[request_id]["decision_id"]
        return {"event_id": f"e-{request_id}", "name": "clicked", "decision_id": decision_id}

    def _click(self, request_id: str, times: int) -> None:
        event = self._event(request_id)
        for _ in range(times):
            self._post("/v1/events", event)
        self._mine.events.add(event["event_id"])

    def _post(self, path: str, body: object) -> Any:  # noqa: ANN401 -- JSON
        return self._until_acknowledged(lambda: self._attempt(path, json=body).json())

    def _lines(self, path: str, bodies: Sequence[Any]) -> list[dict[str, Any]]:
        """The answers to rows of NDJSON; all are sent again where the service could not do one of them."""

        def act() -> list[dict[str, Any]]:
            response = self._attempt(path, content=rows(*bodies), headers=_NDJSON)
            found = [orjson.loads(line) for line in response.content.splitlines()]
            failed = [line["error"] for line in found if "error" in line]
            if any(error["status"] != 503 for error in failed):
                self._load.fault(f"{path}: a row was answered {failed[0]}")
            if failed:
                raise _Again
            if len(found) != len(bodies):
                self._load.fault(f"{path}: {len(bodies)} rows, {len(found)} answers")
            return found

        return self._until_acknowledged(act) if bodies else []

    def _until_acknowledged(self, act: Callable[[], Any]) -> Any:  # noqa: ANN401 -- what it returns
        while True:
            try:
                return act()
            except _Again:
                if self._load.given_up:
                    raise _GivenUp from None
                time.sleep(_AGAIN_S)

    def _attempt(self, path: str, **request: Any) -> httpx2.Response:  # noqa: ANN401 -- as httpx takes it
        began_s = time.monotonic()
        try:
            response = self._client.post(path, **request)
        except httpx2.TimeoutException:
            self._load.answered(began_s, "hang")
            self._load.fault(f"{path}: no answer within {TIMEOUT_S:g} s")
            raise _Again from None
        except httpx2.TransportError as error:
            self._load.answered(began_s, "refused" if isinstance(error, httpx2.ConnectError) else "broken")
            raise _Again from None
        unavailable = response.status_code == 503
        self._load.answered(began_s, "ok" if response.status_code == 200 else str(response.status_code))
        if unavailable and "retry-after" not in response.headers:
            self._load.fault(f"{path}: 503 without Retry-After")
        if response.status_code not in {200, 503}:
            self._load.fault(f"{path}: {response.status_code} {response.text[:300]}")
        if response.status_code != 200:
            raise _Again
        return response
