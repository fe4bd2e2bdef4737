from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.campaign import CampaignFile
from optimizer.choices import Batch, Choices
from optimizer.clock import from_us
from optimizer.decider import CHUNK, Decider
from optimizer.exploration import Exploration
from optimizer.groups import GROUPS, Group
from optimizer.learner import Learner
from optimizer.reasons import Reason
from tests.optimizer.kernel import WORDS, campaign_of, campaigns, customers, instants, log, message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.scorer import Scorer

ZONES = (None, "UTC", "America/Mexico_City", "Pacific/Auckland")
NOW = datetime(2026, 1, 5, 15, 30, tzinfo=UTC)
RULES: tuple[dict[str, Any] | None, ...] = (
    None,
    {"attr": "n0", "op": ">", "value": 2.0},
    {"not": {"attr": "n0", "op": ">", "value": 2.0}},
    {"attr": "k0", "op": "in", "value": ["gold", "50%"]},
    {"not": {"any": [{"attr": "k0", "op": "==", "value": "gold"}, {"attr": "touches_7d", "op": ">=", "value": 2}]}},
)
POLICIES: tuple[dict[str, Any], ...] = (
    {"kind": "squarecb"},
    {"kind": "squarecb", "uniform_share": 0.1},
    {"kind": "epsilon_greedy", "epsilon": 0.2},
    {"kind": "softmax", "softmax_lambda": 4.0},
    {"kind": "greedy"},
    {"kind": "uniform"},
)


@dataclass(frozen=True)
class Case:
    """A campaign with everything that removes arms, a model of it, and customers to decide for."""

    decider: Decider
    scorer: Scorer | None
    batch: Batch


@st.composite
def cases(draw: st.DrawFn, customers_at_most: int = 12) -> Case:
    campaign = ruled(draw(campaigns()), draw)
    decider = Decider(campaign)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scorer = None
    if draw(st.booleans()):
        learner = Learner(decider.space, "one")
        learner.learn(log(rng, decider.space, 25).lessons(decider.space))
        scorer = decider.scorer(learner.snapshot())
    codes = [g for g in range(4) if GROUPS[g] is not Group.BAU or campaign.groups.bau]
    batch = batch_of(decider, rng, draw(st.integers(1, customers_at_most)), draw(instants()), codes)
    return Case(decider, scorer, batch)


def ruled(campaign: CampaignFile, draw: st.DrawFn) -> CampaignFile:
    """The campaign with rules, dates, a limit of touches, groups and a policy."""
    data = campaign.model_dump(mode="json", by_alias=True)
    spec, rules = data["catalog"], st.sampled_from(RULES)
    data["audience"] = draw(rules)
    for part in spec["messages"]:
        part["eligibility"] = draw(rules)
        part["active"] = draw(st.sampled_from([None, {"from": "2026-06-01", "until": "2027-06-01"}]))
    if spec["channels"] and draw(st.booleans()):
        spec["messages"][0]["creatives"] = {"ch0": {"template": "t", "version": 1}}
    data["campaign"]["max_touches_per_customer"] = draw(st.sampled_from([None, 1, 2]))
    data["campaign"]["ends_at"] = draw(st.sampled_from([None, "2027-09-01T12:00:00Z"]))
    if draw(st.booleans()):
        arm = {"message": spec["messages"][-1]["id"]}
        arm |= {"channel": "ch0"} if spec["channels"] else {}
        arm |= {"timing": "s0"} if spec["timing"] else {}
        data["groups"] = {"bau": {"share": 0.2, "arm": arm}}
    data["policy"] = draw(st.sampled_from(POLICIES)) | {"crosses": data["policy"]["crosses"]}
    return CampaignFile.model_validate(data)


def batch_of(decider: Decider, rng: np.random.Generator, n: int, now: datetime, codes: list[int]) -> Batch:
    people = customers(rng, n, len(decider.catalog.channels), WORDS)
    return Batch(
        words=rng.integers(0, 2**64, (n, 2), np.uint64),
        groups=rng.choice(codes, n).astype(np.uint8),
        context=people.context,
        history=people.history,
        touches=rng.integers(0, 4, n),
        schedules=[decider.catalog.schedule(ZoneInfo(zone) if zone else None, now) for zone in ZONES],
        schedule_of=rng.integers(0, len(ZONES), n),
    )


