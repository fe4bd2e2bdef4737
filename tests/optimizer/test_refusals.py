"""Who says no is heard in the very transaction that stores it, on what is planned too, whoever planned it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.decisions import DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.recording import EventIn, Status
from optimizer.store import Store, events
from optimizer.store.customers import Customer
from optimizer.store.suppressions import insert_suppressions
from optimizer.suppressing import Whom
from optimizer.suppression import EVERY, Cause, address_digest, customer_digest
from tests import databases
from tests.optimizer.engine_example import ATTRIBUTES, SECRET, START, Rig, message, only

if TYPE_CHECKING:
    from pathlib import Path

    from optimizer.campaign import CampaignFile
    from optimizer.decisions import Decision

pytestmark = pytest.mark.databases

ANA = Customer("ana", {}, "Europe/Paris", {"email": "ana@example.com"}, {"mail": True, "token": True})
EMAIL = ("email", address_digest(SECRET, "ana@example.com"))
MAIL, PUSH, ALL = ((channel, customer_digest(SECRET, "ana")) for channel in ("email", "push", EVERY))
NO_MAIL = {EMAIL: "unsubscribed", MAIL: "unsubscribed"}


def waiting(channel: str, name: str, consent: str | None = None) -> CampaignFile:
    """A campaign with one arm, whose touches wait for their slot."""
    asked = {"consent": consent} if consent else {}
    dispatch = "service" if channel == "email" else "caller"
    catalog = {
        "messages": [message("hello", channel)],
        "channels": [{"id": channel, "cost": 0.25, "dispatch": dispatch} | asked],
        "timing": {"horizon": "48h", "slots": [{"id": "morning", "days": "all", "from": "09:00", "to": "12:00"}]},
        "no_send": False,
    }
    return only(channel, name, catalog=catalog)


def suppressed(rig: Rig) -> dict[tuple[str, str], str]:
    """By channel and digest: the cause."""
    return {(row[1], row[2]): row[3] for row in rig.dump("suppressions")["suppressions"]}


def planned(rig: Rig, *of: str) -> list[Decision]:
    made = [rig.ask("ana", f"r-{each}", of=each) for each in of]
    assert [rig.touch(each.decision_id).state for each in made] == ["planned"] * len(of)
    return made


NAMED: list[tuple[dict[str, Any], dict[str, Any], dict[tuple[str, str], str], list[str]]] = [
    # what the event names, its fields, what is suppressed, what becomes of the touches mail, also mail, push
    ({"request": True}, {}, NO_MAIL, ["cancelled", "cancelled", "planned"]),
    ({"decision": True}, {"channel": "push"}, NO_MAIL, ["cancelled", "cancelled", "planned"]),
    ({}, {"channel": "email"}, NO_MAIL, ["cancelled", "cancelled", "planned"]),
    ({}, {"channel": "push"}, {PUSH: "unsubscribed"}, ["planned", "planned", "cancelled"]),
    ({}, {}, {EMAIL: "unsubscribed", ALL: "unsubscribed"}, ["cancelled"] * 3),
    ({}, {"channel": ["email"]}, {EMAIL: "unsubscribed", ALL: "unsubscribed"}, ["cancelled"] * 3),
    ({"unknown": True}, {"channel": "email"}, NO_MAIL, ["cancelled", "cancelled", "planned"]),
]


@pytest.mark.parametrize(("names", "fields", "keys", "states"), NAMED)
def test_who_says_no_is_suppressed_with_the_address_on_the_channel_that_is_meant_and_what_is_planned_taken_back(
    names: dict[str, Any], fields: dict[str, Any], keys: dict[tuple[str, str], str], states: list[str]
) -> None:
    with Rig(waiting("email", "mail"), waiting("email", "more"), waiting("push", "token")) as rig:
        rig.engine.put_customers([ANA])
        made = planned(rig, "mail", "more", "token")
        naming: dict[str, Any] = {"customer_id": "ana"}
        if "request" in names:
            naming = {"campaign_id": "mail", "request_id": "r-mail"}
        elif "decision" in names:
            naming = {"decision_id": made[0].decision_id}
        elif "unknown" in names:
            naming["decision_id"] = "left the log long ago"
        rig.tell("e1", "unsubscribed", fields=fields, **naming)
        assert suppressed(rig) == keys
        assert [rig.touch(each.decision_id).state for each in made] == states
        reasons = {rig.reasons(each.decision_id)[-1] for each in made}
        assert reasons == {"suppressed", None} if "planned" in states else {"suppressed"}
        book = orjson.loads(rig.ledger("ana") or "null")
        assert sum(book[6].values()) == states.count("planned"), "what was taken back counts no longer"
        before = rig.dump("touches", "touch_transitions", "suppressions", "ledger")
        rig.pass_by(hours=1)
        assert rig.tell("e1", "unsubscribed", fields=fields, **naming) is Status.DUPLICATE
        rig.tell("e2", "unsubscribed", fields=fields, **naming)
        assert rig.dump(*before) == before, "said twice it is no more than once"


@pytest.mark.parametrize(
    ("name", "fields", "keys"),
    [
        ("complained", {}, {EMAIL: "complained", MAIL: "complained"}),
        ("bounced", {"permanent": True}, {EMAIL: "bounced"}),
        ("bounced", {}, {}),
        ("bounced", {"permanent": "yes"}, {}),
        ("opened", {}, {}),
    ],
)
def test_complaints_act_so_too_and_lasting_bounces_on_the_address_alone_and_nothing_else(
    name: str, fields: dict[str, Any], keys: dict[tuple[str, str], str]
) -> None:
    with Rig(waiting("email", "mail"), waiting("email", "more")) as rig:
        rig.engine.put_customers([ANA])
        mail, more = planned(rig, "mail", "more")
        rig.clock.advance_to(mail.send_at or START)
        rig.engine.pause("more")
        rig.jobs()
        rig.tell("e1", name, decision_id=mail.decision_id, fields=fields)
        assert suppressed(rig) == keys
        assert rig.touch(more.decision_id).state == ("cancelled" if keys else "planned")
        assert "cancelled" not in rig.states(mail.decision_id), "it went out"


def test_a_refusal_of_a_decision_that_is_not_known_yet_acts_when_it_appears() -> None:
    with Rig(waiting("email", "mail"), waiting("email", "more")) as rig:
        rig.engine.put_customers([ANA])
        (more,) = planned(rig, "more")
        assert rig.tell("e1", "unsubscribed", campaign_id="mail", request_id="later") is Status.PARKED
        assert rig.touch(more.decision_id).state == "planned"
        made = rig.ask("ana", "later", of="mail")
        assert suppressed(rig) == NO_MAIL
        assert rig.states(made.decision_id) == ["planned", "cancelled"]
        assert rig.states(more.decision_id) == ["planned", "cancelled"]
        assert not rig.store.read(lambda c: events.count_parked(c, "default"))


def test_a_refusal_that_comes_after_the_reward_is_closed_acts_all_the_same() -> None:
    with Rig(only("email"), waiting("email", "more")) as rig:
        rig.engine.put_customers([ANA])
        made = rig.ask("ana")
        rig.settle()
        (more,) = planned(rig, "more")
        late = rig.tell("e1", "unsubscribed", after=timedelta(hours=1), decision_id=made.decision_id)
        assert late is Status.LATE
        assert rig.states(more.decision_id) == ["planned", "cancelled"]
        said_us = rig.row(made.decision_id).decided_us + 3_600_000_000
        assert {row[4] for row in rig.dump("suppressions")["suppressions"]} == {said_us}, "since it was said"


def test_a_touch_without_a_channel_is_taken_back_where_every_channel_is_refused() -> None:
    plain = only("email", catalog={"messages": [{"id": "hello"}], "no_send": False})
    with Rig(plain) as rig:
        made = rig.ask("ana")
        rig.tell("e1", "unsubscribed", customer_id="ana", fields={"channel": "email"})
        assert rig.touch(made.decision_id).state == "planned"
        rig.tell("e2", "unsubscribed", customer_id="ana")
        assert rig.touch(made.decision_id).state == "cancelled"


def test_a_refusal_after_the_erasure_finds_nobody() -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([ANA])
        made = rig.ask("ana")
        rig.engine.erase_customer("ana")
        assert rig.tell("e1", "unsubscribed", decision_id=made.decision_id) is Status.ACCEPTED
        assert suppressed(rig) == {}


def test_who_is_suppressed_is_not_decided_for_until_it_is_lifted() -> None:
    with Rig(only("push")) as rig:
        rig.tell("e1", "unsubscribed", customer_id="ana", fields={"channel": "push"})
        assert (rig.ask("ana").reason, rig.ask("bob").reason) == ("suppressed", None)
        assert rig.engine.lift(Whom("ana", channel="email"))[0].row.cause == Cause.UNSUBSCRIBED, "the push stays"
        assert rig.engine.lift(Whom("ana", channel="push")) == []
        assert rig.ask("ana").reason is None


NEW = replace(ANA, addresses={"email": "ana@example.org"})


@pytest.mark.parametrize("name", ["unsubscribed", "complained"])
def test_a_new_address_does_not_bring_back_who_said_no_until_the_customer_is_lifted(name: str) -> None:
    with Rig(waiting("email", "mail")) as rig:
        rig.engine.put_customers([ANA])
        (made,) = planned(rig, "mail")
        rig.tell("e1", name, decision_id=made.decision_id)
        rig.engine.put_customers([NEW])
        assert rig.ask("ana", of="mail").reason == "suppressed"
        for each in (ANA, NEW):
            assert rig.engine.lift(Whom(address=each.addresses["email"])) == []
        assert rig.ask("ana", of="mail").reason == "suppressed", "an address is lifted alone"
        ((bar,), left) = rig.engine.suppressions(Whom("ana")), rig.engine.lift(Whom("ana"))
        assert ((bar.channel, bar.of, bar.row.cause), left) == (("email", "customer", name), [])
        assert rig.ask("ana", of="mail").reason is None


def test_before_the_send_too_who_said_no_is_known_with_another_address() -> None:
    with Rig(waiting("email", "mail")) as rig:
        rig.engine.put_customers([ANA])
        rig.tell("e1", "unsubscribed", customer_id="ana", fields={"channel": "email"})
        rows = [bar.row for bar in rig.engine.suppressions(Whom("ana"))]
        assert rig.engine.lift(Whom("ana")) == []
        rig.engine.put_customers([NEW])
        refused, allowed = (rig.ask("ana", of="mail") for _ in range(2))
        # As if the customer had said no at the very instant at which the sending asks.
        rig.store.write(lambda c: insert_suppressions(c, rows))
        rig.clock.advance_to(refused.send_at or START)
        rig.execute("update touches set due_us = due_us + 3600000000 where decision_id = ?", allowed.decision_id)
        rig.jobs()
        assert rig.states(refused.decision_id)[-1] == "cancelled"
        assert rig.reasons(refused.decision_id)[-1] == "suppressed"
        assert not rig.sender.sent
        assert rig.engine.lift(Whom("ana")) == []
        rig.pass_by(hours=1)
        rig.jobs()
        assert [touch.decision_id for touch in rig.sender.sent] == [allowed.decision_id]


def test_who_gets_another_address_after_a_bounce_is_reached_by_it() -> None:
    with Rig(only("email")) as rig:
        rig.engine.put_customers([ANA])
        rig.tell("e1", "bounced", customer_id="ana", fields={"channel": "email", "permanent": True})
        assert rig.ask("ana").reason == "suppressed"
        rig.engine.put_customers([NEW])
        assert rig.ask("ana").reason is None
        rig.engine.erase_customer("ana")
        assert suppressed(rig) == {EMAIL: "bounced"}, "the new address did not"


# Suppressing by hand


def test_what_is_planned_for_a_customer_who_is_suppressed_by_hand_is_taken_back() -> None:
    with Rig(waiting("email", "mail"), waiting("push", "token")) as rig:
        rig.engine.put_customers([ANA])
        mail, token = planned(rig, "mail", "token")
        whom = Whom("ana", channel="email")
        rig.engine.suppress([(whom, Cause.REQUESTED), (Whom("stranger"), Cause.REQUESTED)], by="key:k")
        assert [rig.touch(each.decision_id).state for each in (mail, token)] == ["cancelled", "planned"]
        assert suppressed(rig) == {
            ("email", customer_digest(SECRET, "ana")): "requested",
            (EVERY, customer_digest(SECRET, "stranger")): "requested",
        }
        rig.pass_by(hours=1)
        rig.engine.suppress([(whom, Cause.COMPLAINED)], by="key:k")
        rig.engine.lift(whom, by="key:k")
        rig.engine.lift(whom, by="key:k")
        told = [(row[4], orjson.loads(row[6])) for row in rig.dump("audit")["audit"] if row[3] == "key:k"]
        assert sorted(told, key=str) == [
            ("lifted", {"email": "requested"}),
            ("suppressed", {"": "requested"}),
            ("suppressed", {"email": "requested"}),
        ], "what changes nothing is not noted"


def test_with_a_customer_go_the_suppressions_of_the_addresses_that_are_stored() -> None:
    with Rig() as rig:
        rig.engine.put_customers([ANA])
        asked = [Whom("ana"), Whom(address="ANA@example.com"), Whom(address="ana@example.com", channel="email")]
        rig.engine.suppress([(each, Cause.REQUESTED) for each in asked])
        assert {(bar.channel, bar.of) for bar in rig.engine.suppressions(Whom("ana"))} == {
            (EVERY, "customer"),
            ("email", "address"),
        }
        assert len(rig.engine.lift(Whom("ana", channel="email"))) == 2
        assert rig.engine.lift(Whom("ana")) == []
        assert suppressed(rig) == {}


# Consents


@pytest.mark.parametrize("now", [{"mail": False}, {}])
def test_what_was_planned_by_a_consent_that_is_taken_away_is_cancelled_and_nothing_else(now: dict[str, bool]) -> None:
    with Rig(waiting("email", "mail", "mail"), waiting("email", "more"), waiting("push", "token", "token")) as rig:
        rig.engine.put_customers([ANA])
        made = planned(rig, "mail", "more", "token")
        rig.engine.load_campaign(waiting("email", "mail"))
        rig.engine.put_customers([Customer("ana", {}, "Europe/Paris", dict(ANA.addresses), now | {"token": True})])
        assert [rig.touch(each.decision_id).state for each in made] == ["cancelled", "planned", "planned"]
        assert rig.reasons(made[0].decision_id)[-1] == "no_consent"
        assert suppressed(rig) == {}, "the consent says it already"


def test_what_went_out_by_a_consent_stays_as_it_is() -> None:
    with Rig(waiting("email", "mail", "mail")) as rig:
        rig.engine.put_customers([ANA])
        (made,) = planned(rig, "mail")
        rig.clock.advance_to(made.send_at or START)
        rig.jobs()
        rig.engine.put_customers([Customer("ana")])
        assert rig.states(made.decision_id)[-1] == "sent"


def test_whoever_refuses_while_others_decide_for_them_is_left_no_touch_that_waits(tmp_path: Path) -> None:
    url = databases.fresh_url(tmp_path)
    with Rig(waiting("email", "mail"), url=url) as rig, Store(url) as store:
        routes = Routes.to(rig.sender)
        engines = rig.engine, Engine(store, ATTRIBUTES, routes, clock=rig.clock, secret=SECRET)
        people = [Customer(f"c{i}", {}, "Europe/Paris", {"email": f"c{i}@example.com"}) for i in range(8)]
        rig.engine.put_customers(people)

        def ask(worker: int) -> None:
            for i in range(40):
                engines[worker].decide([DecisionRequest("mail", f"c{i % 8}", f"{worker}-{i}")])

        def refuse(worker: int) -> None:
            for i in range(worker, 6, 2):
                engines[worker].record([EventIn(f"e{i}", "unsubscribed", customer_id=f"c{i}")])

        with ThreadPoolExecutor(4) as pool:
            done = [pool.submit(act, worker) for act in (ask, refuse) for worker in (0, 1)]
            for each in done:
                each.result()
        who = {row[2]: row[1] for row in rig.dump("customers")["customers"]}
        assert {who[row[3]] for row in rig.dump("touches")["touches"] if row[7] == "planned"} == {"c6", "c7"}


# In whatever order


NAMES = ["unsubscribed", "complained", "bounced", "shown", "opened", "contacted"]


@st.composite
def reports(draw: st.DrawFn) -> list[EventIn]:
    """Some reports about a customer who has a touch on each of three channels, none of which names a later one.

    All that say that a touch was shown say when alike: of two that differ the one that was received first stands.
    """
    found = []
    shown_at = START + timedelta(minutes=draw(st.integers(-600, 60)))
    for number, name in enumerate(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6))):
        at = shown_at if name == "shown" else START + timedelta(minutes=draw(st.integers(-600, 60)))
        if name == "contacted":
            fields = {"channel": draw(st.sampled_from(["email", "push"])), "counts": draw(st.booleans())}
            found.append(EventIn(f"e{number}", name, at, customer_id="ana", fields=fields))
            continue
        told = {"permanent": True} | draw(st.sampled_from([{}, {"channel": "push"}]))
        naming = draw(
            st.sampled_from(
                [{"customer_id": "ana"}, *({"campaign_id": each, "request_id": f"r-{each}"} for each in CAMPAIGNS)]
            )
        )
        found.append(EventIn(f"e{number}", name, at, fields=told, **naming))
    return found


CAMPAIGNS = ["mail", "more", "token"]


def outcome(told: list[list[EventIn]]) -> dict[str, Any]:
    """What is known after these reports, one transaction a list."""
    with Rig(waiting("email", "mail"), waiting("push", "more"), waiting("push", "token"), seed=3) as rig:
        rig.engine.put_customers([ANA])
        planned(rig, *CAMPAIGNS)
        rig.pass_by(hours=1)
        for each in told:
            rig.engine.record(each)
        touches = {(row[2], row[4], row[5], row[6], row[7], row[11], row[15]) for row in rig.dump("touches")["touches"]}
        book = orjson.loads(rig.ledger("ana") or "null")
        # The ids of what was reported are made as it comes.
        book = book and [*book[:3], *book[4:]]
        return {"touches": touches, "ledger": book, "suppressions": rig.dump("suppressions")["suppressions"]}


@given(told=reports(), data=st.data())
@settings(max_examples=15, deadline=None)
def test_the_same_reports_in_any_order_and_doubled_make_the_same(told: list[EventIn], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(told + told))
    cut = data.draw(st.integers(0, len(shuffled)))
    assert outcome([[each] for each in told]) == outcome([part for part in (shuffled[:cut], shuffled[cut:]) if part])
