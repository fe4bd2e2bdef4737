"""Whoever asks gets everything that is held about them, and nothing of anybody else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from optimizer import disclosure
from optimizer.errors import NotFound
from optimizer.store.customers import Customer
from optimizer.store.suppressions import SuppressionRow, insert_suppressions
from optimizer.suppression import address_digest
from tests.optimizer.engine_example import SECRET, Rig, campaign, only

pytestmark = pytest.mark.databases

ANA = Customer("ana", {"plan": "gold"}, "Europe/Paris", {"email": "ana@example.com"}, {"email": True})


def test_everything_is_there_and_nothing_twice() -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([ANA, Customer("bob", addresses={"email": "bob@example.com"})], by="key:one")
        mine, his = rig.ask("ana", "r1"), rig.ask("bob", "r2")
        rig.jobs()
        rig.tell("by-decision", "opened", decision_id=mine.decision_id)
        rig.tell("by-request", "clicked", campaign_id="camp", request_id="r1")
        rig.tell("by-customer", "purchased", customer_id="ana", fields={"amount": 3})
        rig.tell("by-both", "delivered", customer_id="ana", decision_id=mine.decision_id)
        rig.tell("of-nothing", "opened", customer_id="ana", decision_id="unknown")
        rig.tell("bobs", "clicked", decision_id=his.decision_id)
        rig.tell("bobs too", "clicked", customer_id="bob")
        row = SuppressionRow("default", "email", address_digest(SECRET, "ana@example.com"), "complained", rig.now_us)
        rig.store.write(lambda c: insert_suppressions(c, [row]))
        rig.settle()
        held = rig.engine.disclose("ana")
        assert held.customer == rig.engine.customer("ana")
        assert held.ledger == rig.ledger("ana") is not None
        assert [(bar.row, bar.of) for bar in held.suppressions] == [(row, "address")]
        (decision,) = held.decisions()
        assert decision.row == rig.row(mine.decision_id)
        assert decision.touch == rig.touch(mine.decision_id)
        assert [each.state for each in decision.transitions] == rig.states(mine.decision_id)
        assert decision.reward == rig.reward(mine.decision_id)
        assert [each.event_id for each in decision.events] == ["by-decision", "by-request"]
        assert [each.event_id for each in held.events()] == ["by-customer", "by-both", "of-nothing"]
        assert [(each.actor, each.action) for each in held.changes()] == [("key:one", "stored")]


def test_a_long_history_comes_in_pages_whole_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disclosure, "PAGE", 3)
    with Rig(campaign(), campaign("other")) as rig:
        made = []
        for i in range(8):
            rig.engine.put_customers([Customer("ana", {"age": i})])
            made.append(rig.ask("ana", of="camp" if i % 2 else "other").decision_id)
            rig.tell(f"e{i}", "clicked", customer_id="ana")
            rig.tell(f"d{i}", "clicked", decision_id=made[-1])
            rig.pass_by(minutes=1)
        held = rig.engine.disclose("ana")
        found = list(held.decisions())
        assert [each.row.decision_id for each in found] == made
        assert [[event.event_id for event in each.events] for each in found] == [[f"d{i}"] for i in range(8)]
        assert [each.event_id for each in held.events()] == [f"e{i}" for i in range(8)]
        times = [each.at_us for each in held.changes()]
        assert len(times) == 8
        assert times == sorted(times, reverse=True)


def test_of_a_customer_who_was_only_named_there_is_what_was_told() -> None:
    with Rig(campaign()) as rig:
        rig.tell("e1", "clicked", customer_id="ana", after=timedelta(0))
        held = rig.engine.disclose("ana")
        assert (held.customer.attributes, held.ledger, held.suppressions) == ("{}", None, [])
        assert (list(held.decisions()), list(held.changes())) == ([], [])
        assert [each.event_id for each in held.events()] == ["e1"]


def test_of_an_unknown_or_erased_customer_there_is_nothing() -> None:
    with Rig(campaign()) as rig:
        with pytest.raises(NotFound):
            rig.engine.disclose("ana")
        rig.engine.put_customers([ANA])
        rig.engine.erase_customer("ana")
        with pytest.raises(NotFound):
            rig.engine.disclose("ana")
