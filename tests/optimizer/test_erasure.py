"""Who a customer was is gone; what was decided, and that an address wants no message, is not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from optimizer.decisions import Decision, DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.errors import Conflict, NotFound
from optimizer.store import Store
from optimizer.store.customers import Customer
from optimizer.suppressing import Whom
from optimizer.suppression import Cause, address_digest, customer_digest
from tests import databases
from tests.optimizer.engine_example import ATTRIBUTES, SECRET, START, Rig, campaign, only

if TYPE_CHECKING:
    from pathlib import Path

    from optimizer.campaign import CampaignFile

pytestmark = pytest.mark.databases

ANA = Customer(
    "ana", {"plan": "gold", "age": 41}, "Europe/Paris", {"email": "Ana@Example.com", "push": "token-1"}, {"email": True}
)


def later() -> CampaignFile:
    """A campaign whose touches wait for their slot."""
    timing = {"horizon": "48h", "slots": [{"id": "morning", "days": "all", "from": "09:00", "to": "12:00"}]}
    return only("email", catalog={**only("email").model_dump(by_alias=True)["catalog"], "timing": timing})


def everything(rig: Rig) -> str:
    """All that the database holds, as one text."""
    return repr(rig.dump(*rig.tables()))


def suppressed(rig: Rig) -> dict[tuple[str, str], str]:
    """By channel and digest: the cause."""
    return {(row[1], row[2]): row[3] for row in rig.dump("suppressions")["suppressions"]}


def digest(rig: Rig, address: str) -> str:
    return address_digest(rig.engine.runtime.secret, address)


def test_nothing_that_names_the_customer_stays_anywhere() -> None:
    with Rig(campaign()) as rig:
        rig.engine.put_customers([ANA])
        made = rig.ask("ana")
        rig.tell("e1", "clicked", decision_id=made.decision_id)
        rig.tell("e2", "purchased", customer_id="ana", fields={"amount": 3})
        rig.engine.run("camp", "monday")
        rig.settle()
        assert "ana" in everything(rig)
        rig.engine.erase_customer("ana")
        left = everything(rig).casefold()
        for word in ("'ana'", '"ana"', "ana@example.com", "token-1"):
            assert word not in left
        with pytest.raises(NotFound):
            rig.engine.customer("ana")


def test_an_unknown_customer_cannot_be_erased_nor_one_twice() -> None:
    with Rig(campaign()) as rig:
        with pytest.raises(NotFound, match="no customer 'ana'"):
            rig.engine.erase_customer("ana")
        rig.engine.put_customers([ANA])
        rig.engine.erase_customer("ana")
        with pytest.raises(NotFound, match="no customer 'ana'"):
            rig.engine.erase_customer("ana")


def test_what_was_decided_stays_usable_and_is_explained_verified_rewarded_and_learned() -> None:
    with Rig(campaign()) as rig:
        rig.engine.put_customers([ANA, *(Customer(f"c{i}", {"plan": "free"}) for i in range(8))])
        made = [rig.ask(each) for each in ("ana", *(f"c{i}" for i in range(8)))]
        before = rig.row(made[0].decision_id)
        rig.engine.erase_customer("ana")
        assert rig.row(made[0].decision_id) == before
        rig.tell("late", "clicked", decision_id=made[0].decision_id, after=timedelta(hours=30))
        rig.settle()
        reward = rig.reward(made[0].decision_id)
        assert reward.learn
        assert orjson.loads(reward.parts)["parts"][0]["standing"] == "counted", "an event that names the decision"
        explained = rig.engine.explain(made[0].decision_id)
        assert explained.decision.customer_id == ""
        assert explained.closed
        assert all(check.holds for check in rig.engine.verify(made[0].decision_id))
        assert rig.engine.verify_campaign("camp") == (9, [])
        snapshot = rig.snapshot()
        assert snapshot is not None
        assert snapshot.learned == 9


def test_an_event_that_names_the_customer_afterwards_is_of_somebody_new() -> None:
    with Rig(campaign()) as rig:
        rig.engine.put_customers([ANA])
        made = rig.ask("ana")
        rig.engine.erase_customer("ana")
        rig.tell("e1", "clicked", customer_id="ana")
        assert rig.engine.subjects(["ana"])["ana"] != rig.row(made.decision_id).subject_id
        rig.settle()
        assert orjson.loads(rig.reward(made.decision_id).parts)["parts"] == []


def test_a_decision_does_not_tell_whoever_guesses_ids_whose_it_was() -> None:
    with Rig(campaign()) as rig:
        rig.engine.put_customers([ANA])
        mine, his = rig.ask("ana", "r1", city="Lima"), rig.ask("bob", "r2", city="Lima")
        assert rig.row(mine.decision_id).request_hash == rig.row(his.decision_id).request_hash
        assert rig.ask("ana", "r1", city="Lima").replayed
        rig.engine.erase_customer("ana")
        with pytest.raises(Conflict, match="another question"):
            rig.ask("ana", "r1", city="Lima")


@pytest.mark.parametrize("channel", ["email", "push"])
def test_a_touch_that_waits_is_taken_back_whoever_was_to_send_it(channel: str) -> None:
    with Rig(only(channel)) as rig:
        rig.engine.put_customers([ANA])
        made = rig.ask("ana")
        rig.engine.erase_customer("ana")
        rig.jobs()
        assert rig.states(made.decision_id) == ["planned", "cancelled"]
        assert rig.reasons(made.decision_id)[-1] == "customer_erased"
        assert not rig.sender.sent


def test_what_was_sent_already_stays_sent() -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([ANA])
        made = rig.ask("ana")
        rig.jobs()
        rig.engine.erase_customer("ana")
        assert rig.touch(made.decision_id).state == "sent"


def test_a_touch_whose_person_is_missing_holds_up_no_other_and_is_cancelled() -> None:
    with Rig(only("email")) as rig:
        ids = rig.customers(3)
        made = [rig.ask(each).decision_id for each in ids]
        rig.execute("delete from customers where customer_id = 'c001'")
        rig.jobs()
        assert [touch.customer_id for touch in rig.sender.sent] == ["c000", "c002"]
        assert [rig.touch(each).state for each in made] == ["sent", "cancelled", "sent"]
        assert rig.reasons(made[1])[-1] == "customer_erased"


def test_a_run_goes_on_behind_a_customer_who_was_erased_while_it_stood_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.runs.PAGE", 2)
    with Rig(campaign()) as rig:
        ids = rig.customers(6)
        rig.engine.run("camp", "monday")
        rig.execute("update runs set state = 'running', cursor = 'c003'")
        rig.engine.erase_customer("c003")
        (run,) = rig.engine.runs("camp")
        assert run.cursor == "c002"
        rig.jobs()
        (run,) = rig.engine.runs("camp")
        assert (run.state, run.decided) == ("finished", len(ids)), "nobody was decided twice"


REACTIONS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("unsubscribed", {}, {"email": Cause.UNSUBSCRIBED}),
    ("complained", {}, {"email": Cause.COMPLAINED}),
    ("bounced", {"permanent": True}, {"email": Cause.BOUNCED}),
    ("bounced", {}, {}),
    ("bounced", {"permanent": "yes"}, {}),
    ("opened", {}, {}),
]


@pytest.mark.parametrize(("name", "fields", "causes"), REACTIONS)
@pytest.mark.parametrize("by_request", [False, True])
def test_who_reacted_so_to_a_message_is_not_reached_again_on_its_channel(
    name: str, fields: dict[str, Any], causes: dict[str, str], *, by_request: bool
) -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([ANA])
        made = rig.ask("ana", "r1")
        rig.jobs()
        naming: dict[str, Any] = {"decision_id": made.decision_id}
        if by_request:
            naming = {"campaign_id": "camp", "request_id": "r1"}
        rig.tell("e1", name, fields=fields, **naming)
        rig.engine.erase_customer("ana")
        email = digest(rig, "ana@example.com")
        assert suppressed(rig) == {(channel, email): cause for channel, cause in causes.items()}


@pytest.mark.parametrize(
    ("fields", "channels"),
    [({}, {"email", "push"}), ({"channel": "push"}, {"push"}), ({"channel": "fax"}, set())],
)
def test_who_unsubscribed_without_naming_a_message_is_not_reached_on_the_channel_that_was_meant(
    fields: dict[str, str], channels: set[str]
) -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([ANA])
        rig.tell("e1", "unsubscribed", customer_id="ana", fields=fields)
        rig.engine.erase_customer("ana")
        addresses = {"email": digest(rig, "ana@example.com"), "push": digest(rig, "token-1")}
        assert suppressed(rig) == {(each, addresses[each]): Cause.UNSUBSCRIBED for each in channels}


@pytest.mark.parametrize(
    ("consents", "channels"),
    [
        ({"email": False}, {"email"}),
        ({"email_marketing": False}, {"email"}),
        ({"email_marketing": True, "push": True}, set()),
        ({"emails": False, "sms": False}, set()),
        ({"email_marketing": False, "push_marketing": False}, {"email", "push"}),
    ],
)
def test_a_consent_that_was_refused_outlives_the_customer(consents: dict[str, bool], channels: set[str]) -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([Customer("ana", {}, None, ANA.addresses, consents)])
        rig.engine.erase_customer("ana")
        addresses = {"email": "ana@example.com", "push": "token-1"}
        expected = {(channel, digest(rig, addresses[channel])): Cause.NO_CONSENT for channel in channels}
        assert suppressed(rig) == expected


def test_who_comes_back_with_a_suppressed_address_is_not_sent_to() -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([Customer("ana", {}, None, {"email": "Ana@Example.com"}, {"email": False})])
        rig.engine.erase_customer("ana")
        rig.engine.put_customers(
            [
                Customer("ana-again", {}, None, {"email": " ana@example.com"}, {"email": True}),
                Customer("bob", {}, None, {"email": "bob@example.com"}),
            ]
        )
        again, bob = rig.ask("ana-again"), rig.ask("bob")
        rig.jobs()
        assert [touch.customer_id for touch in rig.sender.sent] == ["bob"]
        assert (again.arm, again.reason) == (None, "suppressed")
        assert rig.touch(bob.decision_id).state == "sent"
        rig.engine.erase_customer("ana-again")
        assert list(suppressed(rig).values()) == [Cause.NO_CONSENT], "and stays suppressed, for the first cause"


def test_a_customer_who_was_suppressed_by_id_leaves_the_addresses_suppressed_and_the_id_free() -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([ANA])
        rig.engine.suppress([(Whom("ana", channel="email"), Cause.REQUESTED), (Whom("bob"), Cause.REQUESTED)])
        rig.engine.erase_customer("ana")
        assert suppressed(rig) == {
            ("email", digest(rig, "ana@example.com")): Cause.REQUESTED,
            ("", customer_digest(SECRET, "bob")): Cause.REQUESTED,
        }
        assert rig.engine.suppressions(Whom("ana")) == []
        rig.engine.put_customers([Customer("ana", {}, None, {"email": "another@example.com"})])
        assert rig.ask("ana").reason is None, "somebody new"


def test_the_address_that_came_after_the_refusal_stays_suppressed_for_the_same_cause() -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([ANA])
        rig.tell("e1", "unsubscribed", customer_id="ana", fields={"channel": "email"})
        rig.engine.put_customers([replace(ANA, addresses={"email": "ana@example.org"})])
        rig.pass_by(hours=1)
        rig.tell("e2", "bounced", customer_id="ana", fields={"channel": "email", "permanent": True})
        rig.engine.erase_customer("ana")
        expected = {("email", digest(rig, f"ana@example.{end}")): Cause.UNSUBSCRIBED for end in ("com", "org")}
        assert suppressed(rig) == expected


def test_an_address_that_is_lifted_on_one_channel_is_suppressed_on_the_others_at_the_erasure() -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([Customer("ana", {}, None, {"sms": "+52 55 1234", "chat": "+52551234"})])
        whom = Whom(address="+52551234", channel="sms"), Whom("ana")
        rig.engine.suppress([(each, Cause.REQUESTED) for each in whom])
        rig.pass_by(hours=1)
        assert rig.engine.lift(Whom(address="+52551234")) == []
        rig.engine.erase_customer("ana")
        assert suppressed(rig) == {("chat", digest(rig, "+52551234")): Cause.REQUESTED}


def test_an_event_from_before_refusals_acted_is_kept_at_the_erasure() -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([ANA])
        made = rig.ask("ana")
        rig.tell("e1", "complained", decision_id=made.decision_id)
        rig.execute("delete from suppressions")
        rig.engine.erase_customer("ana")
        assert suppressed(rig) == {("email", digest(rig, "ana@example.com")): Cause.COMPLAINED}


@pytest.mark.parametrize("whom", [Whom("ana"), Whom("ana", channel="email"), Whom(address="ana@example.com")])
def test_what_was_lifted_does_not_come_back_with_the_erasure_and_what_was_refused_since_does(whom: Whom) -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([ANA])
        rig.tell("e1", "unsubscribed", customer_id="ana", fields={"channel": "email"})
        rig.pass_by(hours=1)
        assert rig.engine.lift(whom) == []
        rig.pass_by(hours=1)
        rig.tell("e2", "complained", customer_id="ana", fields={"channel": "push"})
        rig.engine.erase_customer("ana")
        assert suppressed(rig) == {("push", digest(rig, "token-1")): Cause.COMPLAINED}


def test_an_address_is_suppressed_on_its_own_channel_alone() -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([Customer("ana", {}, None, {"sms": "+52 55 1234"}, {"sms": False})])
        rig.engine.erase_customer("ana")
        rig.engine.put_customers([Customer("ana", {}, None, {"sms": "+52551234", "email": "ana@example.com"})])
        rig.ask("ana")
        rig.jobs()
        assert [touch.customer_id for touch in rig.sender.sent] == ["ana"]


def test_whoever_is_erased_while_others_decide_for_them_leaves_no_touch_that_waits(tmp_path: Path) -> None:
    url = databases.fresh_url(tmp_path)
    with Rig(only("email"), url=url) as rig, Store(url) as store:
        engines = rig.engine, Engine(store, ATTRIBUTES, Routes.to(rig.sender), clock=rig.clock, secret=SECRET)

        def ask(worker: int) -> int:
            questions = [DecisionRequest("camp", f"c{i % 2}", f"{worker}-{i}") for i in range(40)]
            return sum(isinstance(engines[worker].decide([each])[0], Decision) for each in questions)

        def erase(worker: int) -> int:
            erased = 0
            for i in range(40):
                with suppress(NotFound):
                    engines[worker].erase_customer(f"c{i % 2}")
                    erased += 1
            return erased

        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask, worker) for worker in (0, 1)]
            erased = [pool.submit(erase, worker) for worker in (0, 1)]
            assert [each.result() for each in asked] == [40, 40]
            count = sum(each.result() for each in erased)
        tables = rig.dump("touches", "customers", "audit")
        known = {row[2] for row in tables["customers"]}
        waiting = {row[3] for row in tables["touches"] if row[7] == "planned"}
        assert waiting <= known
        assert count == sum(row[4] == "erased" for row in tables["audit"])
        assert {row[7] for row in tables["touches"]} <= {"planned", "cancelled"}
        assert len(tables["touches"]) == 80


def test_a_decision_made_before_and_due_after_the_erasure_of_another_is_not_touched() -> None:
    with Rig(later()) as rig:
        rig.engine.put_customers([ANA, Customer("bob", {}, "Europe/Paris", {"email": "bob@example.com"})])
        ana, bob = rig.ask("ana"), rig.ask("bob")
        rig.engine.erase_customer("ana")
        assert bob.send_at is not None
        assert bob.send_at > START
        rig.clock.advance_to(bob.send_at)
        rig.jobs()
        assert [touch.decision_id for touch in rig.sender.sent] == [bob.decision_id]
        assert rig.touch(ana.decision_id).state == "cancelled"
