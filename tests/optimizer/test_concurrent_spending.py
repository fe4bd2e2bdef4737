"""Many processes decide for the same customers, in campaigns with budgets and of one group, and some are killed.

Whatever happens, no budget is exceeded, what is used is what touches take, and no customer is in two of the campaigns;
in the end everything is spent that can be.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

import pytest

from optimizer.clock import SystemClock
from optimizer.decisions import Decision, DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.exclusions import claims_customer
from optimizer.ids import IdSource
from optimizer.scalars import MICRO
from optimizer.store import Store
from optimizer.store.customers import Customer
from tests import databases
from tests.chaos.scripts import show
from tests.optimizer.actors import act_for_ever, acting
from tests.optimizer.engine_example import ATTRIBUTES, SECRET, Notes, Rig, campaign, message

if TYPE_CHECKING:
    from pathlib import Path

    from optimizer.campaign import CampaignFile

pytestmark = pytest.mark.databases

SECONDS: Final = 5.0
CUSTOMERS: Final = tuple(f"c{i:02}" for i in range(60))


def _campaign(name: str, amount: float, on_reach: str, priority: int) -> CampaignFile:
    offer = {"id": "off", "type": "discount", "value": 1, "unit": "percent", "cost": 0.75, "cost_on": "used"}
    channels = [{"id": "email", "cost": 0.1}, {"id": "push", "cost": 0.05, "dispatch": "caller"}]
    messages = [message("offer", "email", "push", offer=offer), message("hello", "email", "push")]
    return campaign(
        name,
        settings={"starts_at": "2020-01-01T00:00:00Z", "exclusion_group": "one", "priority": priority},
        catalog={"messages": messages, "channels": channels},
        policy={"kind": "uniform"},
        budget={"amount": amount, "currency": "USD", "on_reach": on_reach},
    )


AMOUNTS: Final = {"alpha": 40.0, "beta": 60.0, "gamma": 10.0}
CAMPAIGNS: Final = (
    _campaign("alpha", AMOUNTS["alpha"], "stop_offers", 1),
    _campaign("beta", AMOUNTS["beta"], "stop_offers", 1),
    _campaign("gamma", AMOUNTS["gamma"], "pause", 1),
)


class Actor:
    """What one process does, for ever, in several threads; what it did not expect is written down."""

    def __init__(self, url: str, seed: int, notes: Path) -> None:
        self._chance = random.Random(seed)
        self._notes = notes
        self._made: list[str] = []
        self._engine = Engine(Store(url), ATTRIBUTES, Routes.to(Notes()), ids=IdSource(), secret=SECRET)

    def act(self) -> None:
        """Does not return."""
        act_for_ever([self._ask, self._ask, self._run, self._give_up], self._notes)

    def _ask(self) -> None:
        chance = self._chance
        asked = [
            DecisionRequest(chance.choice(CAMPAIGNS).id, chance.choice(CUSTOMERS), f"r{chance.getrandbits(40)}")
            for _ in range(chance.choice([1, 1, 2, 6]))
        ]
        answers = self._engine.decide(asked)
        self._made += [each.decision_id for each in answers if isinstance(each, Decision) and each.send_at]

    def _run(self) -> None:
        self._engine.run(self._chance.choice(CAMPAIGNS).id, f"o{self._chance.getrandbits(40)}")
        time.sleep(self._chance.uniform(0, 0.2))

    def _give_up(self) -> None:
        time.sleep(self._chance.uniform(0, 0.02))
        if self._made:
            self._engine.void([self._chance.choice(self._made)], "test")


def _process(url: str, seed: int, notes: Path) -> None:
    Actor(url, seed, notes).act()


def lived(url: str, seed: int, notes: Path, seconds: float) -> None:
    """Let processes act on a database for a while, and kill some in the middle."""
    end_s = time.monotonic() + seconds
    with acting(_process, url, notes, random.Random(seed)) as kill_one:
        while time.monotonic() < end_s:
            kill_one()


def test_no_budget_is_exceeded_and_nobody_is_in_two_campaigns_however_many_decide_and_whoever_is_killed(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("SPENDING_SEED", random.SystemRandom().getrandbits(32)))
    seconds = float(os.environ.get("SPENDING_SECONDS", SECONDS))
    show({"spending under concurrency": {"SPENDING_SEED": seed}})  # a test that fails says it
    url, notes = databases.fresh_url(tmp_path), tmp_path / "unexpected"
    with Rig(*CAMPAIGNS, url=url, clock=SystemClock()) as rig:
        rig.engine.put_customers([Customer(each) for each in CUSTOMERS])
        lived(url, seed, notes, seconds)
        assert not notes.exists(), notes.read_text()
        _holds(rig)
        _spend_the_rest(rig)
        reasons = _holds(rig)
        show({"decisions by reason": reasons})
        assert {"send", "budget_reached", "excluded_by_other_campaign"} <= reasons.keys()


def _spend_the_rest(rig: Rig) -> None:
    """Whoever is left spends what those have left who are gone, to the last touch that it pays for."""
    for name in AMOUNTS:
        rig.engine.resume(name)
        # Nobody else would have them.
        for other in AMOUNTS.keys() - {name}:
            rig.engine.pause(other)
        people = [f"late {name} {i}" for i in range(2_000)]
        for start in range(0, len(people), 50):
            if rig.engine.campaign(name).state == "paused":
                break
            rig.engine.decide([rig.request(each, of=name) for each in people[start : start + 50]])
        standing = rig.engine.budget(name)
        assert standing is not None
        assert standing.left < 0.85


def _holds(rig: Rig) -> Counter[str]:
    """Count everything again; how many decisions have each reason."""
    taken: dict[str, int] = defaultdict(int)
    for row in rig.dump("touches")["touches"]:
        taken[row[2]] += row[-1]
    granted: dict[str, int] = defaultdict(int)
    used: dict[str, int] = defaultdict(int)
    for _, name, _, grant, use in rig.dump("budgets")["budgets"]:
        granted[name] += grant
        used[name] += use
    for name, amount in AMOUNTS.items():
        assert used[name] == taken[name]
        assert used[name] <= amount * MICRO
        assert granted[name] <= amount * MICRO
    has: dict[str, set[str]] = defaultdict(set)
    for name in AMOUNTS:
        for row in rig.log(name):
            if claims_customer(row):
                has[row.subject_id].add(name)
        checked, failed = rig.engine.verify_campaign(name)
        assert checked == len(rig.log(name))
        assert not failed, failed[:3]
    assert {len(names) for names in has.values()} == {1}
    return Counter(row.reason or "send" for name in AMOUNTS for row in rig.log(name))