def regrouped(batch: Batch, group: Group) -> Batch:
    return replace(batch, groups=np.full(len(batch), GROUPS.index(group), np.uint8))


def sent(decider: Decider, choices: Choices) -> NDArray[np.bool_]:
    """(n,) whether something is sent."""
    sending: NDArray[np.bool_] = (choices.arm >= 0) & (choices.arm != decider.catalog.no_send)
    return sending


def facts_of(batch: Batch) -> dict[str, NDArray[Any]]:
    """Attributes and history features by name."""
    return {**batch.context, **batch.history}


def details(choices: Choices) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    assert choices.removed is not None
    return choices.removed, choices.scores


def same(a: Choices, b: Choices) -> bool:
    pairs = [(getattr(a, name), getattr(b, name)) for name in Choices.__slots__]
    return all((x is None and y is None) or np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)


def holds(rule: dict[str, Any], facts: dict[str, Any]) -> bool | None:
    """A rule for one customer, in three-valued logic; None: unknown."""
    if "not" in rule:
        inner = holds(rule["not"], facts)
        return None if inner is None else not inner
    if "any" in rule:
        values = [holds(part, facts) for part in rule["any"]]
        return True if True in values else None if None in values else False
    value, operand = facts[rule["attr"]], rule["value"]
    if value is None or value != value:  # noqa: PLR0124 -- NaN is missing
        return None
    if rule["op"] == "in":
        return value in operand
    return bool({"==": operator.eq, ">": operator.gt, ">=": operator.ge}[rule["op"]](value, operand))


def expected_reason(decider: Decider, batch: Batch, row: int, k: int) -> Reason | None:  # noqa: PLR0911 -- a list
    """Why a customer may not have an arm, worked out from the campaign's text; None where they may."""
    data, arm = decider.campaign.model_dump(mode="json", by_alias=True), decider.catalog.arms[k]
    facts = {name: column[row] for name, column in facts_of(batch).items() if column.ndim == 1}
    zone = ZONES[batch.schedule_of[row]]
    schedule = batch.schedules[batch.schedule_of[row]]
    if data["audience"] and not holds(data["audience"], facts):
        return Reason.NOT_IN_AUDIENCE
    if arm.message is None:
        return None
    spec = next(m for m in data["catalog"]["messages"] if m["id"] == arm.message)
    if arm.channel and arm.channel not in spec["creatives"]:
        return Reason.NO_CREATIVE_FOR_CHANNEL
    now = from_us(schedule.now_us)
    send: datetime | None = now
    if arm.slot:
        if zone is None:
            return Reason.NO_TIMEZONE
        slots = [s["id"] for s in data["catalog"]["timing"]["slots"]]
        window = schedule.windows[slots.index(arm.slot)]
        send = from_us(window.send_us) if window else None
    ends = decider.campaign.campaign.ends_at
    if send is None or (ends and send >= ends):
        return Reason.OUTSIDE_HORIZON
    day = send.astimezone(ZoneInfo(zone or "UTC")).date().isoformat()
    if spec["active"] and not spec["active"]["from"] <= day <= spec["active"]["until"]:
        return Reason.ARM_INACTIVE
    if spec["eligibility"] and not holds(spec["eligibility"], facts):
        return Reason.INELIGIBLE_ARM
    most = decider.campaign.campaign.max_touches_per_customer
    return Reason.MAX_TOUCHES if most is not None and batch.touches[row] >= most else None


@settings(max_examples=80)
@given(cases())
def test_every_arm_is_removed_for_its_first_cause_and_for_no_other(case: Case) -> None:
    removed = case.decider.removed(case.batch)
    for row in range(len(case.batch)):
        for k in range(len(case.decider.catalog)):
            code = int(removed[row, k])
            assert (Reason.from_code(code) if code else None) is expected_reason(case.decider, case.batch, row, k)


@settings(max_examples=60)
@given(cases())
def test_all_groups_have_the_same_candidates_and_scores(case: Case) -> None:
    """Promise 7."""
    expected = details(case.decider.decide(case.batch, case.scorer))
    for group in Group:
        if group is Group.BAU and not case.decider.campaign.groups.bau:
            continue
        removed, scores = details(case.decider.decide(regrouped(case.batch, group), case.scorer))
        assert (removed == expected[0]).all()
        assert (scores is None) == (expected[1] is None) == (case.scorer is None)
        if scores is not None:
            assert (scores == expected[1]).all()


