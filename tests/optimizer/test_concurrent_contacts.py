"""Many processes decide for the same few customers, in several campaigns, and no limit is ever exceeded.

Touches are sent, fail, bounce, are cancelled and shown meanwhile, consents are given and taken back, and processes are
killed. Afterwards everything is counted again from the tables.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from optimizer.clock import SystemClock, VirtualClock, now_us
from optimizer.decisions import Decision, DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import SENT, Outcome, Result
from optimizer.engine import Engine
from optimizer.errors import Unavailable
from optimizer.ids import IdSource
from optimizer.recording import EventIn
from optimizer.store import Store
from optimizer.store.customers import Customer
from tests import databases
from tests.chaos.scripts import show
from tests.optimizer.actors import act_for_ever, acting
from tests.optimizer.engine_example import ATTRIBUTES, SECRET, SLOTS, Rig, campaign, message
from tests.optimizer.recount import (
    ENDED,
    Limit,
    Planned,
    Recount,
    anything,
    of_campaign,
    of_channel,
    of_message,
    planned_touches,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from optimizer.campaign import CampaignFile
    from optimizer.dispatch.senders import Outgoing

pytestmark = pytest.mark.databases

SECONDS: Final = 6.0
ENOUGH: Final = 50
"""Fewer touches would prove little: a slow machine gets `LONGER` seconds more."""
LONGER: Final = 20.0
CUSTOMERS: Final = tuple(f"c{i}" for i in range(8))
ZONES: Final = ("Europe/Madrid", "America/Mexico_City", "Pacific/Auckland")
NO_EMAIL: Final = CUSTOMERS[-1]
"""Has no address on a channel whose sender needs one."""

CHANNELS: Final = [
    {"id": "email", "cost": 0.01, "consent": "email_ok"},
    {"id": "push", "cost": 0.02, "dispatch": "caller"},
]
SETTINGS: Final = {
    "starts_at": "2020-01-01T00:00:00Z",
    "timezone": {"attr": "timezone", "fallback": "UTC", "if_missing": "use_fallback"},
}


def _campaign(name: str, policy: dict[str, Any], *, hello: dict[str, Any] | None = None, **more: Any) -> CampaignFile:  # noqa: ANN401
    messages = [message("hello", "email", "push", **(hello or {})), message("offer", "email", "push")]
    catalog = {"messages": messages, "channels": CHANNELS, **more}
    return campaign(name, settings=SETTINGS, policy={"kind": "uniform"}, contact_policy=policy, catalog=catalog)


CAMPAIGNS: Final = (
    _campaign(
        "alpha",
        {
            "caps": [
                {"id": "few", "count": 2, "window": {"rolling": "1s"}},
                {"id": "day", "count": 40, "window": {"calendar": "day", "clock": "utc"}, "counts": "delivered"},
            ]
        },
    ),
    _campaign(
        "beta",
        {
            "min_gap": {"overall": "1s", "channels": {"push": "2s"}},
            "caps": [{"count": 4, "window": {"rolling": "5s"}, "scope": "channel", "counts": "decided"}],
        },
        hello={"caps": [{"count": 1, "window": {"rolling": "3s"}}]},
    ),
    _campaign(
        "later",
        {
            "caps": [
                {"count": 1, "window": {"calendar": "day"}, "scope": "campaign"},
                {"count": 2, "window": {"rolling": "60h"}, "scope": "campaign", "channels": ["email"]},
            ]
        },
        timing=SLOTS,
    ),
)
LIMITS: Final = {
    "alpha": [Limit(2, anything, rolling_s=1), Limit(40, anything, "delivered", zone="UTC")],
    "beta": [
        Limit(1, anything, rolling_s=1),
        Limit(1, of_channel, rolling_s=2, of=lambda touch: touch.channel == "push"),
        Limit(4, of_channel, "decided", rolling_s=5),
        Limit(1, of_message, rolling_s=3, of=lambda touch: touch.message == "hello"),
    ],
    "later": [
        Limit(1, of_campaign, zone=""),
        Limit(
            2,
            lambda one, other: of_campaign(one, other) and other.channel == "email",
            rolling_s=60 * 3600,
            of=lambda touch: touch.channel == "email",
        ),
    ],
}
NOT_HERE: Final = frozenset({"train", "audit", "make_partitions"})
"""Jobs that have nothing to do with who is contacted."""


class Fickle:
    """Sends most touches; others fail, for now or for good, or nobody knows."""

    batch = 3
    needs_address = True

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        """What came of each."""
        time.sleep(self._chance.uniform(0, 0.01))
        if self._chance.random() < 0.05:
            raise OSError("the provider hung up")
        kinds = [SENT, Outcome(Result.TEMPORARY), Outcome(Result.PERMANENT), Outcome(Result.UNKNOWN)]
        return self._chance.choices(kinds, [14, 2, 3, 1], k=len(touches))


class Actor:
    """What one process does, for ever, in several threads; what it did not expect is written down."""

    def __init__(self, url: str, seed: int, notes: Path) -> None:
        self._chance = random.Random(seed)
        self._notes = notes
        self._made: list[str] = []
        self._routes = Routes.to(Fickle(random.Random(seed + 1)))
        self._engine = Engine(Store(url), ATTRIBUTES, self._routes, ids=IdSource(), secret=SECRET)

    def act(self) -> None:
        """Does not return."""
        act_for_ever([self._ask, self._ask, self._run, self._dispatch, self._disturb], self._notes)

    def _ask(self) -> None:
        """One question, or several at once: of one customer in several campaigns too, and some of them twice."""
        chance = self._chance
        asked = [
            DecisionRequest(chance.choice(CAMPAIGNS).id, chance.choice(CUSTOMERS), f"r{chance.getrandbits(40)}")
            for _ in range(chance.choice([1, 1, 2, 6]))
        ]
        answers = self._engine.decide(asked)
        self._made += [each.decision_id for each in answers if isinstance(each, Decision) and each.send_at]
        time.sleep(chance.uniform(0, 0.02))

    def _run(self) -> None:
        self._engine.run(self._chance.choice(CAMPAIGNS).id, f"o{self._chance.getrandbits(40)}")
        time.sleep(self._chance.uniform(0, 0.1))

    def _dispatch(self) -> None:
        for job in self._engine.jobs():
            if job.name not in NOT_HERE:
                job.run()
        time.sleep(self._chance.uniform(0, 0.05))

    def _disturb(self) -> None:
        """Something happens to a touch: it is shown, arrives, comes back, is opened, or taken back."""
        time.sleep(self._chance.uniform(0, 0.02))
        if not self._made:
            return
        decision_id = self._chance.choice(self._made)
        if self._chance.random() < 0.3:
            self._engine.void([decision_id], "test")
            return
        name = self._chance.choice(["shown", "delivered", "bounced", "opened", "clicked"])
        self._engine.record([EventIn(f"e{self._chance.getrandbits(60)}", name, decision_id=decision_id)])


def _process(url: str, seed: int, notes: Path) -> None:
    Actor(url, seed, notes).act()


class Barred(NamedTuple):
    """A time in which a customer's consent was certainly not given, or a campaign certainly paused."""

    what: str
    from_us: int
    until_us: int


