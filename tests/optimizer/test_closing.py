"""Rewards are a function of the logs: whenever the job runs, and however often they are made anew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer import closing
from optimizer.closing import SETTLE_US, Steps
from optimizer.recording import EventIn
from optimizer.store.customers import Customer
from tests.optimizer.engine_example import SLOTS, START, ProcessDied, Rig, campaign, message, only

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile

pytestmark = pytest.mark.databases

HOUR = timedelta(hours=1)


def parts(rig: Rig, decision_id: str) -> dict[str, str]:
    """The standing of each event beside a decision."""
    return {part["event_id"]: part["standing"] for part in orjson.loads(rig.reward(decision_id).parts)["parts"]}


def left_out(rig: Rig, decision_id: str) -> str | None:
    cause: str | None = orjson.loads(rig.reward(decision_id).parts)["left_out"]
    assert rig.reward(decision_id).learn == (cause is None)
    return cause


# Learned by intention


@pytest.mark.parametrize(
    ("channel", "cost"), [("email", 0.25), ("push", 0.0)], ids=["sent by us", "never shown by the caller"]
)
def test_an_arm_is_learned_as_drawn_with_the_cost_that_occurred(channel: str, cost: float) -> None:
    with Rig(only(channel)) as rig:
        made = rig.ask()
        rig.jobs()
        rig.settle()
        reward = rig.reward(made.decision_id)
        assert (reward.reward, reward.learn) == (-cost, True)


def test_an_expired_touch_is_learned_as_drawn_and_costs_nothing() -> None:
    with Rig(only("email")) as rig:
        made = rig.ask()
        rig.pass_by(hours=24)
        rig.tell("e1", "purchased", customer_id="c000", fields={"amount": 3})
        rig.settle()
        assert rig.touch(made.decision_id).state == "expired"
        assert rig.reward(made.decision_id)[4:6] == (3.0, True)


def test_a_touch_of_the_caller_costs_once_it_was_shown() -> None:
    with Rig(only("push")) as rig:
        made = rig.ask()
        rig.pass_by(hours=1)
        rig.tell("e1", "shown", decision_id=made.decision_id)
        rig.tell("e2", "clicked", decision_id=made.decision_id)
        rig.settle()
        assert rig.reward(made.decision_id)[4:6] == (0.75, True)


def test_voids_are_not_learned_and_are_counted() -> None:
    with Rig(only("email")) as rig:
        kept, void = (rig.ask(each) for each in rig.customers(2))
        rig.engine.void([void.decision_id], "test_send")
        rig.settle()
        assert left_out(rig, kept.decision_id) is None
        assert left_out(rig, void.decision_id) == "test_send"
        report = rig.engine.campaign("camp")
        assert (report.left_out, report.learned) == (1, 1)


def test_decisions_whose_sending_might_have_met_a_pause_are_left_out_whichever_arm_they_drew() -> None:
    groups = {"random_control": 0.3, "holdout": 0.2}
    with Rig(campaign(groups=groups)) as rig:
        ids = rig.customers(40)
        before = [rig.ask(each) for each in ids]
        rig.pass_by(hours=25)
        rig.jobs()
        early = [rig.ask(each) for each in ids]
        rig.pass_by(hours=1)
        rig.engine.pause("camp")
        rig.pass_by(hours=1)
        during = [rig.ask(each) for each in ids]
        rig.pass_by(hours=1)
        rig.engine.resume("camp")
        after = [rig.ask(each) for each in ids]
        rig.settle()
        assert {arm.message if (arm := each.arm) else None for each in early} == {None, "hello", "offer"}, "all kinds"
        learned = {"treatment", "random_control"}
        for made, cause in ((before, None), (early, "campaign_paused"), (after, None)):
            for each in made:
                stored = orjson.loads(rig.reward(each.decision_id).parts)["left_out"]
                assert stored == cause
                assert rig.reward(each.decision_id).learn == (cause is None and each.group in learned)
        assert {each.reason for each in during} == {"campaign_not_active"}
        assert not any(rig.reward(each.decision_id).learn for each in during)
        report = rig.engine.campaign("camp")
        assert report.left_out == sum(each.group in learned for each in early)
        assert report.learned == sum(each.group in learned for each in (*before, *after))


def test_a_touch_may_wait_to_the_end_of_its_slot_and_so_a_pause_there_leaves_it_out() -> None:
    slots = {"horizon": "2d", "slots": [{"id": "wed", "days": ["wed"], "from": "14:00", "to": "20:00"}]}
    catalog = {**only("push").model_dump(by_alias=True)["catalog"], "timing": slots}
    with Rig(campaign(catalog=catalog)) as rig:
        rig.engine.put_customers([Customer("here", timezone="Etc/UTC")])
        made = rig.ask("here")
        assert made.send_at == START + 47 * HOUR
        assert made.expires_at == START + 53 * HOUR
        rig.pass_by(hours=50)
        rig.engine.pause("camp")
        rig.settle()
        assert left_out(rig, made.decision_id) == "campaign_paused"


def test_a_pause_after_maturity_changes_nothing_whenever_the_job_runs() -> None:
    short = {"lateness": "0h", "events": [{"name": "clicked", "value": 1, "window": "1h"}]}
    with Rig(only("email", reward=short)) as rig:
        made = rig.ask()
        rig.pass_by(hours=2)
        rig.engine.pause("camp")
        rig.pass_by(hours=1)
        rig.engine.closing.close_due()
        assert left_out(rig, made.decision_id) is None


# Events


def test_an_event_that_names_only_a_customer_counts_for_the_latest_decision_no_send_and_holdout_included() -> None:
    groups = {"holdout": 1.0}
    with Rig(campaign("held", groups=groups), only("push", "pushed")) as rig:
        held, pushed = rig.ask(of="held"), rig.ask(of="pushed")
        rig.pass_by(hours=1)
        later = rig.ask(of="held")
        rig.pass_by(hours=1)
        rig.tell("e1", "purchased", customer_id="c000", fields={"amount": 4})
        rig.settle()
        assert [rig.reward(each.decision_id).reward for each in (held, later, pushed)] == [0.0, 4.0, 4.0]
        assert parts(rig, held.decision_id) == {"e1": "other_decision"}
        assert rig.reward(later.decision_id).learn is False, "the holdout is never learned"


def test_an_event_that_names_a_customer_and_a_campaign_counts_in_that_one() -> None:
    with Rig(only("push"), only("push", "other")) as rig:
        mine, others = rig.ask(), rig.ask(of="other")
        rig.tell("e1", "clicked", customer_id="c000", campaign_id="other")
        rig.settle()
        assert [rig.reward(each.decision_id).reward for each in (mine, others)] == [0.0, 1.0]


def test_what_happened_is_counted_by_when_it_happened_and_not_by_when_it_was_reported() -> None:
    with Rig(only("push")) as rig:
        made = rig.ask()
        rig.pass_by(days=3)
        rig.tell("in", "clicked", after=48 * HOUR, decision_id=made.decision_id)
        rig.tell("out", "clicked", after=48 * HOUR + timedelta(microseconds=1), decision_id=made.decision_id)
        rig.settle()
        assert parts(rig, made.decision_id) == {"in": "counted", "out": "outside_window"}


def test_an_earlier_decision_and_a_later_one_agree_on_an_event_though_they_close_apart() -> None:
    slots = {"horizon": "2d", "slots": [{"id": "all", "days": "all", "from": "00:00", "to": "23:59"}]}
    catalog = {**only("push").model_dump(by_alias=True)["catalog"], "timing": slots}
    reward = {"lateness": "1d", "events": [{"name": "clicked", "value": 1, "window": "2h"}]}
    with Rig(campaign(catalog=catalog, reward=reward)) as rig:
        rig.engine.put_customers([Customer("c000", timezone="Etc/UTC")])
        first = rig.ask()
        rig.pass_by(hours=1)
        second = rig.ask()
        rig.pass_by(hours=9)
        rig.tell("shown1", "shown", decision_id=first.decision_id)
        rig.pass_by(minutes=30)
        rig.tell("click", "clicked", customer_id="c000")
        rig.pass_by(hours=50)
        rig.tell("shown2", "shown", after=10 * HOUR, decision_id=second.decision_id)
        rig.clock.advance_to(START + 74 * HOUR + timedelta(microseconds=SETTLE_US))
        assert rig.engine.closing.close_due() == 1
        rig.settle()
        assert [rig.reward(each.decision_id).reward for each in (first, second)] == [1.0, 0.0]


# Whenever the job runs


@dataclass(frozen=True)
class Step:
    """Time passes, and then something happens to one of a few customers."""

    hours: int
    what: str
    customer: int
    name: str
    ago: int
    which: int
    campaign: int


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from([0, 0, 1, 5, 13, 30, 90]),
        st.sampled_from(
            ["ask", "ask", "ask", "event", "event", "event", "pause", "resume", "void", "dispatch", "load"]
        ),
        st.integers(0, 2),
        st.sampled_from(["shown", "opened", "clicked", "purchased", "used", "unsubscribed"]),
        st.sampled_from([0, 0, 1, 3, 20, 60]),
        st.integers(0, 30),
        st.integers(0, 1),
    ),
    min_size=3,
    max_size=25,
)


def versions() -> list[CampaignFile]:
    """Two versions of a campaign, with other windows, lateness and offers."""
    offer = {"id": "o", "type": "discount", "value": 5, "unit": "percent", "cost": 0.5, "cost_on": "used"}
    catalog: dict[str, Any] = {
        "messages": [message("hello", "email", "push"), message("offer", "push", offer=offer)],
        "channels": [{"id": "email", "cost": 0.01}, {"id": "push", "cost": 0.02, "dispatch": "caller"}],
    }
    events = [
        {"name": "clicked", "value": 1, "window": "4h"},
        {"name": "purchased", "value_from": "amount", "cap": 10, "window": "2d"},
        {"name": "unsubscribed", "value": -2, "window": "1d"},
    ]
    reward = {"lateness": "6h", "events": events, "subtract_costs": True, "aggregate": "last"}
    shorter = {**reward, "lateness": "0h", "events": [{**each, "window": "3h"} for each in events]}
    return [
        campaign(catalog={**catalog, "timing": SLOTS}, reward=reward, groups={"holdout": 0.3}),
        campaign(catalog=catalog, reward=shorter),
    ]


def played(story: list[Step], *, close_every: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rewards after a story, closed after every so many steps, and the rewards made anew."""
    with Rig(*versions()[:1]) as rig:
        rig.engine.put_customers([Customer(f"c{i}", timezone="Europe/Madrid") for i in range(3)])
        for number, step in enumerate(story):
            rig.pass_by(hours=step.hours)
            play(rig, step, number)
            if number % close_every == 0:
                rig.engine.closing.close_due()
        rig.pass_by(days=10)
        rig.engine.closing.close_due()
        stored = what_counts(rig)
        assert len(stored) == len(rig.log())
        rig.pass_by(days=30)
        rig.execute("delete from rewards")
        rig.execute("insert into open_decisions select tenant, campaign_id, mature_us, decision_id from decisions ")
        rig.engine.closing.close_due()
        return stored, what_counts(rig)


