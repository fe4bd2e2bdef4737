"""A decision is a function of what it stores, is made once for each question, and says why it sends nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimizer.clock import SystemClock, to_us
from optimizer.decisions import Decision, DecisionRequest
from optimizer.errors import Conflict, InvalidInput, NotFound
from optimizer.groups import Group
from optimizer.history import EMPTY, dumps
from optimizer.reasons import Reason
from optimizer.recording import EventIn
from optimizer.store.customers import Customer
from tests.optimizer.engine_example import FEATURES, SLOTS, START, Rig, campaign, message, only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optimizer.campaign import CampaignFile
    from optimizer.errors import OptimizerError

pytestmark = pytest.mark.databases

ZONES = ["Europe/Madrid", "America/Mexico_City", "Pacific/Chatham", None]
GROUPS = {"random_control": 0.25, "holdout": 0.2}
ADULT = {"attr": "age", "op": ">=", "value": 18}


# Any campaign

policies = st.sampled_from(
    [
        {"kind": "squarecb"},
        {"kind": "squarecb", "uniform_share": 0.3, "importance": "mtr"},
        {"kind": "epsilon_greedy", "epsilon": 0.2},
        {"kind": "softmax", "softmax_lambda": 3},
        {"kind": "greedy"},
        {"kind": "uniform", "crosses": [["plan", "vip", "message"]]},
        {"kind": "squarecb", "crosses": [["plan", "message"], ["hours_since_last_touch_on_channel", "channel"]]},
    ]
)


@st.composite
def campaigns(draw: st.DrawFn) -> CampaignFile:
    """Campaigns of every policy, with and without each dimension, group, rule and limit."""
    channels = [{"id": "email", "cost": 0.01}, {"id": "push", "cost": 0.02, "dispatch": "caller"}]
    policy = draw(policies)
    with_channels = draw(st.booleans()) or "channel" in str(policy)
    messages = [
        message("hello", *["email", "push"] * with_channels, attributes={"tone": "warm", "length": 3}),
        message("offer", *["email"] * with_channels, eligibility=draw(st.sampled_from([None, ADULT]))),
        message("news", *["push"] * with_channels, active={"from": "2026-01-01", "until": "2026-01-14"}),
    ]
    catalog: dict[str, Any] = {"messages": messages, "no_send": draw(st.booleans())}
    bau: dict[str, Any] = {"message": "offer"}
    if with_channels:
        catalog["channels"], bau["channel"] = channels, "email"
    if draw(st.booleans()):
        catalog["timing"], bau["timing"] = SLOTS, "evening"
    zone = draw(st.sampled_from([{}, {"attr": "zone"}, {"fallback": "Etc/UTC", "if_missing": "use_fallback"}]))
    limit = draw(st.sampled_from([None, 1, 3]))
    groups = GROUPS | draw(st.sampled_from([{}, {"bau": {"share": 0.25, "arm": bau}}]))
    features = FEATURES if with_channels else [f for f in FEATURES if "channel" not in f["name"]]
    return campaign(
        settings={"timezone": zone, "max_touches_per_customer": limit},
        audience=draw(st.sampled_from([None, {"attr": "plan", "op": "!=", "value": "free"}])),
        groups=groups,
        features=features,
        catalog=catalog,
        policy=policy,
    )


facts = st.fixed_dictionaries(
    {},
    optional={
        "plan": st.sampled_from(["free", "plus", "gold", "with space:and|bar"]),
        "zone": st.sampled_from(["Asia/Tokyo", "Nowhere/At_All"]),
        "age": st.floats(-1e6, 1e6),
        "vip": st.booleans(),
        "tags": st.lists(st.sampled_from(["a", "b", "ü"]), unique=True),
    },
)


def live(rig: Rig, known: list[dict[str, Any]], asked: list[dict[str, Any]]) -> None:
    """Some days of runs, questions, touches and events; three customers have the same facts each."""
    rows = [(each, ZONES[i % 4]) for i, each in enumerate(known)]
    rig.engine.put_customers([Customer(f"c{i}", *row) for i, row in enumerate(rows * 3)])
    for day in range(2):
        rig.engine.run("camp", f"day {day}")
        rig.engine.decide(
            [
                DecisionRequest("camp", f"c{i + k * len(known)}", f"{day}/{i}/{k}", each, ZONES[i % 4])
                for i, each in enumerate(asked)
                for k in range(3)
            ]
        )
        for row in rig.log()[::2]:
            rig.engine.record([EventIn(f"s{row.decision_id}", "shown", decision_id=row.decision_id)])
        for row in rig.log()[::3]:
            rig.engine.record([EventIn(f"e{row.decision_id}", "clicked", decision_id=row.decision_id)])
        for hours in (5, 19):
            rig.pass_by(hours=hours)
            rig.jobs()


def failures(rig: Rig) -> list[tuple[str, str, str]]:
    count, failed = rig.engine.verify_campaign("camp")
    assert count == len(rig.log())
    return [
        (decision_id, check.name, check.detail) for decision_id, checks in failed for check in checks if not check.holds
    ]


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(campaigns(), campaigns(), st.lists(facts, min_size=3, max_size=5), st.lists(facts, min_size=1, max_size=3))
def test_every_decision_is_recomputed_from_what_it_stores_whatever_has_changed_since(
    first: CampaignFile, second: CampaignFile, known: list[dict[str, Any]], asked: list[dict[str, Any]]
) -> None:
    with Rig(first) as rig:
        live(rig, known, asked)
        rig.settle()
        last = rig.engine.run("camp", "with a model")
        log = rig.log()
        learned = any(learn for _, learn, _ in rig.rewards().values())
        assert any(row.snapshot_id for row in log) or not learned or last.decided == 0
        for row in log[:: len(log) // 40 + 1]:
            check_row(rig, row.decision_id)
        filtered: dict[object, set[object]] = {}
        for row in log:
            same_facts = (row.decided_us, row.context, row.history)
            filtered.setdefault(same_facts, set()).add((row.candidates, row.removed))
        assert all(len(each) == 1 for each in filtered.values()), "all groups pass the same filters"
        assert failures(rig) == []

        rig.engine.load_campaign(second)
        changed = [Customer(f"c{i}", {"plan": "plus", "age": float(i)}, "Asia/Tokyo") for i in range(3 * len(known))]
        rig.engine.put_customers(changed)
        rig.engine.run("camp", "another version")
        rig.settle()
        rig.engine.run("camp", "another version with a model")
        rig.restart()
        assert failures(rig) == []


def check_row(rig: Rig, decision_id: str) -> None:
    """What holds for every decision: one reason or a touch, and a propensity that the explanation gives too."""
    row = rig.row(decision_id)
    sends = row.arm not in {None, "no_send"}
    assert sends == (row.reason is None) == (row.send_us is not None) == bool(rig.states(decision_id))
    assert (row.arm is None) == (row.propensity is None)
    if row.reason is not None:
        assert row.reason in set(Reason)
    explained = rig.engine.explain(decision_id).candidates
    assert all((each.reason is None) or each.probability == 0.0 for each in explained)
    if row.arm is not None:
        (drawn,) = (each for each in explained if each.arm.id == row.arm)
        assert drawn.probability == row.propensity
        assert drawn.reason is None
        assert sum(each.probability for each in explained) == pytest.approx(1.0)


# Tampering


def with_score(value: float) -> Callable[[bytes], bytes]:
    """Scores of which the first is another one; a small change is added to it."""

    def change(stored: bytes) -> bytes:
        scores = np.frombuffer(stored, np.float32).copy()
        scores[0] += value
        return scores.tobytes()

    return change


def with_fields(**changes: object) -> Callable[[str], str]:
    return lambda stored: orjson.dumps(orjson.loads(stored) | changes).decode()


TAMPERINGS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "another arm": ("arm", lambda _: "no_send"),
    "a propensity by the last bit": ("propensity", lambda stored: float(np.nextafter(stored, 0.0))),
    "a reason": ("reason", lambda _: "chose_no_send"),
    "another score": ("scores", with_score(2e-5)),
    "a score that is none": ("scores", with_score(np.nan)),
    "a score less": ("scores", lambda stored: stored[4:]),
    "a candidate less": ("candidates", lambda stored: bytes([stored[0] ^ 0x80])),
    "candidates of another catalog": ("candidates", lambda stored: stored + b"\x00"),
    "an arm removed": ("removed", lambda _: bytes([Reason.INELIGIBLE_ARM.code])),
    "the other group": ("group_name", lambda g: {"treatment": "random_control", "random_control": "treatment"}[g]),
    "no such group": ("group_name", lambda _: "everybody"),
    "no model": ("snapshot_id", lambda _: None),
    "another model": ("snapshot_id", lambda _: "another"),
    "an attribute": ("context", with_fields(attributes={"plan": "gold", "age": 999.0})),
    "a context cut short": ("context", lambda stored: stored[:-1]),
    "more touches": ("history", with_fields(touches_in_campaign=99)),
    "another exploration": ("exploration", with_fields(uniform_share=0.5)),
    "an exploration that is none": ("exploration", with_fields(temperature=1)),
}


@pytest.fixture(scope="module")
def scored() -> Iterator[Rig]:
    """A campaign with a model that has learned something."""
    with Rig(campaign(settings={"max_touches_per_customer": 50}, groups={"random_control": 0.5})) as rig:
        ids = rig.customers(30, plan="free", age=20.0)
        for i, each in enumerate(ids):
            plan = "gold" if i % 2 else "free"
            made = rig.ask(each, plan=plan, age=float(i))
            rig.engine.record([EventIn(each, "clicked", decision_id=made.decision_id)] * (i % 2))
        rig.settle()
        rig.engine.run("camp", "scored")
        assert failures(rig) == []
        yield rig


@pytest.mark.parametrize("group", ["treatment", "random_control"])
@pytest.mark.parametrize("what", TAMPERINGS)
def test_whatever_was_tampered_with_in_the_log_is_found(scored: Rig, what: str, group: str) -> None:
    column, change = TAMPERINGS[what]
    row = next(r for r in scored.log() if r.snapshot_id and r.group_name == group and r.send_us is not None)
    original = getattr(row, column)
    statement = f"update decisions set {column} = ? where decision_id = ?"  # noqa: S608 - our own column
    scored.execute(statement, change(original), row.decision_id)
    try:
        assert {each for each, _, _ in failures(scored)} == {row.decision_id}
        assert not all(check.holds for check in scored.engine.verify(row.decision_id))
    finally:
        scored.execute(statement, original, row.decision_id)
    assert failures(scored) == []


@pytest.mark.parametrize("column", ["candidates", "reason", "context"])
def test_a_decision_of_a_campaign_that_is_not_active_is_verified_too(column: str) -> None:
    with Rig(campaign()) as rig:
        rig.engine.pause("camp")
        made = rig.ask()
        assert failures(rig) == []
        value = {"candidates": b"\xff", "reason": "holdout", "context": "not JSON"}[column]
        rig.execute(f"update decisions set {column} = ?", value)  # noqa: S608 - our own column
        assert {each for each, _, _ in failures(rig)} == {made.decision_id}


# One kernel

FUNCTION_OF_FACTS = (
    "group_name",
    "context",
    "history",
    "candidates",
    "removed",
    "scores",
    "exploration",
    "snapshot_id",
)


@settings(max_examples=10)
@given(of=campaigns(), known=st.lists(facts, min_size=2, max_size=4), learn=st.booleans())
def test_a_single_question_and_a_page_of_a_run_give_the_same_given_the_same_facts(
    *, of: CampaignFile, known: list[dict[str, Any]], learn: bool
) -> None:
    with Rig(of) as rig:
        live(rig, known, [])
        if learn:
            rig.settle()
        forget = "update ledger set body = ?", dumps(EMPTY)
        rig.execute(*forget)
        for i in range(3 * len(known)):
            rig.engine.decide([DecisionRequest("camp", f"c{i}", f"alone {i}")])
            rig.execute(*forget)
        alone = {row.subject_id: row for row in rig.log() if row.request_id and row.request_id.startswith("alone")}
        rig.engine.run("camp", "together")
        together = [row for row in rig.log() if row.occasion == "together"]
        assert together or of.audience is not None
        for row in together:
            same = alone[row.subject_id]
            for name in FUNCTION_OF_FACTS:
                assert getattr(row, name) == getattr(same, name), name


def test_of_two_rows_of_one_customer_the_second_sees_the_first() -> None:
    with Rig(only("email", settings={"max_touches_per_customer": 1}), only("email", "other")) as rig:
        asked = [rig.request("a"), rig.request("b"), rig.request("a"), rig.request("a", of="other")]
        answers = [decided(each) for each in rig.engine.decide(asked)]
        assert [(each.customer_id, each.campaign_id, each.reason) for each in answers] == [
            ("a", "camp", None),
            ("b", "camp", None),
            ("a", "camp", "max_touches"),
            ("a", "other", None),
        ]


def decided(answer: Decision | OptimizerError) -> Decision:
    assert isinstance(answer, Decision)
    return answer


# Once


def test_a_repeat_gets_the_stored_decision_whatever_has_changed() -> None:
    with Rig(campaign()) as rig:
        first = rig.ask("c000", "r1", plan="gold")
        rig.pass_by(days=2)
        rig.engine.pause("camp")
        rig.engine.load_campaign(only("push"))
        rig.engine.put_customers([Customer("c000", {"plan": "free"})])
        before = rig.dump("decisions", "touches", "ledger")
        again = rig.ask("c000", "r1", plan="gold")
        assert again.replayed
        assert not first.replayed
        assert (again.decision_id, again.arm, again.propensity, again.send_at, again.expires_at) == (
            first.decision_id,
            first.arm,
            first.propensity,
            first.send_at,
            first.expires_at,
        )
        assert rig.dump("decisions", "touches", "ledger") == before


def test_a_repeat_within_one_batch_gets_the_same_decision() -> None:
    with Rig(campaign()) as rig:
        same = rig.request("c000", "r1")
        first, second = (decided(each) for each in rig.engine.decide([same, same]))
        assert (second.decision_id, second.replayed) == (first.decision_id, True)
        assert len(rig.log()) == 1


@pytest.mark.parametrize(
    "other",
    [
        DecisionRequest("camp", "c001", "r1", {"plan": "gold"}),
        DecisionRequest("camp", "c000", "r1", {"plan": "free"}),
        DecisionRequest("camp", "c000", "r1"),
        DecisionRequest("camp", "c000", "r1", {"plan": "gold"}, "Etc/UTC"),
    ],
)
def test_another_question_under_the_same_request_id_is_a_conflict(other: DecisionRequest) -> None:
    with Rig(campaign()) as rig:
        rig.ask("c000", "r1", plan="gold")
        good = rig.request("c002")
        conflict, answer = rig.engine.decide([other, good])
        assert isinstance(conflict, Conflict)
        assert "r1" in str(conflict)
        assert decided(answer).customer_id == "c002"
        assert len(rig.log()) == 2


def test_the_order_of_attributes_does_not_make_another_question() -> None:
    with Rig(campaign()) as rig:
        rig.engine.decide([DecisionRequest("camp", "c", "r1", {"plan": "gold", "age": 3})])
        (again,) = rig.engine.decide([DecisionRequest("camp", "c", "r1", {"age": 3, "plan": "gold"})])
        assert decided(again).replayed


def test_a_request_id_is_unique_in_its_campaign_only() -> None:
    with Rig(campaign(), campaign("other")) as rig:
        assert rig.ask("c000", "r1").decision_id != rig.ask("c001", "r1", of="other").decision_id


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        (DecisionRequest("nothing", "c", "r"), NotFound, "nothing"),
        (DecisionRequest("camp", "c", "r", {"shoe_size": 3}), InvalidInput, "shoe_size"),
        (DecisionRequest("camp", "c", "r", {"age": "old"}), InvalidInput, "age"),
        (DecisionRequest("camp", "c", "r", {"age": 10**400}), InvalidInput, "age"),
        (DecisionRequest("camp", "c", "r", {"age": float("nan")}), InvalidInput, "age"),
        (DecisionRequest("camp", "c", "r", {"plan": "\ud800"}), InvalidInput, "plan"),
        (DecisionRequest("camp", "c", "r", timezone="Mars/Olympus"), InvalidInput, "IANA time zone"),
    ],
)
def test_what_cannot_be_decided_gets_its_error_in_its_place(
    request_: DecisionRequest, error: type[Exception], says: str
) -> None:
    with Rig(campaign()) as rig:
        first, wrong, last = rig.engine.decide([rig.request("a"), request_, rig.request("b")])
        assert isinstance(wrong, error)
        assert says in str(wrong)
        assert [decided(first).customer_id, decided(last).customer_id] == ["a", "b"]


def test_a_number_that_is_huge_but_finite_is_a_number() -> None:
    with Rig(campaign()) as rig:
        (answer,) = rig.engine.decide([DecisionRequest("camp", "c", "r", {"age": 10**30})])
        assert orjson.loads(rig.row(decided(answer).decision_id).context)["attributes"] == {"age": 1e30}


# Reasons


@pytest.mark.parametrize(
    ("settings_", "reason"),
    [
        ({"starts_at": "2026-01-12T15:00:00.000001Z"}, "campaign_not_active"),
        ({"starts_at": "2026-01-12T15:00:00Z"}, None),
        ({"ends_at": "2026-01-12T15:00:00Z"}, "campaign_not_active"),
        ({"ends_at": "2026-01-12T15:00:00.000001Z"}, None),
    ],
)
def test_a_campaign_decides_from_its_start_up_to_its_end(settings_: dict[str, str], reason: str | None) -> None:
    with Rig(only("email", settings=settings_)) as rig:
        made = rig.ask()
        assert made.reason == reason
        assert (made.arm is None) == (reason is not None)
        assert failures(rig) == []


def test_without_a_model_arms_are_drawn_uniformly_and_with_that_propensity() -> None:
    with Rig(campaign(policy={"kind": "greedy"})) as rig:
        made = [rig.ask(each) for each in rig.customers(300)]
        assert {each.propensity for each in made} == {1 / 5}
        counts = [sum(each.arm is not None and each.arm.id == arm for each in made) for arm in arms_of(rig)]
        assert min(counts) > 30, "60 expected; a false alarm in ten thousand"


def arms_of(rig: Rig) -> list[str]:
    log = rig.log()
    return [candidate.arm.id for candidate in rig.engine.explain(log[0].decision_id).candidates]


def test_every_group_has_its_policy_and_all_have_the_same_candidates() -> None:
    bau = {"share": 0.25, "arm": {"message": "offer", "channel": "email"}}
    with Rig(campaign(groups={"random_control": 0.25, "holdout": 0.25, "bau": bau})) as rig:
        made = [rig.ask(each) for each in rig.customers(80)]
        assert len({(row.candidates, row.removed) for row in rig.log()}) == 1
        by_group = {group: [each for each in made if each.group is group] for group in Group}
        assert all(len(each) > 5 for each in by_group.values())
        assert {each.arm and each.arm.id for each in by_group[Group.BAU]} == {"offer/email"}
        assert {each.propensity for each in by_group[Group.BAU]} == {1.0}
        assert {(each.reason, each.propensity) for each in by_group[Group.HOLDOUT]} == {("holdout", 1.0)}


def test_a_bau_arm_that_is_not_allowed_becomes_no_send_with_its_reason() -> None:
    bau = {"share": 1.0, "arm": {"message": "offer", "channel": "email"}}
    messages = [message("hello", "email"), message("offer", "email", eligibility=ADULT)]
    catalog = {"messages": messages, "channels": [{"id": "email", "cost": 0.0}]}
    for no_send in (True, False):
        with Rig(campaign(groups={"bau": bau}, catalog={**catalog, "no_send": no_send})) as rig:
            made = rig.ask(age=5)
            assert made.reason == "ineligible_arm"
            assert (made.arm and made.arm.id) == ("no_send" if no_send else None)
            assert made.propensity == (1.0 if no_send else None)
            rig.settle()
            assert not rig.reward(made.decision_id).learn


def test_pausing_acts_on_the_next_decision_and_resuming_too() -> None:
    with Rig(only("email")) as rig:
        rig.engine.pause("camp")
        paused = rig.ask()
        assert (paused.reason, paused.arm, paused.send_at) == ("campaign_not_active", None, None)
        rig.engine.resume("camp")
        assert rig.ask().reason is None
        with pytest.raises(NotFound):
            rig.engine.pause("nothing")


# Time


def test_a_clock_that_is_set_back_makes_no_decision_earlier_than_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = [START, START - timedelta(hours=1), START + timedelta(seconds=1)]

    class Machine:
        @staticmethod
        def now(_zone: object) -> Any:  # noqa: ANN401
            return times[min(calls, len(times) - 1)]

    calls = 0
    monkeypatch.setattr("optimizer.clock.datetime", Machine)
    with Rig(only("push"), clock=SystemClock()) as rig:
        first = rig.ask()
        calls = 1
        second = rig.ask()
        calls = 2
        third = rig.ask()
    assert [to_us(each.decided_at) for each in (first, second, third)] == [
        to_us(START),
        to_us(START),
        to_us(START) + 1_000_000,
    ]
    assert first.decision_id < second.decision_id < third.decision_id


def test_the_request_wins_over_the_customer_table_and_can_say_that_a_fact_is_missing() -> None:
    audience = {"attr": "plan", "op": "present"}
    with Rig(only("push", audience=audience)) as rig:
        rig.customers(1, plan="plus")
        assert rig.ask().reason is None
        assert rig.ask(plan="basic").reason is None
        gone = rig.ask(plan=None)
        assert gone.reason is Reason.NOT_IN_AUDIENCE
        assert failures(rig) == []
