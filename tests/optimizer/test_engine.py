"""Whatever happens in whatever order: the log only grows, touches go out once, what follows can be made again."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from optimizer import history
from optimizer.clock import from_us
from optimizer.closing import SETTLE_US
from optimizer.decisions import Decision, DecisionRequest
from optimizer.errors import Conflict, NotFound
from optimizer.recording import EventIn, Status
from optimizer.store.customers import Customer
from optimizer.suppressing import Whom
from tests.optimizer.engine_example import FEATURES, SLOTS, START, ProcessDied, Rig, campaign, message, only

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile

pytestmark = pytest.mark.databases

APPEND_ONLY = ("decisions", "events", "touch_transitions", "campaign_versions", "campaign_changes", "voids")
LIMIT = 2
GROUPS = {"random_control": 0.3, "holdout": 0.2, "bau": {"share": 0.2, "arm": {"message": "hello", "channel": "email"}}}
STATES_AFTER = {
    "planned": {"leased", "sent", "expired", "cancelled"},
    "leased": {"sending", "planned"},
    "sending": {"sent", "unknown"},
    "unknown": {"sent"},
    "expired": {"sent"},
    "cancelled": {"sent"},
    "sent": {"delivered", "opened", "clicked", "bounced"},
    "delivered": {"opened", "clicked", "bounced"},
    "opened": {"clicked", "bounced"},
    "clicked": {"bounced"},
    "bounced": set(),
}
FREE = {"expired", "cancelled"}


def versions() -> list[CampaignFile]:
    """Three versions of a campaign: with slots, with other arms and the same learner, with another learner."""
    limit = {"max_touches_per_customer": LIMIT}
    push = {"id": "push", "cost": 0.02, "dispatch": "caller"}
    email = {"id": "email", "cost": 0.01}
    catalog: dict[str, Any] = {"messages": [message("hello", "email", "push")], "channels": [email, push]}
    reward = {"lateness": "12h", "events": [{"name": "clicked", "value": 1, "window": "1d"}], "subtract_costs": True}
    more = {"messages": [*catalog["messages"], message("offer", "push")], "channels": [push, email]}
    return [
        campaign(settings=limit, groups=GROUPS, catalog=catalog, reward=reward),
        campaign(settings=limit, groups=GROUPS, catalog=more, reward=reward),
        campaign(settings=limit, features=FEATURES[:2], catalog={**catalog, "timing": SLOTS}, reward=reward),
    ]


class Service(RuleBasedStateMachine):
    """Callers, customers, channels, operators and crashes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(versions()[0])
        self.before: dict[str, set[tuple[Any, ...]]] = {}
        self.asked: dict[str, tuple[DecisionRequest, Decision]] = {}
        self.counter = 0

    @initialize()
    def somebody_is_known(self) -> None:
        zones = ["Europe/Madrid", "Asia/Tokyo", None]
        rows = [Customer(f"c{i}", {"plan": "gold"}, zone) for i, zone in enumerate(zones)]
        self.rig.engine.put_customers(rows)

    # What callers do

    @rule(customer=st.integers(0, 4), request=st.integers(0, 12), plan=st.sampled_from(["free", "gold"]))
    def ask(self, customer: int, request: int, plan: str) -> None:
        asked = DecisionRequest("camp", f"c{customer}", f"r{request}", {"plan": plan})
        (answer,) = self.rig.engine.decide([asked])
        if asked.request_id not in self.asked:
            assert isinstance(answer, Decision)
            self.asked[asked.request_id] = (asked, answer)
            return
        first, made = self.asked[asked.request_id]
        if first == asked:
            assert isinstance(answer, Decision)
            assert (answer.decision_id, answer.arm, answer.propensity) == (made.decision_id, made.arm, made.propensity)
        else:
            assert isinstance(answer, Conflict)

    @rule(customers=st.lists(st.integers(0, 4), min_size=1, max_size=6))
    def ask_many(self, customers: list[int]) -> None:
        self.counter += 1
        rows = [DecisionRequest("camp", f"c{each}", f"m{self.counter}-{i}") for i, each in enumerate(customers)]
        assert all(isinstance(each, Decision) for each in self.rig.engine.decide(rows))

    @rule(customer=st.integers(0, 4), plan=st.sampled_from(["free", "gold"]), age=st.floats(0, 100))
    def load_a_customer(self, customer: int, plan: str, age: float) -> None:
        self.rig.engine.put_customers([Customer(f"c{customer}", {"plan": plan, "age": age}, "Europe/Madrid")])

    @rule(
        event=st.integers(0, 40),
        name=st.sampled_from(["shown", "sent", "delivered", "opened", "clicked", "bounced", "clicked"]),
        how=st.sampled_from(["decision", "decision", "request", "customer"]),
        which=st.integers(0, 200),
        ago_h=st.integers(-1, 40),
    )
    def report(self, event: int, name: str, how: str, which: int, ago_h: int) -> None:
        at = self.rig.clock.now() - timedelta(hours=ago_h)
        log = self.rig.log()
        names: dict[str, Any] = {"customer_id": f"c{which % 5}"}
        if how == "request":
            names = {"campaign_id": "camp", "request_id": f"r{which % 13}"}
        elif how == "decision" and log:
            names = {"decision_id": log[which % len(log)].decision_id}
        receipt, again = self.rig.engine.record([EventIn(f"e{event}", name, at, **names)] * 2)
        assert again.status is Status.DUPLICATE
        assert (receipt.status is Status.DUPLICATE) == (
            f"e{event}" in {row[2] for row in self.before.get("events", ())}
        )

    @rule(
        event=st.integers(41, 60),
        customer=st.integers(0, 4),
        channel=st.sampled_from(["email", "push", "store"]),
        ago_h=st.integers(-1000, 1000),
    )
    def another_system_reports(self, event: int, customer: int, channel: str, ago_h: int) -> None:
        at = self.rig.clock.now() - timedelta(hours=ago_h)
        fields = {"channel": channel, "campaign": "camp", "counts": event % 2 == 0}
        self.rig.engine.record([EventIn(f"e{event}", "contacted", at, customer_id=f"c{customer}", fields=fields)] * 2)

    @rule(customer=st.integers(0, 4), channel=st.sampled_from(["email", "push", None]))
    def somebody_unsubscribes(self, customer: int, channel: str | None) -> None:
        self.counter += 1
        fields = {"channel": channel} if channel else {}
        event = EventIn(f"u{self.counter}", "unsubscribed", customer_id=f"c{customer}", fields=fields)
        self.rig.engine.record([event])
        subject_id = self.rig.engine.subjects([f"c{customer}"])[f"c{customer}"]
        for row in self.rig.dump("touches")["touches"]:
            if row[3] == subject_id and row[7] == "planned":
                assert channel not in {None, row[5]}, "it is taken back at once"

    # What operators do

    @rule(customer=st.integers(0, 4))
    def somebody_may_be_reached_again(self, customer: int) -> None:
        assert self.rig.engine.lift(Whom(f"c{customer}")) == []

    @rule(occasion=st.integers(0, 2))
    def run(self, occasion: int) -> None:
        try:
            self.rig.engine.run("camp", f"o{occasion}")
        except Conflict:
            assert self.rig.engine.campaign("camp").state == "paused"

    @rule()
    def pause(self) -> None:
        self.rig.engine.pause("camp")

    @rule()
    def resume(self) -> None:
        self.rig.engine.resume("camp")

    @rule(which=st.integers(0, 2))
    def load_a_version(self, which: int) -> None:
        self.rig.engine.load_campaign(versions()[which])

    @precondition(lambda self: self.rig.log())
    @rule(which=st.integers(0, 200))
    def void(self, which: int) -> None:
        log = self.rig.log()
        row = log[which % len(log)]
        if row.mature_us > self.rig.now_us:
            self.rig.engine.void([row.decision_id], "test_send")

    # What time does

    @rule(minutes=st.sampled_from([1, 30, 200, 700, 1500, 4000]))
    def time_passes(self, minutes: int) -> None:
        self.rig.pass_by(minutes=minutes)

    @rule()
    def everything_is_due(self) -> None:
        self.rig.jobs()

    @rule(job=st.integers(0, 5))
    def one_job_is_due(self, job: int) -> None:
        self.rig.engine.jobs()[job].run()

    @rule()
    def the_channel_is_down(self) -> None:
        self.rig.sender.failure = OSError("connection refused")
        self.rig.jobs()
        self.rig.sender.failure = None

    @rule()
    def the_process_dies_while_sending(self) -> None:
        self.rig.sender.failure = ProcessDied()
        try:
            self.rig.engine.outbox.dispatch_due()
        except ProcessDied:
            self.rig.restart()
        self.rig.sender.failure = None

    # What always holds

    @invariant()
    def the_log_only_grows(self) -> None:
        now = self.rig.dump(*APPEND_ONLY)
        for name, rows in self.before.items():
            assert rows <= now[name], f"{name} was changed"
        self.before = now

    @invariant()
    def nobody_is_sent_the_same_twice(self) -> None:
        sent = Counter(touch.decision_id for touch in self.rig.sender.sent)
        assert not sent or max(sent.values()) == 1

    @invariant()
    def touches_are_what_their_transitions_say(self) -> None:
        tables = self.rig.dump("touches", "touch_transitions")
        moves: dict[str, dict[int, str]] = {}
        for _, decision_id, seq, state, *_ in tables["touch_transitions"]:
            moves.setdefault(decision_id, {})[seq] = state
        for row in tables["touches"]:
            decision_id, dispatch, state, seq = row[1], row[6], row[7], row[8]
            if dispatch == "external":
                continue
            states = [moves[decision_id][i] for i in range(seq + 1)]
            assert states[-1] == state
            assert len(moves[decision_id]) == seq + 1
            assert all(after in STATES_AFTER[before] for before, after in pairwise(states)), states
            assert (row[12] is not None) == (state in {"leased", "sending"}), "a lease"
            assert (row[11] is not None) == ("sent" in states)
            assert dispatch == "caller" or "sending" in states or "sent" not in states

    @invariant()
    def the_limit_of_touches_holds_and_ledgers_count_them(self) -> None:
        tables = self.rig.dump("touches", "ledger")
        live = Counter(row[3] for row in tables["touches"] if row[7] not in FREE and row[6] != "external")
        counted = {subject: history.loads(body).touches.get("camp", 0) for _, subject, body in tables["ledger"]}
        assert {k: n for k, n in counted.items() if n} == dict(live)
        late = Counter(row[3] for row in tables["touches"] if self.was_given_up(row[1]))
        assert all(n <= LIMIT + late[subject] for subject, n in live.items())

    def was_given_up(self, decision_id: str) -> bool:
        return bool(FREE & set(self.rig.states(decision_id)))

    @invariant()
    def every_decision_has_a_touch_or_one_reason(self) -> None:
        touched = {row[1] for row in self.rig.dump("touches")["touches"]}
        for row in self.rig.log():
            assert (row.reason is None) == (row.decision_id in touched) == (row.arm not in {None, "no_send"})

    def teardown(self) -> None:
        try:
            self.what_can_be_made_again_is_the_same()
        finally:
            self.rig.store.close()

    def what_can_be_made_again_is_the_same(self) -> None:
        rig = self.rig
        rig.engine.resume("camp")
        rig.settle()
        log = rig.log()
        rewards = {key: (reward, learn) for key, (reward, learn, _) in rig.rewards().items()}
        assert set(rewards) == {row.decision_id for row in log}
        assert rig.engine.verify_campaign("camp") == (len(log), [])
        snapshot = rig.snapshot()
        learned = sum(learn for _, learn in rewards.values())
        rig.execute("delete from rewards")
        rig.execute("insert into open_decisions select tenant, campaign_id, mature_us, decision_id from decisions")
        rig.execute("delete from snapshots")
        rig.restart()
        rig.jobs()
        assert {key: (reward, learn) for key, (reward, learn, _) in rig.rewards().items()} == rewards
        again = rig.snapshot()
        assert (again.learned if again else 0) == learned
        if snapshot is not None and again is not None and snapshot.learner_key == again.learner_key:
            assert (again.body, again.resume) == (snapshot.body, snapshot.resume)