@settings(max_examples=100)
@given(cases())
def test_the_arm_is_drawn_from_what_filtering_left_with_the_logged_propensity(case: Case) -> None:
    """Promise 1: nobody gets a removed arm, and the propensity is that of the distribution over the candidates."""
    decider, batch = case.decider, case.batch
    choices = decider.decide(batch, case.scorer)
    removed, scores = details(choices)
    allowed = removed == 0
    snapshot = case.scorer.snapshot if case.scorer else None
    for row in range(len(batch)):
        group, arm = GROUPS[batch.groups[row]], int(choices.arm[row])
        if arm < 0:
            assert np.isnan(choices.propensity[row])
            continue
        assert allowed[row, arm]
        p = np.zeros(len(decider.catalog))
        exploration = decider.exploration(group, snapshot)
        if exploration.kind != "fixed" or exploration.arm >= 0:
            p = exploration.probabilities(None if scores is None else scores[[row]], allowed[[row]])[0]
        assert choices.propensity[row] == (p[arm] if p.any() else 1.0)
        assert p.any() or arm == decider.catalog.no_send


@settings(max_examples=100)
@given(cases())
def test_every_customer_gets_something_or_one_reason(case: Case) -> None:
    """Promise 11."""
    decider, batch = case.decider, case.batch
    choices = decider.decide(batch, case.scorer)
    removed, _ = details(choices)
    sending = sent(decider, choices)
    assert ((choices.reason == 0) == sending).all()
    for row in np.flatnonzero(~sending).tolist():
        reason, group = Reason.from_code(int(choices.reason[row])), GROUPS[batch.groups[row]]
        sendable = [k for k, arm in enumerate(decider.catalog.arms) if arm.message is not None]
        outside = bool((removed[row] == Reason.NOT_IN_AUDIENCE.code).all())
        bau = decider.campaign.groups.bau
        if outside:
            assert reason is Reason.NOT_IN_AUDIENCE
            assert choices.arm[row] == -1
        elif group is Group.HOLDOUT:
            assert reason is Reason.HOLDOUT
        elif group is Group.BAU:
            assert bau is not None
            parts = (bau.arm.message, bau.arm.channel, bau.arm.timing)
            wanted = decider.catalog.index["/".join(part for part in parts if part)]
            assert reason.code == removed[row, wanted]
        elif (removed[row, sendable] == 0).any():
            assert reason is Reason.CHOSE_NO_SEND
        else:
            assert reason.code in removed[row, sendable]
        if not outside and decider.catalog.no_send >= 0:
            assert choices.arm[row] == decider.catalog.no_send


@settings(max_examples=60)
@given(cases())
def test_holdout_is_never_contacted_and_bau_gets_its_arm_or_nothing(case: Case) -> None:
    decider = case.decider
    held = decider.decide(regrouped(case.batch, Group.HOLDOUT), case.scorer)
    assert not sent(decider, held).any()
    assert set(held.propensity[held.arm >= 0].tolist()) <= {1.0}
    bau = decider.campaign.groups.bau
    if bau:
        usual = decider.decide(regrouped(case.batch, Group.BAU), case.scorer)
        wanted = decider.exploration(Group.BAU, None).arm
        arms = np.where(details(usual)[0][:, wanted] == 0, wanted, -1)
        assert (usual.arm[sent(decider, usual)] == wanted).all()
        assert (sent(decider, usual) == (arms >= 0)).all()


@settings(max_examples=60)
@given(cases())
def test_without_a_model_and_in_random_control_the_draw_is_uniform(case: Case) -> None:
    """Promise 9."""
    decider = case.decider
    for choices in (
        decider.decide(regrouped(case.batch, Group.TREATMENT), None),
        decider.decide(regrouped(case.batch, Group.RANDOM_CONTROL), case.scorer),
    ):
        allowed = details(choices)[0] == 0
        count = allowed.sum(axis=1)
        assert ((choices.arm >= 0) == (count > 0)).all()
        drawn = choices.arm >= 0
        assert choices.propensity[drawn] == pytest.approx(1 / count[drawn], abs=1e-15)