def what_counts(rig: Rig) -> dict[str, Any]:
    """The rewards, without the events beside them that did not count and may have come after the close."""
    found = {}
    for decision_id, (reward, learn, text) in rig.rewards().items():
        how = orjson.loads(text)
        counted = [part for part in how.pop("parts") if part["standing"] in {"counted", "superseded", "no_value"}]
        found[decision_id] = (reward, learn, how, counted)
    return found


def play(rig: Rig, step: Step, number: int) -> None:
    customer, log = f"c{step.customer}", rig.log()
    match step.what:
        case "ask":
            rig.ask(customer, f"r{number}")
        case "event":
            at = rig.clock.now() - step.ago * HOUR
            names: dict[str, Any] = {"customer_id": customer}
            if log and step.which % 3:
                row = log[step.which % len(log)]
                names = {"decision_id": row.decision_id}
                if step.which % 3 == 1:
                    names = {"campaign_id": "camp", "request_id": f"r{step.which}"}
            rig.engine.record([EventIn(f"e{step.which}", step.name, at, **names, fields={"amount": step.ago})])
        case "pause":
            rig.engine.pause("camp")
        case "resume":
            rig.engine.resume("camp")
        case "void" if log and log[step.which % len(log)].mature_us > rig.now_us:
            rig.engine.void([log[step.which % len(log)].decision_id], "test_send")
        case "dispatch":
            rig.engine.outbox.dispatch_due()
        case "load":
            rig.engine.load_campaign(versions()[step.campaign])


