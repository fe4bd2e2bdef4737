"""Callers of a service whose touches go to a provider: they decide, run, take consent away, pause, and report.

Everything is repeated with the same ids until it is acknowledged. What was acknowledged is kept, with the instants
between which nothing may have been sent.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import httpx2
import orjson

from tests.api.running import rows
from tests.chaos.dispatch_campaigns import CHANNELS, CONSENT, ZONES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.chaos.provider import Provider

FOR_EVER_US: Final = 1 << 62

_AGAIN_S: Final = 0.1
_TIMEOUT_S: Final = 15.0
_PATIENCE_S: Final = 30.0
"""How long after the end of the load the last attempts go on."""
_NDJSON: Final = {"Content-Type": "application/x-ndjson"}


class Forbidden(NamedTuple):
    """Between these instants nothing may have begun to be sent: to a customer, or of a campaign; None: any channel."""

    why: str
    customer: str | None
    campaign: str | None
    channel: str | None
    from_us: int
    until_us: int


@dataclass
class Told:
    """What the service has said that it did."""

    decisions: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    forbidden: list[Forbidden] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)


class _Again(Exception):
    """This attempt was not acknowledged, and may be repeated."""


class GivenUp(Exception):
    """The load has ended long ago, and this attempt is still not acknowledged."""


class Caller:
    """One caller, who repeats what was not acknowledged."""

    def __init__(self, url: str, told: Told, clock: Path, stop: threading.Event) -> None:
        self.told = told
        self._client = httpx2.Client(base_url=url, timeout=_TIMEOUT_S)
        self._clock = clock
        self._stop = stop
        self._patience_s = float("inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def now_us(self) -> int:
        """The time, as the service's processes see it."""
        return int((time.time() + float(self._clock.read_text(encoding="utf-8"))) * 1e6)

    def post(self, path: str, body: object) -> Any:  # noqa: ANN401 -- JSON
        """The answer to a question."""
        return self._until_acknowledged(lambda: self._attempt("POST", path, json=body).json())

    def put(self, path: str, body: object) -> None:
        """Store something."""
        self._until_acknowledged(lambda: self._attempt("PUT", path, json=body))

    def lines(self, path: str, bodies: Sequence[Any]) -> list[dict[str, Any]]:
        """The answers to rows of NDJSON; all are sent again where the service could not do one of them."""

        def act() -> list[dict[str, Any]]:
            response = self._attempt("POST", path, content=rows(*bodies), headers=_NDJSON)
            found: list[dict[str, Any]] = [orjson.loads(line) for line in response.content.splitlines()]
            for error in (line["error"] for line in found if "error" in line):
                if error["status"] != 503:
                    self.told.faults[f"{path}: a row was answered {error}"] += 1
                raise _Again
            return found

        return self._until_acknowledged(act) if bodies else []

    def run(self, campaign: str, occasion: str) -> None:
        """Run a campaign, and keep how many it has decided, if it is finished: not where it is paused or has ended."""
        path = f"/v1/campaigns/{campaign}/runs"
        response = self._until_acknowledged(lambda: self._attempt("POST", path, json={"occasion": occasion}))
        if response.status_code == 200:
            self.told.runs[occasion] = response.json()["decided"]

    def decide(self, question: dict[str, str]) -> dict[str, Any]:
        """One decision, which is the same whenever it is asked for."""
        return self.decided(question, self.post("/v1/decisions", question))

    def decided(self, question: dict[str, str], decision: dict[str, Any]) -> dict[str, Any]:
        """Keep a decision."""
        before = self.told.decisions.setdefault(question["request_id"], decision)
        if {**before, "replayed": None} != {**decision, "replayed": None}:
            self.told.faults["a question was answered twice, differently"] += 1
        return decision

    def _until_acknowledged(self, act: Callable[[], Any]) -> Any:  # noqa: ANN401 -- what it returns
        while True:
            try:
                return act()
            except _Again:
                if self._stop.is_set():
                    self._patience_s = min(self._patience_s, time.monotonic() + _PATIENCE_S)
                if time.monotonic() > self._patience_s:
                    raise GivenUp from None
                time.sleep(_AGAIN_S)

    def _attempt(self, method: str, path: str, **request: Any) -> httpx2.Response:  # noqa: ANN401
        try:
            response = self._client.request(method, path, **request)
        except httpx2.TimeoutException:
            self.told.faults[f"{path}: no answer within {_TIMEOUT_S:g} s"] += 1
            raise _Again from None
        except httpx2.TransportError:
            raise _Again from None
        if path.endswith("/runs") and response.status_code == 409:
            return response
        if response.status_code not in {200, 204, 503}:
            self.told.faults[f"{method} {path}: {response.status_code} {response.text[:300]}"] += 1
        if response.status_code not in {200, 204}:
            raise _Again
        return response