@settings(max_examples=60)
@given(cases())
def test_a_customer_is_decided_alike_alone_and_in_a_batch(case: Case) -> None:
    """Promise 12, to the last bit, without the details too."""
    whole = case.decider.decide(case.batch, case.scorer)
    for row in range(len(case.batch)):
        alone = case.decider.decide(case.batch.rows(row, row + 1), case.scorer)
        for name in Choices.__slots__:
            one, all_of_them = getattr(alone, name), getattr(whole, name)
            assert (one is None) == (all_of_them is None)
            if one is not None:
                assert np.array_equal(one[0], all_of_them[row], equal_nan=one.dtype.kind == "f")
    assert same(case.decider.decide(case.batch, case.scorer, details=False), replace(whole, removed=None, scores=None))


def test_chunks_and_threads_change_nothing() -> None:
    groups = {"holdout": 0.1, "bau": {"share": 0.1, "arm": {"message": "m0", "channel": "ch0", "timing": "s0"}}}
    campaign = campaign_of(
        messages=4, channels=2, slots=3, features=("n0", "n1", "k0", "k1", "mc"), groups=groups, audience=RULES[1]
    )
    decider, rng = Decider(campaign), np.random.default_rng(0)
    learner = Learner(decider.space, "one")
    learner.learn(log(rng, decider.space, 100).lessons(decider.space))
    scorer = decider.scorer(learner.snapshot())
    batch = batch_of(decider, rng, 2 * CHUNK + 77, NOW, [0, 1, 2, 3])
    one = decider.decide(batch, scorer, workers=1)
    assert same(one, decider.decide(batch, scorer, workers=4))
    assert same(one, decider.decide(batch, scorer))
    for row in range(CHUNK - 3, CHUNK + 3):
        assert decider.decide(batch.rows(row, row + 1), scorer).arm[0] == one.arm[row]
    assert len(set(one.arm.tolist())) > 10


def test_nobody_at_all_is_decided_without_complaint() -> None:
    decider = Decider(campaign_of(features=("n0",)))
    batch = batch_of(decider, np.random.default_rng(0), 0, NOW, [0])
    assert len(decider.decide(batch, None).arm) == 0


def test_the_draw_depends_on_the_decision_and_the_campaign_alone() -> None:
    campaign = campaign_of(messages=9)
    batch = batch_of(Decider(campaign), np.random.default_rng(1), 200, NOW, [0])
    arms = [Decider(campaign, tenant).decide(batch, None).arm.tolist() for tenant in ("default", "default", "other")]
    assert arms[0] == arms[1] != arms[2]


def decided(campaign: CampaignFile, group: Group, **facts: object) -> tuple[str | None, float, str | None]:
    """Arm, propensity and reason of one customer of this group, about whom this is known."""
    decider = Decider(campaign)
    one = batch_of(decider, np.random.default_rng(0), 1, NOW, [GROUPS.index(group)])
    columns: dict[str, Any] = {
        name: np.array([value], object if value is None or isinstance(value, str) else float)
        for name, value in facts.items()
        if name in one.context
    }
    touches = np.array([facts.get("touches", 0)])
    choices = decider.decide(replace(one, context={**one.context, **columns}, touches=touches), None)
    arm, code = int(choices.arm[0]), int(choices.reason[0])
    return (
        decider.catalog.arms[arm].id if arm >= 0 else None,
        float(choices.propensity[0]),
        Reason.from_code(code).value if code else None,
    )


@pytest.mark.parametrize(
    "rule", [{"attr": "k0", "op": "!=", "value": "x"}, {"not": {"attr": "k0", "op": "==", "value": "x"}}]
)
def test_a_customer_with_a_missing_value_is_neither_in_the_audience_nor_eligible(rule: dict[str, Any]) -> None:
    for value, arm, reason in (("gold", "m0", None), ("x", None, "not_in_audience"), (None, None, "not_in_audience")):
        campaign = campaign_of(messages=1, no_send=False, audience=rule)
        assert decided(campaign, Group.TREATMENT, k0=value)[::2] == (arm, reason)
    for value, arm, reason in (
        ("gold", "m0", None),
        ("x", "no_send", "ineligible_arm"),
        (None, "no_send", "ineligible_arm"),
    ):
        groups = {"bau": {"share": 1.0, "arm": {"message": "m0"}}}
        campaign = campaign_of(messages=[message(0, 0, eligibility=rule)], groups=groups)
        assert decided(campaign, Group.BAU, k0=value) == (arm, 1.0, reason)


