"""Events are stored once, resolved as far as possible, and act on touches and ledgers, in whatever order they come."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import orjson
import pytest

from optimizer.errors import InvalidInput
from optimizer.recording import EventIn, Status
from optimizer.store import events
from tests.optimizer.engine_example import Rig, campaign, only

pytestmark = pytest.mark.databases

MINUTE = timedelta(minutes=1)


def parked(rig: Rig) -> int:
    return rig.store.read(lambda c: events.count_parked(c, "default"))


def test_the_same_event_id_is_the_same_event_in_one_report_and_in_two() -> None:
    with Rig(only("push")) as rig:
        made = rig.ask()
        twice = [EventIn("e1", "clicked", decision_id=made.decision_id) for _ in range(2)]
        assert [r.status for r in rig.engine.record(twice)] == [Status.ACCEPTED, Status.DUPLICATE]
        assert rig.tell("e1", "purchased", decision_id=made.decision_id) is Status.DUPLICATE
        assert [row[3] for row in rig.dump("events")["events"]] == ["clicked"], "the first report stands"


@pytest.mark.parametrize(
    "event",
    [
        EventIn("e1", "clicked"),
        EventIn("e1", "clicked", request_id="r1"),
        EventIn("e1", "clicked", campaign_id="camp"),
        EventIn("", "clicked", customer_id="c"),
        EventIn("e1", "", customer_id="c"),
        EventIn("e1", "clicked", datetime(2026, 1, 12), customer_id="c"),  # noqa: DTZ001 - that is what is wrong
        EventIn("e1", "clicked", customer_id="c", fields={"amount": 10**30}),
        EventIn("e1", "clicked", customer_id="c", fields={"note": "\ud800"}),
    ],
)
def test_an_event_that_names_nothing_or_half_a_thing_is_refused_and_none_of_its_batch_is_stored(event: EventIn) -> None:
    with Rig(campaign()) as rig:
        with pytest.raises(InvalidInput):
            rig.engine.record([EventIn("good", "clicked", customer_id="c"), event])
        assert not rig.dump("events")["events"]


def test_an_event_of_an_unknown_request_waits_and_acts_when_the_decision_appears() -> None:
    with Rig(only("push")) as rig:
        assert rig.tell("e1", "shown", campaign_id="camp", request_id="later") is Status.PARKED
        assert rig.tell("e2", "opened", campaign_id="camp", request_id="later") is Status.PARKED
        assert rig.tell("e3", "clicked", campaign_id="other", request_id="later") is Status.PARKED
        assert parked(rig) == 3
        made = rig.ask("c000", "later")
        assert parked(rig) == 1, "that of another campaign waits on"
        assert rig.states(made.decision_id) == ["planned", "sent", "opened"]
        rig.pass_by(hours=1)
        history = orjson.loads(rig.row(rig.ask("c000").decision_id).history)
        assert history["touches_1d"] == 1.0
        assert history["last_opened"] == 1.0


def test_an_event_of_an_unknown_decision_id_waits_and_acts_when_the_decision_appears() -> None:
    with Rig(only("push"), seed=5) as first:
        first.tell("e1", "shown", decision_id="any")
        first.tell("e2", "clicked", decision_id="any")
        decision_id = first.ask().decision_id
    with Rig(only("push"), seed=5) as rig:
        assert rig.tell("e1", "shown", decision_id=decision_id) is Status.PARKED
        assert rig.tell("e2", "clicked", decision_id=decision_id) is Status.PARKED
        assert rig.ask().decision_id == decision_id, "the same seed makes the same ids"
        assert parked(rig) == 0
        assert rig.states(decision_id) == ["planned", "sent", "clicked"]
        rig.settle()
        assert rig.reward(decision_id).reward == 1.0 - 0.25


def test_parked_events_count_for_the_reward_as_if_the_decision_had_been_known() -> None:
    with Rig(campaign()) as rig:
        rig.tell("e1", "clicked", after=MINUTE, campaign_id="camp", request_id="later")
        made = rig.ask("c000", "later")
        rig.settle()
        assert rig.reward(made.decision_id).reward >= 1.0 - 0.02


@pytest.mark.parametrize("order", list(permutations(["shown", "opened", "clicked"])))
def test_the_order_in_which_a_callers_reports_come_does_not_matter(order: tuple[str, ...]) -> None:
    occurred = {"shown": 1 * MINUTE, "opened": 2 * MINUTE, "clicked": 3 * MINUTE}
    with Rig(only("push")) as rig:
        made = rig.ask()
        rig.pass_by(hours=1)
        for name in order:
            rig.tell(name, name, after=occurred[name], decision_id=made.decision_id)
        touch = rig.touch(made.decision_id)
        assert (touch.state, touch.sent_us) == ("clicked", rig.row(made.decision_id).decided_us + 60_000_000)
        history = orjson.loads(rig.row(rig.ask().decision_id).history)
        assert (history["touches_1d"], history["last_opened"], history["touches_in_campaign"]) == (1.0, 1.0, 1)


def test_a_touch_never_goes_back_from_what_is_known_of_it() -> None:
    with Rig(only("email")) as rig:
        made = rig.ask()
        rig.jobs()
        for name in ("clicked", "opened", "delivered", "sent", "shown", "clicked"):
            rig.tell(f"e-{name}", name, decision_id=made.decision_id)
        assert rig.states(made.decision_id) == ["planned", "leased", "sending", "sent", "clicked"]


def test_reports_of_sending_do_not_move_a_touch_that_the_service_sends() -> None:
    with Rig(only("email")) as rig:
        made = rig.ask()
        rig.tell("e1", "sent", decision_id=made.decision_id)
        assert rig.states(made.decision_id) == ["planned"]
        rig.jobs()
        assert len(rig.sender.sent) == 1


def test_events_about_a_touch_of_which_it_is_not_known_whether_it_went_out_prove_that_it_did() -> None:
    with Rig(only("email", settings={"max_touches_per_customer": 5})) as rig:
        made = rig.ask()
        rig.sender.failure = OSError("connection reset")
        rig.jobs()
        assert rig.touch(made.decision_id).state == "unknown"
        rig.pass_by(hours=1)
        rig.tell("e1", "opened", decision_id=made.decision_id)
        assert rig.states(made.decision_id)[-3:] == ["unknown", "sent", "opened"]
        history = orjson.loads(rig.row(rig.ask().decision_id).history)
        assert (history["touches_1d"], history["last_opened"], history["touches_in_campaign"]) == (1.0, 1.0, 1)
        rig.settle()
        assert rig.reward(made.decision_id).reward == -0.25, "what it cost is counted"


def test_what_is_reported_while_a_touch_is_being_sent_is_not_lost() -> None:
    with Rig(only("email")) as rig:
        made = rig.ask()
        rig.sender.before = lambda: rig.tell("e1", "delivered", decision_id=made.decision_id)
        rig.jobs()
        assert rig.touch(made.decision_id).state == "delivered"
        assert rig.states(made.decision_id) == ["planned", "leased", "sending", "sent", "delivered"]
        assert orjson.loads(rig.row(rig.ask().decision_id).history)["touches_1d"] == 1.0


def test_a_touch_that_expired_and_was_shown_after_all_counts_against_the_limit_again() -> None:
    with Rig(only("push", settings={"max_touches_per_customer": 1})) as rig:
        made = rig.ask()
        rig.pass_by(hours=25)
        rig.jobs()
        assert rig.touch(made.decision_id).state == "expired"
        rig.tell("e1", "shown", after=MINUTE, decision_id=made.decision_id)
        assert rig.states(made.decision_id) == ["planned", "expired", "sent"]
        again = rig.ask()
        assert (again.arm, again.reason) == (None, "max_touches")


def test_a_touch_that_was_taken_back_and_shown_after_all_is_known_as_sent() -> None:
    with Rig(only("push", settings={"max_touches_per_customer": 1})) as rig:
        made = rig.ask()
        rig.engine.void([made.decision_id], "test_send")
        assert rig.touch(made.decision_id).state == "cancelled"
        rig.tell("e1", "shown", decision_id=made.decision_id)
        assert rig.touch(made.decision_id).state == "sent"
        assert rig.ask().reason == "max_touches"


def test_an_event_received_after_maturity_is_kept_shown_as_late_and_not_learned() -> None:
    with Rig(only("push")) as rig:
        made = rig.ask()
        rig.pass_by(days=4)
        on_time = rig.tell("e1", "clicked", after=MINUTE, decision_id=made.decision_id)
        rig.pass_by(microseconds=1)
        late = rig.tell("e2", "purchased", after=MINUTE, decision_id=made.decision_id, fields={"amount": 5})
        assert (on_time, late) == (Status.ACCEPTED, Status.LATE)
        rig.settle()
        reward = rig.reward(made.decision_id)
        assert reward.reward == 1.0
        assert {p["event_id"]: p["standing"] for p in orjson.loads(reward.parts)["parts"]} == {
            "e1": "counted",
            "e2": "late",
        }


def test_an_event_of_an_unknown_customer_makes_the_customer_known_but_not_part_of_an_audience() -> None:
    with Rig(campaign()) as rig:
        rig.tell("e1", "purchased", customer_id="stranger")
        assert not rig.engine.customer("stranger").loaded
        assert rig.engine.run("camp").decided == 0


def test_a_late_event_is_shown_beside_its_decision_and_changes_nothing() -> None:
    with Rig(only("push")) as rig:
        rig.customers(1)
        decision = rig.ask()
        rig.tell("shown", "shown", decision_id=decision.decision_id)
        rig.tell("click", "clicked", decision_id=decision.decision_id)
        pending = rig.engine.explain(decision.decision_id)
        assert not pending.closed
        rig.settle()
        before = rig.reward(decision.decision_id).reward
        assert rig.tell("late", "clicked", after=MINUTE, decision_id=decision.decision_id) is Status.LATE
        told = rig.engine.explain(decision.decision_id)
        standings = {part.event_id: part.standing.value for part in told.earned.parts}
        assert standings == {"click": "counted", "late": "late"}
        assert told.closed
        assert told.earned.reward == before == rig.reward(decision.decision_id).reward
