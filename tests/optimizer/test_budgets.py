"""Budgets: spent to the last touch that they pay for, never beyond; what was not needed comes back."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from optimizer.errors import Conflict
from tests.optimizer.engine_example import Rig, campaign, message, only

if TYPE_CHECKING:
    from optimizer.budgets import BudgetReport
    from optimizer.campaign import CampaignFile

pytestmark = pytest.mark.databases

CHANNELS = [{"id": "email", "cost": 0.25}, {"id": "push", "cost": 0.0, "dispatch": "caller"}]


def offer(cost: float, cost_on: str = "sent") -> dict[str, Any]:
    """The incentive of a message."""
    return {
        "offer": {"id": "off", "type": "discount", "value": 10, "unit": "percent", "cost": cost, "cost_on": cost_on}
    }


def budget(amount: float, on_reach: str = "pause") -> dict[str, Any]:
    return {"budget": {"amount": amount, "currency": "USD", "on_reach": on_reach}}


def plain(amount: float, **parts: Any) -> CampaignFile:  # noqa: ANN401 - any part
    """A single arm that costs 0.25, on e-mail."""
    return only("email", **budget(amount), **parts)


def tempting(amount: float, *, cost_on: str = "sent") -> CampaignFile:
    """An offer and a plain message on e-mail and push; what costs nothing is the plain one on push."""
    messages = [message("offer", "email", "push", **offer(1.0, cost_on)), message("plain", "email", "push")]
    catalog = {"messages": messages, "channels": CHANNELS}
    return campaign(**budget(amount, "stop_offers"), catalog=catalog, policy={"kind": "uniform"})


def standing(rig: Rig, of: str = "camp") -> BudgetReport:
    found = rig.engine.budget(of)
    assert found is not None
    return found


def reached(rig: Rig, of: str = "camp") -> list[str | None]:
    """What of the budget was reached, decision by decision, as it is logged."""
    return [orjson.loads(row.history).get("contact", {}).get("budget_reached") for row in rig.log(of)]


def drain(rig: Rig) -> None:
    """Until what was to be done soon is done."""
    rig.store.gather(lambda _, items: items, [None]).result()


def test_a_budget_pays_for_so_many_touches_and_then_the_campaign_is_paused_by_the_service() -> None:
    with Rig(plain(1.1)) as rig:
        reasons = [rig.ask(f"c{i}").reason for i in range(5)]
        assert reasons == [None, None, None, None, "budget_reached"]
        drain(rig)
        assert rig.engine.campaign("camp").state == "paused"
        entry = rig.engine.changes(1)[0]
        assert (entry.action, entry.object, entry.actor) == ("paused", "campaign:camp", "service")
        assert rig.ask("c9").reason == "campaign_not_active"
        assert standing(rig).reserved + standing(rig).spent == 1.0
        assert standing(rig).left == pytest.approx(0.1)
        assert reached(rig) == [None, None, None, None, "sends", None]
        assert all(check.holds for row in rig.log() for check in rig.engine.verify(row.decision_id))


def test_a_batch_at_the_edge_is_decided_in_order_each_seeing_what_those_before_have_left() -> None:
    with Rig(plain(1.0)) as rig:
        answers = rig.engine.decide([rig.request(f"c{i}") for i in range(7)])
        assert [answer.reason for answer in answers] == [None] * 4 + ["budget_reached"] * 3  # type: ignore[union-attr]
        assert standing(rig).reserved == 1.0


def test_a_run_spends_exactly_what_there_is() -> None:
    with Rig(plain(10.0)) as rig:
        rig.customers(60)
        # Whether the run ends before the campaign is paused depends on who is faster.
        with suppress(Conflict):
            rig.engine.run("camp")
        sent = [row for row in rig.log() if row.send_us is not None]
        assert len(sent) == 40
        assert {row.reason for row in rig.log()} == {None, "budget_reached"}
        drain(rig)
        assert rig.engine.campaign("camp").state == "paused"


def test_with_stop_offers_those_go_first_then_what_costs_anything_and_what_costs_nothing_stays() -> None:
    with Rig(tempting(6.0)) as rig:
        arms = [rig.ask(f"c{i}").arm for i in range(120)]
        said = reached(rig)
        assert said == sorted(said, key=[None, "offers", "costs"].index)
        assert {None, "offers", "costs"} == set(said)
        by_level: dict[str | None, set[str]] = {}
        for level, arm in zip(said, arms, strict=True):
            assert arm is not None
            by_level.setdefault(level, set()).add(arm.id)
        assert by_level[None] & {"offer/email", "offer/push"}
        assert by_level["offers"] <= {"plain/email", "plain/push", "no_send"}
        assert by_level["costs"] == {"plain/push", "no_send"}
        assert rig.engine.campaign("camp").state == "active"
        assert 0 <= standing(rig).left < 0.25
        assert all(check.holds for row in rig.log() for check in rig.engine.verify(row.decision_id))
