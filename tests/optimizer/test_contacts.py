"""What contact rules know of customers is read where a rule asks for it, logged with the decision, and up to date."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest
from sqlalchemy import event

from optimizer import runs
from optimizer.bound import BoundEngine
from optimizer.contacts import gather
from optimizer.decisions import Decision, DecisionRequest, Decisions, Prepared
from optimizer.dispatch.routes import Route, Routes
from optimizer.engine import Engine
from optimizer.reasons import Reason
from optimizer.recording import EventIn
from optimizer.store import campaigns, customers
from optimizer.store.customers import Customer
from optimizer.store.suppressions import SuppressionRow, insert_suppressions
from optimizer.suppression import Cause, address_digest
from tests import databases
from tests.optimizer.engine_example import ATTRIBUTES, SECRET, START, Notes, Rig, campaign, message, only

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from optimizer.campaign import CampaignFile

pytestmark = pytest.mark.databases

WEEK: Final[dict[str, Any]] = {"caps": [{"count": 1, "window": {"rolling": "7d"}}]}
AT: Final = START.timestamp() * 1e6
DAY_US: Final = 24 * 3_600_000_000


def pushed(name: str = "camp", **policy: Any) -> CampaignFile:  # noqa: ANN401 - any rule
    """One arm, on a channel of the caller, and sending nothing."""
    catalog = {"messages": [message("hello", "push")], "channels": [{"id": "push", "cost": 0, "dispatch": "caller"}]}
    return campaign(name, policy={"kind": "uniform"}, contact_policy=policy or None, catalog=catalog)


def known(rig: Rig, decision: Decision) -> dict[str, Any]:
    """The contact facts that are logged with a decision."""
    facts: dict[str, Any] = orjson.loads(rig.row(decision.decision_id).history).get("contact", {})
    return facts


def sending(rig: Rig, *, of: str = "camp", customer: str = "c000") -> Decision:
    """The first decision that sends: the draw may be to send nothing."""
    return next(found for _ in range(50) if (found := rig.ask(customer, of=of)).send_at is not None)


def test_touches_of_every_campaign_are_known_where_a_rule_counts_them() -> None:
    with Rig(only("push", "other"), pushed(**WEEK)) as rig:
        rig.customers(2)
        made = rig.ask(of="other")
        again = rig.ask()
        assert again.reason is Reason.CAP_REACHED
        assert known(rig, again) == {"touches": [[int(AT), "planned", "other", "push", "hello", None]]}
        assert all(check.holds for check in rig.engine.verify(again.decision_id))
        rig.tell("e", "shown", after=timedelta(hours=2), decision_id=made.decision_id)
        rig.pass_by(days=7, hours=1)
        still = rig.ask()
        assert still.reason is Reason.CAP_REACHED, "it counts from when it was shown"
        assert known(rig, still) == {"touches": [[int(AT) + 2 * 3_600_000_000, "sent", "other", "push", "hello", None]]}
        rig.pass_by(hours=1)
        assert known(rig, rig.ask()) == {}


def test_a_touch_that_was_given_up_frees_its_place_and_one_without_counts_takes_none() -> None:
    free = only("push", "free", settings={"category": "transactional"})
    with Rig(free, only("push", "other"), pushed(**WEEK)) as rig:
        rig.ask(of="free")
        made = rig.ask(of="other")
        rig.engine.void([made.decision_id], "test")
        after = sending(rig)
        assert known(rig, after) == {"touches": [[int(AT), "cancelled", "other", "push", "hello", None]]}
        assert rig.ask().reason is Reason.CAP_REACHED


def test_two_questions_of_one_batch_about_one_customer_see_each_other_in_any_campaign() -> None:
    with Rig(only("push", "other"), pushed(**WEEK), pushed("third", **WEEK)) as rig:
        asked = [DecisionRequest(name, "c", name) for name in ("other", "camp", "third")]
        first, *later = rig.engine.decide([*asked, DecisionRequest("other", "d", "d")])[:3]
        assert isinstance(first, Decision)
        assert first.send_at is not None
        assert [each.reason for each in later if isinstance(each, Decision)] == [Reason.CAP_REACHED] * 2


def test_consents_are_those_given_when_it_is_decided() -> None:
    catalog = {"messages": [message("hello", "push")], "channels": [
        {"id": "push", "cost": 0, "dispatch": "caller", "consent": "push_ok"}
    ]}  # fmt: skip
    with Rig(campaign(policy={"kind": "uniform"}, catalog=catalog)) as rig:
        rig.engine.put_customers([Customer("c000", {}, consents={"push_ok": True, "sms_ok": True})])
        assert known(rig, rig.ask()) == {"consents": ["push_ok"]}
        rig.engine.put_customers([Customer("c000", {}, consents={"push_ok": False})])
        refused = rig.ask()
        assert (refused.reason, known(rig, refused)) == (Reason.NO_CONSENT, {})
        assert rig.ask("stranger").reason is Reason.NO_CONSENT


class Addressing(Notes):
    """Reaches nobody without an address."""

    needs_address = True


def test_a_customer_without_an_address_is_not_sent_what_needs_one() -> None:
    with Rig(campaign()) as rig:
        routes = Routes(Route(rig.sender), {"email": Route(Addressing())})
        engine = Engine(rig.store, ATTRIBUTES, routes, clock=rig.clock, secret=SECRET)
        rig.engine = engine
        rig.customers(1)
        assert "barred" not in known(rig, rig.ask())
        nobody = rig.ask("stranger")
        assert known(rig, nobody) == {"barred": {"email": "no_address"}}
        removed = {arm.arm.channel: arm.reason for arm in engine.explain(nobody.decision_id).candidates}
        assert removed == {"email": Reason.NO_ADDRESS, "push": None, None: None}


def test_a_suppressed_address_bars_its_channel_and_no_other() -> None:
    with Rig(campaign()) as rig:
        rig.customers(2)
        row = SuppressionRow(
            "default", "email", address_digest(SECRET, "c000@example.com"), Cause.COMPLAINED, rig.now_us
        )
        rig.store.write(lambda connection: insert_suppressions(connection, [row]))
        assert known(rig, rig.ask("c000")) == {"barred": {"email": "suppressed"}}
        assert known(rig, rig.ask("c001")) == {}


BOUGHT: Final[dict[str, Any]] = {"cooldowns": [{"after": {"event": "bought"}, "for": "3d"}]}


def test_an_outcome_is_known_by_customer_decision_or_request_while_its_cooldown_lasts() -> None:
    with Rig(only("push", "other"), pushed(**BOUGHT)) as rig:
        sent = rig.ask("a", "ra", of="other")
        rig.ask("b", "rb", of="other")
        nothing = rig.ask("d", "rd")
        rig.engine.record(
            [
                EventIn("1", "bought", decision_id=sent.decision_id),
                EventIn("2", "bought", campaign_id="other", request_id="rb"),
                EventIn("3", "bought", customer_id="c", campaign_id="other"),
                EventIn("4", "bought", decision_id=nothing.decision_id),
                EventIn("5", "looked", customer_id="e"),
                EventIn("6", "bought", occurred_at=START - timedelta(days=3), customer_id="e"),
            ]
        )
        at, touched = int(AT), ["other", "push", "hello", None]
        expected = {
            "a": [[at, "bought", *touched]],
            "b": [[at, "bought", *touched]],
            "c": [[at, "bought", "other", None, None, None]],
            "d": [[at, "bought", "camp", *([*touched[1:]] if nothing.send_at else [None, None, None])]],
        }
        for customer, outcomes in expected.items():
            decision = rig.ask(customer)
            assert (decision.reason, known(rig, decision)) == (Reason.COOLDOWN, {"outcomes": outcomes})
            assert all(check.holds for check in rig.engine.verify(decision.decision_id))
        assert known(rig, rig.ask("e")) == {}
        rig.pass_by(days=3)
        assert known(rig, rig.ask("a")) == {}


def test_what_is_about_to_be_sent_is_not_in_its_own_way_and_one_customer_may_be_asked_for_twice() -> None:
    with Rig(only("push", "other"), pushed(**WEEK)) as rig:
        made = [rig.ask("c000", of="other"), rig.ask("c001", of="other")]

        def look(connection: Connection, without: Sequence[str]) -> list[dict[str, Any]]:
            people = customers.hold_customers(connection, "default", ["c000", "c001"])
            version = rig.engine.versions.current(connection, "camp")
            twice = [people["c000"], people["c001"], people["c000"]]
            return gather(connection, rig.engine.runtime, version, twice, rig.now_us, without=without)

        touch = {"touches": [[int(AT), "planned", "other", "push", "hello", None]]}
        assert rig.store.write(lambda c: look(c, [])) == [touch, touch, touch]
        assert rig.store.write(lambda c: look(c, [made[0].decision_id])) == [{}, touch, {}]


def test_a_campaign_without_rules_reads_nothing_more_than_whether_anybody_is_suppressed() -> None:
    said: list[str] = []
    with Rig(only("push", "free"), pushed("bound", min_gap="20h")) as rig:
        rig.customers(1)
        writing = rig.store._engines.write  # noqa: SLF001 - what goes to the database
        event.listen(writing, "before_cursor_execute", lambda *heard: said.append(heard[2]))
        counts = {}
        for name in ("free", "bound"):
            rig.ask(of=name)
            said.clear()
            rig.ask(of=name)
            counts[name] = [sum(part in sql for sql in said) for part in ("FROM suppressions", "touches.due_us >")]
        assert counts == {"free": [1, 0], "bound": [1, 1]}


def test_the_explanation_shows_what_contact_rules_knew() -> None:
    with Rig(only("push", "other"), pushed(**WEEK)) as rig:
        rig.ask(of="other")
        refused = rig.ask()
        assert rig.engine.explain(refused.decision_id).contact == known(rig, refused)


def test_who_may_see_some_campaigns_alone_is_told_when_others_sent_something_and_not_what() -> None:
    with Rig(only("push", "other"), pushed(**WEEK)) as rig:
        rig.ask(of="other")
        refused = rig.ask()
        bound = BoundEngine(rig.engine, frozenset({"camp"}))
        assert bound.explain(refused.decision_id).contact == {
            "touches": [[int(AT), "planned", None, "push", None, None]]
        }


# How a campaign stands does not change beneath a decision


def test_a_page_before_whose_commit_a_campaign_was_paused_or_loaded_is_decided_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "PAGE", 2)
    with Rig(campaign(), campaign("rival")) as rig:
        rig.customers(6)
        prepare, times = Decisions.prepare, list[str]()

        def slow(self: Decisions, connection: Connection, *given: Any, **more: Any) -> Prepared:  # noqa: ANN401
            prepared = prepare(self, connection, *given, **more)
            times.append("prepared")
            if len(times) == 2:  # by another process, if the database let it; here in the same transaction
                campaigns.change_state(connection, "default", "rival", "paused", at_us=rig.now_us, change_id="change")
            return prepared

        monkeypatch.setattr(Decisions, "prepare", slow)
        done = rig.engine.run("camp", "spring")
        assert (done.state, done.decided, len(times)) == ("finished", 6, 5)
        assert len(rig.log()) == 6


def test_a_pause_waits_for_who_decides_and_lets_nobody_else_begin() -> None:
    if databases.kind() == "sqlite":
        pytest.skip("it takes one writer at a time")
    with Rig(campaign()) as rig:
        rig.customers(1)
        deciding, go_on, order = threading.Event(), threading.Event(), list[str]()

        def decide(connection: Connection) -> None:
            campaigns.keep_campaigns(connection, "default", ["camp"])
            deciding.set()
            go_on.wait(5)
            order.append("decided")

        def pause() -> None:
            rig.engine.pause("camp")
            order.append("paused")

        def ask() -> None:
            order.append(str(rig.ask().reason))

        acts = [threading.Thread(target=rig.store.write, args=(decide,))]
        acts[0].start()
        assert deciding.wait(5)
        for act in (pause, ask):
            acts.append(threading.Thread(target=act))
            acts[-1].start()
            while _waiting(rig) < len(acts) - 1:
                pass
        go_on.set()
        for each in acts:
            each.join()
        assert order == ["decided", "paused", "campaign_not_active"]


def _waiting(rig: Rig) -> int:
    """How many of the database's transactions wait for a lock."""
    sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    n: int = rig.store.read(lambda c: c.exec_driver_sql(sql).scalar_one())
    return n