def test_after_the_last_touch_allowed_only_no_send_is_left() -> None:
    campaign = campaign_of(messages=3, settings={"max_touches_per_customer": 2})
    assert decided(campaign, Group.TREATMENT, touches=1)[1] == 0.25
    assert decided(campaign, Group.TREATMENT, touches=2) == ("no_send", 1.0, "max_touches")
    without = campaign_of(messages=3, no_send=False, settings={"max_touches_per_customer": 2})
    arm, propensity, reason = decided(without, Group.TREATMENT, touches=2)
    assert (arm, reason) == (None, "max_touches")
    assert np.isnan(propensity)


def test_a_holdout_of_a_campaign_without_no_send_has_no_arm_at_all() -> None:
    arm, propensity, reason = decided(campaign_of(no_send=False), Group.HOLDOUT)
    assert (arm, reason) == (None, "holdout")
    assert np.isnan(propensity)


def test_a_bau_arm_that_is_not_allowed_becomes_no_send_with_its_reason() -> None:
    groups = {"bau": {"share": 1.0, "arm": {"message": "m0"}}}
    inactive = {"from": "2027-01-01", "until": "2027-01-02"}
    campaign = campaign_of(messages=[message(0, 0, active=inactive), message(1, 0)], groups=groups)
    assert decided(campaign, Group.BAU) == ("no_send", 1.0, "arm_inactive")
    assert decided(campaign_of(groups=groups), Group.BAU) == ("m0", 1.0, None)


def test_of_several_causes_the_most_frequent_is_the_reason() -> None:
    never = {"attr": "k0", "op": "==", "value": "nobody"}
    inactive = {"from": "2027-01-01", "until": "2027-01-02"}
    messages = [message(0, 0, active=inactive), message(1, 0, eligibility=never), message(2, 0, eligibility=never)]
    assert decided(campaign_of(messages=messages), Group.TREATMENT, k0="gold") == ("no_send", 1.0, "ineligible_arm")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"kind": "squarecb", "uniform_share": 0.1}, Exploration("squarecb", 0.0, 0.1)),
        ({"kind": "epsilon_greedy", "epsilon": 0.3}, Exploration("epsilon_greedy", 0.3)),
        ({"kind": "softmax", "softmax_lambda": 7.0}, Exploration("softmax", 7.0)),
        ({"kind": "greedy"}, Exploration("greedy")),
        ({"kind": "uniform"}, Exploration("uniform")),
    ],
)
def test_each_group_has_its_policy(policy: dict[str, Any], expected: Exploration) -> None:
    groups = {"bau": {"share": 0.5, "arm": {"message": "m1"}}}
    decider = Decider(campaign_of(policy=policy, groups=groups))
    assert decider.exploration(Group.TREATMENT, None) == expected
    assert decider.exploration(Group.RANDOM_CONTROL, None) == Exploration("uniform")
    assert decider.exploration(Group.BAU, None) == Exploration("fixed", arm=1)
    assert decider.exploration(Group.HOLDOUT, None) == Exploration("fixed", arm=2)


def test_squarecb_takes_its_gamma_from_the_snapshot() -> None:
    decider = Decider(campaign_of())
    learner = Learner(decider.space, "one")
    learner.learn(log(np.random.default_rng(0), decider.space, 20).lessons(decider.space))
    snapshot = learner.snapshot()
    assert decider.exploration(Group.TREATMENT, snapshot) == Exploration("squarecb", snapshot.gamma)
    assert snapshot.gamma > 0.0


def test_deciding_leaves_the_facts_as_they_were() -> None:
    decider = Decider(campaign_of(channels=2, features=("n0", "n1", "hours_since_last_touch_on_channel")))
    learner = Learner(decider.space, "one")
    rng = np.random.default_rng(0)
    learner.learn(log(rng, decider.space, 20).lessons(decider.space))
    batch = batch_of(decider, rng, 30, NOW + timedelta(days=1), [0])
    before = {name: column.copy() for name, column in facts_of(batch).items()}
    decider.decide(batch, decider.scorer(learner.snapshot()))
    for name, column in facts_of(batch).items():
        assert np.array_equal(column, before[name], equal_nan=column.dtype.kind == "f")
