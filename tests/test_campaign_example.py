"""The campaign that the plan of the house shows, whole but for the guardrail metrics, which do not act yet."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from optimizer.clock import VirtualClock, from_us
from optimizer.config import load_attributes, load_campaign
from optimizer.decisions import Decision, DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.ids import IdSource
from optimizer.store import Store, touches
from optimizer.store.customers import Customer
from optimizer.yaml_file import read_yaml
from tests import databases
from tests.optimizer.engine_example import Notes

if TYPE_CHECKING:
    from optimizer.attributes import Attributes
    from optimizer.campaign import CampaignFile

ROOT: Final = Path(__file__).parents[1]
EXAMPLE: Final = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data")).parent / "campaign-example.yaml"
STARTS: Final = datetime(2026, 1, 12, 15, tzinfo=UTC)
PEOPLE: Final = 25
DAYS: Final = 50

pytestmark = [
    pytest.mark.databases,
    pytest.mark.skipif(not EXAMPLE.exists(), reason="the example is not there: set SHARED_DATA to a folder beside it"),
]


@pytest.fixture
def attributes() -> Attributes:
    return load_attributes(ROOT / "configs" / "attributes.yaml")


@pytest.fixture
def campaign(attributes: Attributes, tmp_path: Path) -> CampaignFile:
    before, _, after = EXAMPLE.read_text(encoding="utf-8").partition("\nguardrails:\n")
    path = tmp_path / "example.yaml"
    path.write_text(before + "\n" + after.partition("\n\n")[2], encoding="utf-8")
    assert read_yaml(EXAMPLE).data.keys() - read_yaml(path).data.keys() == {"guardrails"}
    return load_campaign(path, attributes)


def test_the_example_acts_for_weeks_and_every_contact_rule_keeps_what_it_says(
    attributes: Attributes, campaign: CampaignFile
) -> None:
    clock, sender = VirtualClock(STARTS), Notes()
    engine = Engine(
        Store(databases.fresh_url()),
        attributes,
        Routes.to(sender),
        clock=clock,
        ids=IdSource(np.random.default_rng(1).bytes),
    )
    engine.load_campaign(campaign)
    consents = {"email_marketing": True, "sms_marketing": True, "push": True}
    people = [f"c{i}" for i in range(PEOPLE)]
    facts = {"days_inactive": 90, "country": "MX", "plan": "basic"}
    engine.put_customers([Customer(name, facts, None, {"email": f"{name}@example.com"}, consents) for name in people])
    made = []
    for day in range(DAYS):
        clock.advance_to(STARTS + timedelta(days=day))
        asked = engine.decide([DecisionRequest(campaign.id, name, f"{name}-{day}") for name in people])
        made += [each for each in asked if isinstance(each, Decision)]
        for hour in range(0, 24, 2):
            clock.advance_to(STARTS + timedelta(days=day, hours=hour))
            engine.outbox.dispatch_due()
    reasons = {each.reason for each in made if each.reason}
    assert {"holdout", "chose_no_send", "blackout"} <= reasons
    removed = {reason for each in made for reason in _removed(engine, each.decision_id)}
    assert {"cooldown", "cap_reached", "min_gap", "blackout", "no_creative_for_channel"} <= removed
    outgoing = {each.decision_id: each.customer_id for each in made if each.send_at is not None}
    rows = engine.runtime.store.read(lambda c: touches.touches_by_ids(c, "default", outgoing)).values()
    sent = [(outgoing[row.decision_id], from_us(row.sent_us)) for row in rows if row.sent_us is not None]
    assert len(sent) == len(sender.sent) > PEOPLE
    for name in people:
        sends = sorted(at for customer_id, at in sent if customer_id == name)
        assert len(sends) <= 6
        assert all(later - earlier >= timedelta(hours=20) for earlier, later in pairwise(sends))
        assert all(sends[i + 3] - sends[i] >= timedelta(days=7) for i in range(len(sends) - 3))
    launch = datetime(2026, 2, 1, 6, tzinfo=UTC), datetime(2026, 2, 3, 6, tzinfo=UTC)
    assert not [at for _, at in sent if launch[0] <= at < launch[1]]
    mexico = ZoneInfo("America/Mexico_City")
    assert all(8 <= at.astimezone(mexico).hour < 21 for _, at in sent)
    assert all(check.holds for each in made[::97] for check in engine.verify(each.decision_id))
    engine.close()


def _removed(engine: Engine, decision_id: str) -> set[str]:
    return {each.reason.value for each in engine.explain(decision_id).candidates if each.reason is not None}