def _person(customer_id: str, place: int, *, consents: bool) -> Customer:
    addresses = {} if customer_id == NO_EMAIL else {"email": f"{customer_id}@example.com"}
    return Customer(customer_id, {}, ZONES[place % len(ZONES)], addresses, {"email_ok": consents})


def _again_and_again(
    stopping: threading.Event, chance: random.Random, bar: Callable[[], str], lift: Callable[[str], object]
) -> list[Barred]:
    """Bar something and let it be again; nobody else does. When it was barred."""
    clock, found = SystemClock(), []
    while not stopping.is_set():
        try:
            what = bar()
            from_us = now_us(clock)
            time.sleep(chance.uniform(0.1, 0.4))
            found.append(Barred(what, from_us, now_us(clock)))
            lift(what)
        except Unavailable:
            continue
        time.sleep(chance.uniform(0.1, 0.4))
    return found


def _consents(engine: Engine, chance: random.Random, stopping: threading.Event) -> list[Barred]:
    """Consents are taken back, and given again."""

    def put(customer_id: str, *, consents: bool) -> str:
        engine.put_customers([_person(customer_id, CUSTOMERS.index(customer_id), consents=consents)])
        return customer_id

    turns = cycle(CUSTOMERS[:3])
    return _again_and_again(stopping, chance, lambda: put(next(turns), consents=False), partial(put, consents=True))


def _pauses(engine: Engine, chance: random.Random, stopping: threading.Event) -> list[Barred]:
    """A campaign is paused, and resumed."""
    return _again_and_again(stopping, chance, lambda: engine.pause("beta").campaign_id, engine.resume)


def _planned(connection: Connection) -> int:
    n: int = connection.exec_driver_sql("select count(*) from touches").scalar_one()
    return n


