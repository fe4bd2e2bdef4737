"""Touches that other systems made are known as soon as they are told, and nothing is sent or counted twice for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from optimizer.errors import InvalidInput
from optimizer.recording import EventIn, Status
from optimizer.tenants import Tenants
from optimizer.upkeep.retention import Retention
from tests.optimizer.engine_example import START, Rig, campaign, only
from tests.optimizer.upkeep.test_rebuild import projections, rebuild, wreck

pytestmark = pytest.mark.databases

HOUR = timedelta(hours=1)
HOUR_US = 3_600_000_000
FIELDS: dict[str, Any] = {"channel": "email", "message": "newsletter", "campaign": "camp", "offer": "off10"}


def seen(rig: Rig, customer: str = "ana") -> dict[str, Any]:
    """What a decision made now knows of earlier touches."""
    found: dict[str, Any] = orjson.loads(rig.row(rig.ask(customer).decision_id).history)
    return found


def external(rig: Rig) -> list[tuple[Any, ...]]:
    """Campaign, message, channel, state, sent_us, offer, counts and due_us of each touch of another system."""
    rows = sorted(row for row in rig.dump("touches")["touches"] if row[6] == "external")
    return [(*row[2:3], *row[4:6], row[7], row[11], row[14], bool(row[15]), row[16]) for row in rows]


def test_what_another_system_sent_is_a_touch_and_a_part_of_the_history() -> None:
    with Rig(campaign()) as rig:
        at_us = rig.now_us - HOUR_US
        assert rig.tell("e1", "contacted", after=-HOUR, customer_id="ana", fields=FIELDS) is Status.ACCEPTED
        assert external(rig) == [("camp", "newsletter", "email", "sent", at_us, "off10", True, at_us)]
        told = seen(rig)
        assert (told["touches_7d"], told["hours_since_last_touch"], told["last_message"]) == (1.0, 1.0, "newsletter")
        assert told["touches_in_campaign"] == 0, "no touch of ours"
        assert rig.engine.campaign("camp").touches.get("sent") is None
        assert rig.tell("e1", "contacted", customer_id="ana", fields=FIELDS) is Status.DUPLICATE
        assert len(external(rig)) == 1


def test_the_least_that_has_to_be_told_is_the_channel() -> None:
    with Rig(campaign()) as rig:
        rig.tell("e1", "contacted", customer_id="ana", fields={"channel": "store", "counts": False, "message": None})
        assert external(rig) == [("", "", "store", "sent", rig.now_us, None, False, rig.now_us)]
        told = seen(rig)
        assert (told["touches_7d"], told.get("last_message"), told["last_channel"]) == (1.0, None, "store")


def test_a_send_that_is_announced_is_no_history_before_its_time_and_keeps_none_from_being_known() -> None:
    with Rig(campaign()) as rig:
        rig.tell("e1", "contacted", after=-HOUR, customer_id="ana", fields={"channel": "sms"})
        rig.tell("e2", "contacted", after=timedelta(days=90), customer_id="ana", fields=FIELDS)
        told = seen(rig)
        assert (told["touches_7d"], told["last_channel"]) == (1.0, "sms")
        rig.clock.advance_to(START + timedelta(days=90))
        told = seen(rig)
        assert (told["touches_1d"], told["hours_since_last_touch"], told["last_channel"]) == (1.0, 0.0, "email")


def test_it_counts_for_limits_at_its_time_unless_it_says_that_it_does_not() -> None:
    policy = {"caps": [{"count": 1, "window": {"rolling": "7d"}, "scope": "all_campaigns"}]}
    with Rig(only("email", contact_policy=policy)) as rig:
        rig.tell("e1", "contacted", after=-HOUR, customer_id="ana", fields={"channel": "sms"})
        rig.tell("e2", "contacted", after=-HOUR, customer_id="bob", fields={"channel": "sms", "counts": False})
        rig.tell("e3", "contacted", after=5 * 24 * HOUR, customer_id="eve", fields={"channel": "sms"})
        rig.tell("e4", "contacted", after=8 * 24 * HOUR, customer_id="kim", fields={"channel": "sms"})
        reasons = [rig.ask(each).reason for each in ("ana", "bob", "eve", "kim")]
        assert reasons == ["cap_reached", None, "cap_reached", None]


def test_what_another_system_sent_is_not_taken_to_be_ignored() -> None:
    policy = {"cooldowns": [{"after": {"ignored_touches": 1, "within": "30d"}, "for": "60d"}]}
    with Rig(only("email", contact_policy=policy)) as rig:
        rig.tell("e1", "contacted", after=-240 * HOUR, customer_id="ana", fields={"channel": "email"})
        rig.ask("bob")
        rig.jobs()
        rig.pass_by(days=4)
        assert [rig.ask(each).reason for each in ("ana", "bob")] == [None, "cooldown"]


@pytest.mark.parametrize(
    ("names", "fields", "message"),
    [
        ({}, {}, "fields.channel: expected an id as in a catalog"),
        ({}, {"channel": "e-mail, sms"}, "fields.channel: expected an id"),
        ({}, {"channel": "email", "message": 7}, "fields.message: expected an id"),
        ({}, {"channel": "email", "offer": "a\n"}, "fields.offer: expected an id"),
        ({}, {"channel": "email", "counts": "no"}, "fields.counts: expected true or false"),
        ({}, {"channel": "email", "mesage": "a"}, "fields.mesage: not a field of contacted; did you mean message?"),
        ({"decision_id": "d"}, {"channel": "email"}, "it names a customer_id and nothing else"),
        ({"campaign_id": "camp"}, {"channel": "email"}, "it names a customer_id and nothing else"),
        ({"campaign_id": "c", "request_id": "r", "customer_id": None}, {"channel": "email"}, "and nothing else"),
    ],
)
def test_what_is_wrong_with_a_report_is_told(names: dict[str, Any], fields: dict[str, Any], message: str) -> None:
    with Rig() as rig, pytest.raises(InvalidInput, match=message.replace("?", r"\?")):
        rig.engine.record([EventIn("e1", "contacted", **{"customer_id": "ana"} | names, fields=fields)])


def test_an_event_that_was_called_so_before_it_meant_this_stays_what_it_was() -> None:
    with Rig(campaign()) as rig:
        rig.tell("e1", "visited", customer_id="ana", fields={"by": "phone"})
        rig.execute("update events set name = 'contacted'")
        before = projections(rig)
        rebuild(rig)
        assert projections(rig) == before
        assert external(rig) == []


def test_a_rebuild_makes_them_again_and_takes_away_what_nobody_reported() -> None:
    with Rig(only("push")) as rig:
        made = rig.ask("bob")
        rig.tell("e1", "contacted", customer_id="ana", fields=FIELDS)
        rig.tell("e2", "contacted", after=90 * 24 * HOUR, customer_id="ana", fields={"channel": "sms"})
        rig.tell("e3", "contacted", after=-HOUR, customer_id="bob", fields={"channel": "sms", "counts": False})
        rig.tell("e4", "shown", decision_id=made.decision_id)
        before = projections(rig)
        done = rebuild(rig)
        assert (done.projected.touches_changed, done.projected.ledgers_changed, done.strays) == (0, 0, 0)
        assert projections(rig) == before
        wreck(rig)
        assert rebuild(rig).projected.touches == 4
        assert projections(rig) == before
        rig.execute("delete from events where event_id = 'e3'")
        assert rebuild(rig).strays == 2, "the touch, and the key of the event"
        assert len(external(rig)) == 2


def test_they_leave_with_the_month_in_which_they_were_reported_and_the_ledger_keeps_what_it_needs() -> None:
    with Rig(only("push")) as rig:
        rig.tell("old", "contacted", customer_id="ana", fields=FIELDS)
        rig.pass_by(days=60)
        rig.tell("new", "contacted", after=timedelta(days=59), customer_id="ana", fields={"channel": "sms"})
        rig.jobs()
        book = rig.ledger("ana")
        Retention(Tenants(rig.engine), timedelta(days=30), tell=lambda *_: None).run()
        assert [row[2] for row in external(rig)] == ["sms"]
        assert rig.ledger("ana") == book
        before = projections(rig)
        rebuild(rig)
        assert projections(rig) == before
        assert rig.ledger("ana") == book


def test_they_stay_with_the_subject_when_the_customer_is_erased_and_are_disclosed_before() -> None:
    with Rig(campaign()) as rig:
        rig.tell("e1", "contacted", customer_id="ana", fields=FIELDS)
        rig.tell("e2", "contacted", customer_id="bob", fields=FIELDS)
        (held,) = rig.engine.disclose("ana").external_touches()
        assert (held.message, held.channel, held.subject_id) == (
            "newsletter",
            "email",
            rig.engine.subjects(["ana"])["ana"],
        )
        assert [event.event_id for event in rig.engine.disclose("ana").events()] == ["e1"]
        rig.engine.erase_customer("ana")
        assert len(external(rig)) == 2
        assert seen(rig)["touches_7d"] == 0.0, "of somebody new"
