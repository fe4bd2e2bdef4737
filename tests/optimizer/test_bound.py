from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from optimizer.bound import BoundEngine
from optimizer.decisions import Decision, DecisionRequest
from optimizer.engine import Engine
from optimizer.errors import InvalidInput, NotFound, OptimizerError
from optimizer.recording import EventIn, Receipt
from tests.optimizer.engine_example import Rig, only

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.databases

REFUSED_BY_PATH = {
    # /v1/campaigns/{id}
    "load_campaign", "pause", "resume", "rejoin", "campaign", "run", "runs", "removals", "reconcile", "verify_campaign",
    "send_tests", "budget",
    "put_customers", "customer", "subjects", "disclose", "erase_customer",  # /v1/customers
    "suppress", "lift", "suppressions",  # /v1/suppressions
    "changes",  # /v1/audit
}  # fmt: skip
"""What the doors keep from whoever is bound, by the path."""

THE_SERVICES_OWN = {
    "at", "of_tenant", "jobs", "refreshing", "next_due_us", "refresh", "stop", "close", "void", "verify",
    "decide", "record", "unsubscribe",
}  # fmt: skip
"""What no route calls, or what goes through another method."""


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(only("push", "mine"), only("push", "theirs")) as made:
        yield made


@pytest.fixture
def bound(rig: Rig) -> BoundEngine:
    return BoundEngine(rig.engine, frozenset({"mine"}))


def kind(found: object) -> object:
    return (type(found), found.message) if isinstance(found, OptimizerError) else type(found)


def decided(engine: Engine, campaign_id: str, request_id: str = "r") -> Decision:
    [made] = engine.decide([DecisionRequest(campaign_id, "c", request_id)])
    assert isinstance(made, Decision)
    return made


def test_only_its_campaigns_are_shown(bound: BoundEngine) -> None:
    assert [report.campaign_id for report in bound.campaigns()] == ["mine"]


def test_only_its_campaigns_decide_and_the_others_do_not_exist(bound: BoundEngine) -> None:
    asked = [DecisionRequest(name, "c", f"r{i}") for i, name in enumerate(["theirs", "mine", "none", "mine"])]
    answers = bound.decide(asked)
    assert [kind(answer) for answer in answers] == [
        (NotFound, "there is no campaign 'theirs': load its file first"),
        Decision,
        (NotFound, "there is no campaign 'none': load its file first"),
        Decision,
    ]
    assert [answer.request_id for answer in answers if isinstance(answer, Decision)] == ["r1", "r3"]


def test_what_is_said_of_anothers_campaign_is_what_is_said_of_none(rig: Rig, bound: BoundEngine) -> None:
    [unknown] = rig.engine.decide([DecisionRequest("none", "c", "r")])
    [anothers] = bound.decide([DecisionRequest("theirs", "c", "r")])
    assert str(unknown).replace("none", "theirs") == str(anothers)


def test_only_its_decisions_are_shown(rig: Rig, bound: BoundEngine) -> None:
    mine, theirs = decided(rig.engine, "mine"), decided(rig.engine, "theirs")
    assert bound.decision(mine.decision_id) == rig.engine.decision(mine.decision_id)
    assert bound.explain(mine.decision_id).decision.decision_id == mine.decision_id
    for look in (bound.decision, bound.explain):
        with pytest.raises(NotFound, match=f"there is no decision '{theirs.decision_id}'"):
            look(theirs.decision_id)


def test_only_its_events_are_taken(rig: Rig, bound: BoundEngine) -> None:
    mine, theirs = decided(rig.engine, "mine"), decided(rig.engine, "theirs")
    events = [
        EventIn("e1", "clicked", decision_id=mine.decision_id),
        EventIn("e2", "clicked", decision_id=theirs.decision_id),
        EventIn("e3", "clicked", decision_id="unknown"),
        EventIn("e4", "clicked", campaign_id="theirs", request_id="r"),
        EventIn("e5", "clicked", campaign_id="mine", request_id="later"),
        EventIn("e6", "clicked", customer_id="c"),
        EventIn("e7", "clicked", customer_id="c", campaign_id="mine"),
        EventIn("e8", "clicked", decision_id=mine.decision_id, campaign_id="theirs"),
    ]
    found = [kind(receipt) for receipt in bound.receive(events)]
    assert [each if each is Receipt else each[0] for each in found] == [  # type: ignore[index]
        Receipt, NotFound, NotFound, NotFound, Receipt, InvalidInput, Receipt, NotFound,
    ]  # fmt: skip
    assert [receipt.status for receipt in rig.engine.record([events[1]])] == ["accepted"], "it was not stored before"


def test_nothing_at_all_of_others_is_refused_without_a_query(bound: BoundEngine) -> None:
    assert bound.receive([]) == []
    assert [kind(each)[0] for each in bound.receive([EventIn("e", "clicked", customer_id="c")])] == [InvalidInput]  # type: ignore[index]


def test_every_method_of_an_engine_is_bound_or_kept_from_the_bound() -> None:
    public = {name for name, _ in inspect.getmembers(Engine, inspect.isroutine) if not name.startswith("_")}
    overridden = {name for name in vars(BoundEngine) if not name.startswith("_")}
    assert public - overridden == REFUSED_BY_PATH | THE_SERVICES_OWN