def customer(number: int, *, consents: bool) -> dict[str, Any]:
    """What is known of a customer."""
    return {
        "attributes": {"plan": "gold"},
        "timezone": ZONES[number % len(ZONES)],
        "addresses": {channel: f"{channel}-c-{number}" for channel in CHANNELS},
        "consents": {CONSENT: consents},
    }


class Load:
    """What the callers do, each in a thread of its own, until it is told to stop."""

    def __init__(self, url: str, clock: Path, provider: Provider, customers: int) -> None:
        self.told = Told()
        self.customers = customers
        self._url = url
        self._clock = clock
        self._provider = provider
        self._stop = threading.Event()
        self._recent: list[dict[str, Any]] = []

    def store_customers(self) -> None:
        """Tell the service of all customers."""
        people = [{"customer_id": f"c-{n}", **customer(n, consents=True)} for n in range(self.customers)]
        with self._caller() as caller:
            caller.lines("/v1/customers:batch", people)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, the callers are at it; at the end each comes to the end of what it was at."""
        acts = [self._deciding] * 3 + [self._running, self._forbidding, self._pausing, self._reporting]
        threads = [threading.Thread(target=self._run, args=(act, n), daemon=True) for n, act in enumerate(acts)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _caller(self) -> Caller:
        return Caller(self._url, self.told, self._clock, self._stop)

    def _run(self, act: Callable[[Caller, random.Random, int], None], number: int) -> None:
        try:
            with self._caller() as caller:
                act(caller, random.Random(number), number)
        except GivenUp:
            self.told.faults["a caller never came to its end"] += 1

    def _deciding(self, caller: Caller, chance: random.Random, number: int) -> None:
        """Single questions and small batches, of both campaigns that are not run; some are asked twice."""
        asked = 0
        while not self._stop.wait(chance.uniform(0.01, 0.06)):
            questions = []
            for _ in range(chance.choice([1, 1, 1, 5])):
                asked += 1
                campaign = chance.choices(["singles", "receipts"], [5, 2])[0]
                who = f"c-{chance.randrange(self.customers)}"
                questions.append({"campaign_id": campaign, "customer_id": who, "request_id": f"q-{number}-{asked}"})
            if len(questions) == 1:
                decisions = [caller.decide(questions[0]) for _ in range(chance.choice([1, 1, 1, 2]))][:1]
            else:
                answers = caller.lines("/v1/decisions:batch", questions)
                decisions = [caller.decided(questions[line["row"] - 1], line["decision"]) for line in answers]
            self._recent = [*self._recent[-30:], *decisions]

    def _running(self, caller: Caller, chance: random.Random, _number: int) -> None:
        """Runs over the audience, one occasion after the other."""
        asked = 0
        while not self._stop.wait(chance.uniform(0.3, 2)):
            asked += 1
            caller.run("runs", f"r-{asked}")

    def _forbidding(self, caller: Caller, chance: random.Random, number: int) -> None:
        """Consent is taken away, and given again; others unsubscribe, complain, or are suppressed."""
        done, gone = 0, set[str]()
        while not self._stop.wait(chance.uniform(0.05, 0.25)):
            decision = chance.choice(self._recent) if self._recent else None
            # The one to whom something is planned or being sent is the one of interest.
            who = decision["customer_id"] if decision else f"c-{chance.randrange(self.customers)}"
            done += 1
            event = {"event_id": f"no-{number}-{done}", "name": chance.choice(["unsubscribed", "complained"])}
            channel = ((decision or {}).get("arm") or {}).get("channel")
            kind = chance.choices(["consent", "touch", "customer", "suppressed"], [16, 2, 1, 1])[0]
            if kind == "consent" and who not in gone:
                gone |= self._without_consent(caller, chance, who)
            elif kind == "touch" and decision is not None and channel is not None:
                caller.post("/v1/events", event | {"decision_id": decision["decision_id"]})
                self._never_again(caller, event["name"], who, channel)
            elif kind == "customer":
                caller.post("/v1/events", event | {"customer_id": who})
                self._never_again(caller, event["name"], who, None)
            elif kind == "suppressed" and channel is not None:
                caller.put("/v1/suppressions", {"address": f"{channel}-{who}"})
                self._never_again(caller, "suppressed", who, channel)
            elif kind == "suppressed":
                caller.put("/v1/suppressions", {"customer_id": who})
                self._never_again(caller, "suppressed", who, None)

    def _without_consent(self, caller: Caller, chance: random.Random, who: str) -> set[str]:
        """Take a customer's consent away; those who never give it again."""
        number = int(who.removeprefix("c-"))
        caller.put(f"/v1/customers/{who}", customer(number, consents=False))
        from_us, until_us = caller.now_us(), FOR_EVER_US
        if chance.random() < 0.5:
            self._stop.wait(chance.uniform(0.2, 0.6))
            until_us = caller.now_us()
            caller.put(f"/v1/customers/{who}", customer(number, consents=True))
        for channel in ("hook", "asked"):
            self._forbid("no consent", who, channel, from_us, until_us)
        return {who} if until_us == FOR_EVER_US else set()

    def _never_again(self, caller: Caller, why: str, who: str, channel: str | None) -> None:
        self._forbid(why, who, channel, caller.now_us(), FOR_EVER_US)

    def _forbid(self, why: str, who: str, channel: str | None, from_us: int, until_us: int) -> None:
        campaigns = ("singles", "runs") if why == "no consent" else ("singles", "runs", "receipts")
        self.told.forbidden += [Forbidden(why, who, each, channel, from_us, until_us) for each in campaigns]

    def _pausing(self, caller: Caller, chance: random.Random, _number: int) -> None:
        """A campaign is stopped for a moment."""
        while not self._stop.wait(chance.uniform(1.5, 4)):
            campaign = chance.choice(["singles", "runs"])
            caller.post(f"/v1/campaigns/{campaign}/pause", {})
            from_us = caller.now_us()
            self._stop.wait(chance.uniform(0.3, 1))
            until_us = caller.now_us()
            caller.post(f"/v1/campaigns/{campaign}/resume", {})
            self.told.forbidden.append(Forbidden("paused", None, campaign, None, from_us, until_us))

    def _reporting(self, caller: Caller, chance: random.Random, _number: int) -> None:
        """What the provider took is reported as delivered, opened or bounced: soon or late, in any order, doubled."""
        told, waiting = 0, list[dict[str, Any]]()
        while not self._stop.wait(chance.uniform(0.05, 0.4)):
            record = self._provider.record()
            for line in record[told:]:
                names = chance.choice([["delivered"], ["delivered", "opened"], ["bounced"], []])
                waiting += [
                    {"event_id": f"{name}-{line['id']}", "name": name, "decision_id": line["id"]} for name in names
                ]
            told = len(record)
            chance.shuffle(waiting)
            now, waiting = waiting[: len(waiting) // 2], waiting[len(waiting) // 2 :]
            caller.lines("/v1/events", [*now, *now[:2]])
            self.told.events |= {event["event_id"] for event in now}