@settings(max_examples=20)
@given(steps)
def test_the_time_at_which_the_job_runs_does_not_matter_and_a_rebuild_gives_the_same(story: list[Step]) -> None:
    promptly, rebuilt = played(story, close_every=1)
    late, again = played(story, close_every=len(story) + 1)
    assert promptly == late == rebuilt == again


@pytest.mark.parametrize("page", [1, 4])
def test_pages_of_any_size_give_the_same(page: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        results = []
        for size in (page, 5000):
            patch.setattr(closing, "PAGE", size)
            with Rig(campaign()) as rig:
                ids = rig.customers(12)
                for i, each in enumerate((*ids, *ids[:5])):
                    rig.ask(each)
                    rig.pass_by(hours=i % 3)
                    rig.tell(f"e{i}", "purchased", customer_id=ids[(i * 5) % 12], fields={"amount": i})
                rig.settle()
                results.append(rig.rewards())
        assert results[0] == results[1]
        assert len({reward for reward, _, _ in results[0].values()}) > 4


def test_decisions_are_closed_in_the_order_of_maturity_and_only_once() -> None:
    with Rig(only("push")) as rig:
        made = []
        for each in rig.customers(5):
            made.append(rig.ask(each).decision_id)
            rig.pass_by(hours=1)
        rig.clock.advance_to(START + timedelta(days=4) + timedelta(microseconds=SETTLE_US - 1))
        assert rig.engine.closing.close_due() == 0
        for earlier, _ in pairwise([*made, ""]):
            rig.clock.advance_to(rig.clock.now() + timedelta(microseconds=1))
            assert rig.engine.closing.close_due() == 1
            assert earlier in rig.rewards()
            rig.pass_by(minutes=59, seconds=59, microseconds=999_999)
        assert rig.engine.closing.close_due() == 0


def test_what_is_known_only_after_maturity_does_not_count_whenever_a_decision_is_closed() -> None:
    """A late report proves that a lost touch was sent, and a decision is made void too late: both are not learned."""
    earned = []
    for again in (False, True):
        with Rig(only("email")) as rig:
            made = rig.ask()
            rig.sender.failure = ProcessDied()
            with pytest.raises(ProcessDied):
                rig.engine.outbox.dispatch_due()
            rig.sender.failure = None
            rig.settle()
            rig.tell("e1", "delivered", decision_id=made.decision_id, after=timedelta(hours=1))
            assert rig.states(made.decision_id)[-2:] == ["sent", "delivered"]
            rig.engine.void([made.decision_id], "outage")
            if again:
                rig.store.write(lambda c: rig.engine.versions.reopen(c, "camp"))
                rig.jobs()
            earned.append(rig.rewards()[made.decision_id][:2])
    assert earned == [(0.0, True), (0.0, True)]


def test_after_the_clock_was_set_forward_closing_waits_for_who_wrote_before() -> None:
    seconds = [100.0]
    steps = Steps(lambda: seconds[0])
    assert steps.passed(now_us=5_000_000, oldest_us=0), "nobody writes"
    seconds[0] += 1
    assert steps.passed(now_us=6_000_000, oldest_us=900_000), "it began after the start, with a clock that went on"
    seconds[0] += 1
    assert not steps.passed(now_us=3_607_000_000, oldest_us=10_000), "it began before the step"
    seconds[0] += 1
    assert not steps.passed(now_us=3_608_000_000, oldest_us=1_010_000), "and writes on"
    seconds[0] += 1
    assert steps.passed(now_us=3_609_000_000, oldest_us=300_000)