TestService = Service.TestCase
TestService.settings = settings(
    max_examples=20, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


# Examples


def test_following_the_next_due_instant_does_all_that_is_to_be_done() -> None:
    with Rig(only("email", settings={"ends_at": "2026-01-20T00:00:00Z"})) as rig:
        made = rig.ask()
        instants = []
        while (due_us := rig.engine.next_due_us()) is not None:
            assert due_us >= rig.now_us
            rig.clock.advance_to(from_us(due_us))
            rig.jobs()
            instants.append(from_us(due_us) - START)
        assert instants == [timedelta(0), timedelta(days=4, microseconds=SETTLE_US)]
        assert rig.reward(made.decision_id).learn
        assert len(rig.sender.sent) == 1


def test_what_a_pause_holds_back_is_not_due() -> None:
    with Rig(only("email")) as rig:
        made = rig.ask()
        rig.engine.pause("camp")
        rig.jobs()
        due_us = rig.engine.next_due_us()
        assert due_us is not None
        assert from_us(due_us) == made.expires_at, "not the send, which waits"


def test_what_was_being_sent_when_its_process_ended_is_due_when_its_lease_ends() -> None:
    with Rig(only("email")) as rig:
        rig.ask()
        rig.sender.failure = ProcessDied()
        with pytest.raises(ProcessDied):
            rig.engine.outbox.dispatch_due()
        rig.sender.failure = None
        due_us = rig.engine.next_due_us()
        assert due_us is not None
        assert from_us(due_us) == START + timedelta(minutes=1)


def test_what_is_not_there_is_not_found() -> None:
    with Rig(campaign()) as rig:
        for look in (
            rig.engine.decision,
            rig.engine.explain,
            rig.engine.verify,
            rig.engine.verify_campaign,
            rig.engine.customer,
            rig.engine.campaign,
            rig.engine.pause,
            rig.engine.resume,
            lambda name: rig.engine.void([name], "test_send"),
        ):
            with pytest.raises(NotFound):
                look("nothing")


def test_a_decision_is_read_as_it_was_answered() -> None:
    with Rig(campaign(settings={"timezone": {"attr": "zone"}})) as rig:
        for each in rig.customers(20, plan="gold", zone="Asia/Tokyo"):
            made = rig.ask(each)
            assert rig.engine.decision(made.decision_id) == made
        rig.engine.run("camp", "spring")
        occasions = [rig.engine.decision(row.decision_id) for row in rig.log() if row.occasion]
        assert [(each.occasion, each.request_id) for each in occasions] == [("spring", None)] * 20


def test_two_campaigns_learn_from_one_event_and_know_nothing_of_each_others_decisions() -> None:
    with Rig(only("push"), only("push", "other")) as rig:
        mine, others = rig.ask(), rig.ask(of="other")
        rig.tell("e1", "clicked", customer_id="c000")
        rig.settle()
        assert [rig.reward(each.decision_id).reward for each in (mine, others)] == [1.0, 1.0]
        assert [report.learned for report in rig.engine.campaigns()] == [1, 1]


def test_the_same_seed_and_story_make_the_same_tables_to_the_byte() -> None:
    dumps = []
    for _ in range(2):
        with Rig(campaign(groups=GROUPS), seed=7) as rig:
            for each in rig.customers(10, plan="gold"):
                made = rig.ask(each)
                rig.tell(each, "clicked", decision_id=made.decision_id)
            rig.settle()
            rig.engine.run("camp")
            dumps.append(
                rig.dump("decisions", "touches", "touch_transitions", "events", "rewards", "snapshots", "ledger")
            )
    assert dumps[0] == dumps[1]