def lived(url: str, seed: int, notes: Path, seconds: float) -> list[Barred]:
    """Let processes act on a database for a while, and kill some in the middle; what was barred meanwhile."""
    chance = random.Random(seed)
    stopping = threading.Event()
    with Store(url) as store, ThreadPoolExecutor(2) as pool:
        engine = Engine(store, ATTRIBUTES, Routes.to(Fickle(chance)), ids=IdSource(), secret=SECRET)
        for each in CAMPAIGNS:
            engine.load_campaign(each)
        engine.put_customers([_person(each, i, consents=True) for i, each in enumerate(CUSTOMERS)])
        with acting(_process, url, notes, chance) as kill_one:
            moods = [pool.submit(mood, engine, random.Random(seed), stopping) for mood in (_consents, _pauses)]
            try:
                end_s = time.monotonic() + seconds
                while (left_s := end_s - time.monotonic()) > 0 or (left_s > -LONGER and store.read(_planned) < ENOUGH):
                    kill_one()
            finally:
                stopping.set()
        return [barred for mood in moods for barred in mood.result()]


def settled(url: str) -> None:
    """A day later, whatever was in hand, waiting or put off has come to its end; what nobody knows of is unknown."""
    clock = VirtualClock(SystemClock().now())
    with Store(url) as store:
        engine = Engine(store, ATTRIBUTES, Routes.to(Fickle(random.Random(0))), clock=clock, ids=IdSource())
        jobs = [job for job in engine.jobs() if job.name not in NOT_HERE | {"advance_runs"}]
        for _ in range(3 * 24):
            clock.advance_to(clock.now() + timedelta(hours=1))
            for job in jobs:
                job.run()


def test_no_limit_is_exceeded_however_many_decide_and_whoever_is_killed(tmp_path: Path) -> None:
    seed = int(os.environ.get("CONTACTS_SEED", random.SystemRandom().getrandbits(32)))
    seconds = float(os.environ.get("CONTACTS_SECONDS", SECONDS))
    show({"contacts under concurrency": {"CONTACTS_SEED": seed}})  # a test that fails says it
    url, notes = databases.fresh_url(tmp_path), tmp_path / "unexpected"
    barred = lived(url, seed, notes, seconds)
    assert not notes.exists(), notes.read_text()
    with Rig(url=url, clock=SystemClock()) as rig:
        assert {each.what for each in barred} >= {"beta", CUSTOMERS[0]}
        before = rig.store.read(planned_touches)
        _counted_again(rig, before, barred)
        settled(url)
        after = rig.store.read(planned_touches)
        assert {touch.decision_id for touch in after} == {touch.decision_id for touch in before}
        assert not [touch for touch in after if touch.state in {"planned", "leased", "sending"}]
        _nothing_leaked(rig)
        states = Counter(touch.state for touch in after)
        show({"decisions by reason": _log_holds(rig), "touches by state": states})
        assert states["sent"]


def _counted_again(rig: Rig, touches: Sequence[Planned], barred: Sequence[Barred]) -> None:
    people = rig.store.read(
        lambda c: c.exec_driver_sql("select subject_id, customer_id, timezone from customers").all()
    )
    customer_of = {row[0]: row[1] for row in people}
    broken = Recount(touches, {row[0]: row[2] for row in people}).broken(LIMITS)
    assert not broken, f"{len(broken)} of {len(touches)}: {broken[:3]}"
    for touch in touches:
        person = customer_of[touch.subject_id]
        asking = {touch.campaign, person} if touch.channel == "email" else {touch.campaign}
        against = [each for each in barred if each.what in asking and each.from_us < touch.decided_us < each.until_us]
        assert not against, (touch, against)
        assert (person, touch.channel) != (NO_EMAIL, "email")


def _nothing_leaked(rig: Rig) -> None:
    """Ledgers count the touches of each campaign that were not given up."""

    def look(connection: Connection) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
        ledgers = connection.exec_driver_sql("select subject_id, body from ledger")
        kept = Counter({(row[0], name): n for row in ledgers for name, n in json.loads(row[1])[6].items()})
        touches = connection.exec_driver_sql("select subject_id, campaign_id, state from touches")
        return kept, Counter((row[0], row[1]) for row in touches if row[2] not in ENDED)

    kept, counted = rig.store.read(look)
    assert kept == counted


def _log_holds(rig: Rig) -> Counter[str]:
    """Every decision is what its log makes of it again, and drawn with its propensity; how many have each reason."""
    reasons: Counter[str] = Counter()
    for each in CAMPAIGNS:
        count, failed = rig.engine.verify_campaign(each.id)
        assert count == len(rig.log(each.id))
        assert not failed, failed[:3]
        rig.engine.auditing.audit(each.id)
        assert rig.engine.auditing.found[each.id].holds, rig.engine.auditing.found[each.id]
        reasons.update(row.reason or "send" for row in rig.log(each.id))
    assert reasons["cap_reached"]
    assert reasons["send"]
    return reasons
