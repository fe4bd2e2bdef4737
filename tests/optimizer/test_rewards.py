"""Rewards as a function of the logs: examples by hand, and every join against a slow reference that shares no code."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, TypedDict, Unpack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.campaign import CampaignFile
from optimizer.rewards import (
    DecisionFacts,
    EventFacts,
    JoinedReward,
    OfferCost,
    RewardEvent,
    RewardSpec,
    Standing,
    join,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

HOUR = 3_600_000_000
DAY = 24 * HOUR

CLICK = RewardEvent("clicked", 2 * DAY, value=0.05)
BUY = RewardEvent("purchased", 7 * DAY, value_from="margin", cap=500.0)
LEAVE = RewardEvent("unsubscribed", 7 * DAY, value=-5.0)
SPEC = RewardSpec(
    events=(CLICK, BUY, LEAVE),
    lateness_us=DAY,
    horizon_us=2 * DAY,
    subtract_costs=True,
    channel_costs={"email": 0.001, "sms": 0.04},
    offer_costs={"ten_percent": OfferCost(4.0, "used"), "free_item": OfferCost(2.0, "sent")},
)
CLOSE = 9 * DAY
MATURE = 10 * DAY


class Made(TypedDict, total=False):
    campaign_id: str
    subject_id: str
    spec: RewardSpec
    message: str
    channel: str
    send_us: int
    sent_us: int
    sent_known_us: int


class Named(TypedDict, total=False):
    decision_id: str
    subject_id: str
    fields: Mapping[str, object]


def decision(decision_id: str = "d1", at_us: int = 0, **facts: Unpack[Made]) -> DecisionFacts:
    return replace(DecisionFacts(decision_id, "c", "s", at_us, SPEC), **facts)


def event(event_id: str, name: str, at_us: int, received_us: int | None = None, **facts: Unpack[Named]) -> EventFacts:
    return EventFacts(event_id, name, at_us, at_us if received_us is None else received_us, **facts)


def by_customer(
    event_id: str, name: str, at_us: int, received_us: int | None = None, **facts: Unpack[Named]
) -> EventFacts:
    return replace(event(event_id, name, at_us, received_us, **facts), subject_id="s")


def standings(reward: JoinedReward) -> dict[str, Standing]:
    return {part.event_id: part.standing for part in reward.parts}


def test_all_arms_close_at_the_same_time_after_horizon_and_longest_window() -> None:
    no_send, sent = join([decision(), decision("d2", send_us=DAY, sent_us=DAY, channel="email")], [])
    assert SPEC.close_us(0) == CLOSE
    assert no_send.mature_us == sent.mature_us == SPEC.mature_us(0) == MATURE


def test_a_decision_without_events_earns_the_default_less_what_its_sending_cost() -> None:
    spec = replace(SPEC, default=0.5)
    silent, sent, planned = join(
        [
            decision(spec=spec),
            decision("d2", spec=spec, message="free_item", channel="sms", send_us=DAY, sent_us=DAY),
            decision("d3", spec=spec, message="free_item", channel="sms", send_us=DAY),
        ],
        [],
    )
    assert (silent.reward, planned.reward) == (0.5, 0.5)
    assert sent.reward == pytest.approx(0.5 - 0.04 - 2.0)
    assert sent.touch_cost == pytest.approx(2.04)
    assert (sent.gross, sent.use_cost) == (0.5, 0.0)


def test_costs_are_left_alone_when_the_campaign_does_not_subtract_them() -> None:
    spec = replace(SPEC, subtract_costs=False)
    used = event("e1", "used", HOUR, decision_id="d1")
    [reward] = join([decision(spec=spec, message="ten_percent", channel="sms", send_us=0, sent_us=0)], [used])
    assert reward.reward == 0.0
    assert reward.parts == ()


def test_an_offer_that_costs_when_used_costs_once_however_often_it_is_used() -> None:
    made = decision(message="ten_percent", channel="email", send_us=0, sent_us=0)
    uses = [event(f"e{hour}", "used", hour * HOUR, decision_id="d1") for hour in (1, 2)]
    [reward] = join([made], uses)
    assert reward.use_cost == 4.0
    assert reward.reward == pytest.approx(-4.001)
    assert reward.gross == 0.0


def test_a_use_of_an_offer_costs_the_decision_that_offered_it_although_a_later_one_was_made() -> None:
    offered, later = decision(message="ten_percent"), decision("d2", DAY)
    first, second = join([offered, later], [by_customer("e1", "used", 2 * DAY)])
    assert (first.use_cost, second.use_cost) == (4.0, 0.0)


def test_a_use_received_too_late_costs_nothing() -> None:
    [reward] = join([decision(message="ten_percent")], [by_customer("e1", "used", DAY, MATURE + 1)])
    assert reward.use_cost == 0.0
    assert standings(reward) == {"e1": Standing.LATE}


def test_a_send_reported_after_maturity_costs_nothing() -> None:
    reported = decision(channel="sms", send_us=DAY, sent_us=DAY, sent_known_us=MATURE)
    reported_late = replace(reported, decision_id="d2", sent_known_us=MATURE + 1)
    in_time, late = join([reported, reported_late], [])
    assert (in_time.touch_cost, late.touch_cost) == (0.04, 0.0)


@pytest.mark.parametrize(("at_us", "standing"), [(0, Standing.COUNTED), (CLOSE, Standing.COUNTED), (CLOSE + 1, None)])
def test_a_customers_purchase_is_shown_from_the_decision_to_the_close(at_us: int, standing: Standing | None) -> None:
    [reward] = join([decision()], [by_customer("e1", "purchased", at_us, fields={"margin": 20})])
    assert standings(reward).get("e1") is standing


@pytest.mark.parametrize(
    ("at_us", "standing"),
    [
        (-1, Standing.OUTSIDE_WINDOW),
        (0, Standing.COUNTED),
        (CLOSE, Standing.COUNTED),
        (CLOSE + 1, Standing.OUTSIDE_WINDOW),
    ],
)
def test_a_purchase_counts_from_the_decision_through_horizon_and_window(at_us: int, standing: Standing) -> None:
    bought = event("e1", "purchased", at_us, decision_id="d1", fields={"margin": 20})
    [reward] = join([decision(send_us=DAY, sent_us=DAY)], [bought])
    assert standings(reward) == {"e1": standing}
    assert reward.reward == (20.0 if standing is Standing.COUNTED else 0.0)


@pytest.mark.parametrize(
    ("facts", "start_us"),
    [
        ({"send_us": DAY, "sent_us": DAY + HOUR}, DAY + HOUR),
        ({"send_us": DAY}, DAY),
        ({}, 0),
        ({"sent_us": -HOUR}, 0),
    ],
    ids=["sent", "planned and not sent", "nothing to send", "reported as sent before the decision"],
)
@pytest.mark.parametrize("link", [Named(decision_id="d1"), Named(subject_id="s")], ids=["named", "customer only"])
def test_a_click_counts_from_the_send_for_its_own_window(facts: Made, start_us: int, link: Named) -> None:
    instants = {"first": start_us, "before": start_us - 1, "last": start_us + 2 * DAY, "after": start_us + 2 * DAY + 1}
    [reward] = join([decision(**facts)], [event(key, "clicked", at, **link) for key, at in instants.items()])
    counted = {key for key, standing in standings(reward).items() if standing is Standing.COUNTED}
    assert counted == {"first", "last"}


def test_no_window_reaches_past_the_close_however_late_the_send() -> None:
    made = decision(sent_us=8 * DAY)
    [reward] = join(
        [made], [event(key, "unsubscribed", at, decision_id="d1") for key, at in {"a": CLOSE, "b": CLOSE + 1}.items()]
    )
    assert standings(reward) == {"a": Standing.COUNTED, "b": Standing.OUTSIDE_WINDOW}


@pytest.mark.parametrize(("received_us", "standing"), [(MATURE, Standing.COUNTED), (MATURE + 1, Standing.LATE)])
def test_an_event_received_after_close_and_lateness_is_shown_as_late_and_not_counted(
    received_us: int, standing: Standing
) -> None:
    [reward] = join([decision()], [event("e1", "clicked", HOUR, received_us, decision_id="d1")])
    assert standings(reward) == {"e1": standing}
    assert reward.reward == (0.05 if standing is Standing.COUNTED else 0.0)


def test_an_event_that_names_a_decision_counts_for_it_although_a_later_one_was_made() -> None:
    bought = event("e1", "purchased", 2 * DAY, decision_id="d1", subject_id="s", fields={"margin": 3.0})
    first, second = join([decision(), decision("d2", DAY)], [bought])
    assert (first.reward, second.reward) == (3.0, 0.0)
    assert second.parts == ()


def test_an_event_that_names_only_a_customer_counts_for_the_latest_decision_whose_window_contains_it() -> None:
    bought = by_customer("e1", "purchased", 2 * DAY, fields={"margin": 3.0})
    first, second, third = join([decision(), decision("d2", DAY), decision("d3", 3 * DAY)], [bought])
    assert (first.reward, second.reward, third.reward) == (0.0, 3.0, 0.0)
    assert [(part.standing, part.note) for part in first.parts] == [(Standing.OTHER_DECISION, "d2")]
    assert third.parts == ()


def test_a_later_decision_that_was_not_sent_yet_does_not_take_an_earlier_ones_click() -> None:
    clicked = by_customer("e1", "clicked", DAY + HOUR)
    first, second = join([decision(send_us=HOUR, sent_us=HOUR), decision("d2", DAY, send_us=2 * DAY)], [clicked])
    assert standings(first) == {"e1": Standing.COUNTED}
    assert standings(second) == {"e1": Standing.OUTSIDE_WINDOW}


def test_a_decision_not_to_send_takes_the_customers_events_from_an_earlier_touch() -> None:
    touch = decision(message="ten_percent", channel="email", send_us=0, sent_us=0)
    no_send = decision("d2", DAY)
    first, second = join([touch, no_send], [by_customer("e1", "purchased", 2 * DAY, fields={"margin": 10.0})])
    assert (first.gross, second.gross) == (0.0, 10.0)


def test_a_sibling_that_is_not_closed_now_keeps_what_is_its_own() -> None:
    bought = by_customer("e1", "purchased", 2 * DAY, fields={"margin": 3.0})
    [alone] = join([decision()], [bought])
    [beside] = join([decision()], [bought], siblings=[decision("d2", DAY)])
    assert (alone.reward, beside.reward) == (3.0, 0.0)


def test_each_campaign_may_learn_from_the_same_event_unless_the_event_names_a_campaign() -> None:
    made = [decision(), decision("d2", campaign_id="other")]
    everywhere = by_customer("e1", "clicked", HOUR)
    assert [reward.reward for reward in join(made, [everywhere])] == [0.05, 0.05]
    assert [reward.reward for reward in join(made, [replace(everywhere, campaign_id="other")])] == [0.0, 0.05]


def test_decisions_made_at_one_instant_leave_the_event_to_the_greater_id() -> None:
    clicked = by_customer("e1", "clicked", HOUR)
    rewards = join([decision("d2"), decision("d1")], [clicked])
    assert [reward.reward for reward in rewards] == [0.05, 0.0]


def test_a_value_from_a_field_is_capped_on_both_sides() -> None:
    events = [
        event("e1", "purchased", HOUR, decision_id="d1", fields={"margin": 900}),
        event("e2", "purchased", HOUR, decision_id="d1", fields={"margin": -900.5}),
        event("e3", "purchased", HOUR, decision_id="d1", fields={"margin": 499.5}),
    ]
    [reward] = join([decision()], events)
    assert [part.value for part in reward.parts] == [500.0, -500.0, 499.5]
    assert reward.reward == 499.5


@pytest.mark.parametrize(
    "fields", [{}, {"margin": None}, {"margin": "12"}, {"margin": True}, {"margin": float("nan")}, {"margin": 10**400}]
)
def test_a_value_that_is_missing_or_not_a_number_is_reported_and_counts_nothing(fields: dict[str, object]) -> None:
    spec = replace(SPEC, default=1.5)
    [reward] = join([decision(spec=spec)], [event("e1", "purchased", HOUR, decision_id="d1", fields=fields)])
    assert standings(reward) == {"e1": Standing.NO_VALUE}
    assert reward.reward == 1.5
    [problem] = reward.problems
    assert "e1" in problem
    assert "'margin'" in problem


def test_first_and_last_go_by_the_instant_of_occurrence_and_then_by_event_id() -> None:
    events = [
        event("e3", "purchased", 2 * HOUR, HOUR * 3, decision_id="d1", fields={"margin": 3}),
        event("e2", "purchased", HOUR, HOUR * 9, decision_id="d1", fields={"margin": 2}),
        event("e1", "purchased", HOUR, HOUR * 10, decision_id="d1", fields={"margin": 1}),
        event("e4", "purchased", 2 * HOUR, HOUR * 2, decision_id="d1", fields={"margin": 4}),
    ]
    rewards = {
        aggregate: join([decision(spec=replace(SPEC, aggregate=aggregate))], events)[0]
        for aggregate in ("first", "sum", "last")
    }
    assert {aggregate: reward.reward for aggregate, reward in rewards.items()} == {
        "first": 1.0,
        "sum": 10.0,
        "last": 4.0,
    }
    assert [part.standing for part in rewards["last"].parts] == [Standing.SUPERSEDED] * 3 + [Standing.COUNTED]


def test_the_first_event_that_has_a_value_is_taken_where_an_earlier_one_has_none() -> None:
    events = [
        event("e1", "purchased", HOUR, decision_id="d1"),
        event("e2", "clicked", 2 * HOUR, decision_id="d1"),
    ]
    [reward] = join([decision(spec=replace(SPEC, aggregate="first"))], events)
    assert reward.reward == 0.05


def test_an_event_that_is_no_part_of_the_reward_is_passed_over() -> None:
    [reward] = join(
        [decision(send_us=0)], [event("e1", "delivered", HOUR, decision_id="d1"), by_customer("e2", "visited", HOUR)]
    )
    assert reward.parts == ()
    assert reward.reward == 0.0


def test_a_send_reported_late_moves_the_window_only_if_known_before_any_candidate_can_have_closed() -> None:
    earlier = decision("d1", send_us=0, sent_us=0)
    later = decision("d2", DAY, send_us=DAY + HOUR, sent_us=2 * DAY)
    clicked = by_customer("e1", "clicked", DAY + 2 * HOUR)
    known, unknown = DAY + 2 * HOUR + DAY, DAY + 2 * HOUR + DAY + 1
    moved = join([earlier, replace(later, sent_known_us=known)], [clicked])
    kept = join([earlier, replace(later, sent_known_us=unknown)], [clicked])
    assert [reward.gross for reward in moved] == [0.05, 0.0]
    assert [reward.gross for reward in kept] == [0.0, 0.05]


def test_candidates_of_versions_with_different_lateness_agree_on_a_send_reported_late() -> None:
    earlier = decision("d1", spec=replace(SPEC, lateness_us=HOUR))
    later = decision("d2", DAY, spec=replace(SPEC, lateness_us=5 * DAY), send_us=CLOSE, sent_us=2 * DAY, channel="sms")
    unsubscribed = by_customer("e1", "unsubscribed", 7 * DAY)
    unsent = replace(later, sent_us=None)
    known = replace(later, sent_known_us=7 * DAY + 2 * HOUR)
    assert [reward.gross for reward in join([earlier, unsent], [unsubscribed])] == [-5.0, 0.0]
    assert [reward.gross for reward in join([earlier, known], [unsubscribed])] == [-5.0, 0.0]


def test_of_two_events_with_one_id_the_one_received_first_counts() -> None:
    original = event("e1", "purchased", HOUR, 2 * HOUR, decision_id="d1", fields={"margin": 3.0})
    changed = replace(original, received_us=3 * HOUR, fields={"margin": 9.0})
    assert [join([decision()], pair)[0].reward for pair in ([original, changed], [changed, original])] == [3.0, 3.0]


def test_the_reward_of_a_campaign_file_has_its_windows_values_and_costs() -> None:
    file = CampaignFile.model_validate(
        {
            "version": 1,
            "campaign": {"id": "c", "name": "C", "kind": "experiment", "category": "marketing"}
            | {"starts_at": "2026-01-10T00:00:00Z"},
            "catalog": {
                "messages": [
                    {
                        "id": "ten_percent",
                        "offer": {"id": "off10", "type": "discount", "value": 10, "unit": "percent"}
                        | {"cost": 4.0, "cost_on": "used"},
                        "creatives": {"sms": {"template": "t", "version": 1}},
                    },
                    {"id": "hello", "creatives": {"sms": {"template": "t", "version": 1}}},
                ],
                "channels": [{"id": "sms", "cost": 0.04}],
                "timing": {
                    "horizon": "48h",
                    "slots": [{"id": "evening", "days": "all", "from": "18:00", "to": "20:30"}],
                },
            },
            "reward": {
                "lateness": "24h",
                "default": 0.5,
                "aggregate": "last",
                "events": [
                    {"name": "clicked", "value": 0.05, "window": "2d"},
                    {"name": "purchased", "value_from": "margin", "cap": 500, "window": "7d"},
                ],
                "subtract_costs": True,
            },
        }
    )
    spec = RewardSpec.of(file)
    assert spec == RewardSpec(
        events=(CLICK, BUY),
        lateness_us=DAY,
        horizon_us=2 * DAY,
        default=0.5,
        aggregate="last",
        subtract_costs=True,
        channel_costs={"sms": 0.04},
        offer_costs={"ten_percent": OfferCost(4.0, "used")},
    )
    assert spec.close_us(HOUR) == HOUR + CLOSE


def reference_window(made: DecisionFacts, name: str, known_us: int) -> range | None:
    """Instants at which an event of this name counts."""
    spec = made.spec
    longest = 0
    own = None
    for definition in spec.events:
        longest = max(longest, definition.window_us)
        if definition.name == name:
            own = definition.window_us
    end = made.decided_us + spec.horizon_us + longest
    if own is None:
        offer = spec.offer_costs.get(made.message) if made.message else None
        costs = spec.subtract_costs and offer is not None and offer.on == "used" and offer.amount != 0
        return range(made.decided_us, end + 1) if name == "used" and costs else None
    if name not in ("delivered", "opened", "clicked", "unsubscribed"):
        return range(made.decided_us, made.decided_us + spec.horizon_us + own + 1)
    start = made.decided_us
    recorded = made.sent_known_us if made.sent_known_us is not None else made.sent_us
    if made.sent_us is not None and recorded is not None and recorded <= known_us:
        start = max(start, made.sent_us)
    elif made.send_us is not None:
        start = max(start, made.send_us)
    return range(start, min(start + own, end) + 1)


def reference_owner(everyone: list[DecisionFacts], happened: EventFacts, campaign_id: str) -> str | None:
    """The decision of the campaign that has the event."""
    if happened.decision_id is not None:
        return happened.decision_id
    if happened.campaign_id not in (None, campaign_id):
        return None
    candidates = []
    for made in everyone:
        longest = max((definition.window_us for definition in made.spec.events), default=0)
        if (
            made.campaign_id == campaign_id
            and made.subject_id == happened.subject_id
            and made.decided_us <= happened.occurred_us <= made.decided_us + made.spec.horizon_us + longest
        ):
            candidates.append(made)
    if not candidates:
        return None
    known = happened.occurred_us + min(made.spec.lateness_us for made in candidates)
    owner = None
    for made in sorted(candidates, key=lambda made: (made.decided_us, made.decision_id)):
        window = reference_window(made, happened.name, known)
        if window is not None and happened.occurred_us in window:
            owner = made.decision_id
    return owner


def reference_counts(made: DecisionFacts, everyone: list[DecisionFacts], happened: EventFacts, mature: int) -> bool:
    """Whether the event counts for the decision."""
    if happened.received_us > mature:
        return False
    if reference_owner(everyone, happened, made.campaign_id) != made.decision_id:
        return False
    if happened.decision_id is None:
        return True
    window = reference_window(made, happened.name, mature)
    return window is not None and happened.occurred_us in window


def reference_value(spec: RewardSpec, happened: EventFacts) -> Fraction | None:
    """What the event is worth, exactly."""
    for definition in spec.events:
        if definition.name == happened.name:
            if definition.value is not None:
                return Fraction(definition.value)
            found = happened.fields.get(str(definition.value_from))
            if type(found) is not int or definition.cap is None:
                return None
            return sorted((Fraction(-definition.cap), Fraction(found), Fraction(definition.cap)))[1]
    return None


def reference_cost(made: DecisionFacts, mature: int, *, used: bool) -> Fraction:
    """What the touch and its offer cost, exactly."""
    spec = made.spec
    recorded = made.sent_known_us if made.sent_known_us is not None else made.sent_us
    sent = recorded is not None and made.sent_us is not None and recorded <= mature
    total = Fraction(0)
    if not spec.subtract_costs:
        return total
    if sent and made.channel:
        total += Fraction(spec.channel_costs[made.channel])
    offer = spec.offer_costs.get(made.message) if made.message else None
    if offer is not None and (sent if offer.on == "sent" else used):
        total += Fraction(offer.amount)
    return total


def reference_reward(made: DecisionFacts, everyone: list[DecisionFacts], events: list[EventFacts]) -> Fraction:
    """The reward of one decision, exactly."""
    spec = made.spec
    longest = max((definition.window_us for definition in spec.events), default=0)
    mature = made.decided_us + spec.horizon_us + longest + spec.lateness_us
    counted = [happened for happened in events if reference_counts(made, everyone, happened, mature)]
    values = sorted(
        (happened.occurred_us, happened.event_id, value)
        for happened in counted
        if (value := reference_value(spec, happened)) is not None
    )
    gross = Fraction(spec.default)
    if values and spec.aggregate == "sum":
        gross = sum((value for _, _, value in values), start=Fraction(0))
    elif values:
        gross = values[0 if spec.aggregate == "first" else -1][2]
    return gross - reference_cost(made, mature, used=any(happened.name == "used" for happened in counted))


NAMES = ("clicked", "opened", "purchased", "unsubscribed", "used", "visited")


@st.composite
def specs(draw: st.DrawFn) -> RewardSpec:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    events = []
    for name in names:
        window = draw(st.integers(0, 12))
        if draw(st.booleans()):
            events.append(RewardEvent(name, window, value=draw(st.sampled_from([-5.0, 0.25, 1.0]))))
        else:
            events.append(RewardEvent(name, window, value_from="margin", cap=float(draw(st.integers(0, 8)))))
    return RewardSpec(
        events=tuple(events),
        lateness_us=draw(st.integers(0, 6)),
        horizon_us=draw(st.integers(0, 6)),
        default=draw(st.sampled_from([0.0, 0.5])),
        aggregate=draw(st.sampled_from(["first", "sum", "last"])),
        subtract_costs=draw(st.booleans()),
        channel_costs={"email": 0.125, "sms": 0.5},
        offer_costs={"a": OfferCost(2.0, "used"), "b": OfferCost(3.0, "sent")},
    )


INSTANTS = st.integers(0, 30)
OPTIONAL_INSTANTS = st.none() | INSTANTS


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[DecisionFacts], list[EventFacts]]:
    """Decisions of two subjects in two campaigns, of two versions each, and their events, crowded together in time."""
    versions = draw(st.lists(specs(), min_size=1, max_size=2))
    decisions = [
        DecisionFacts(
            decision_id=f"d{i}",
            campaign_id=draw(st.sampled_from(["c1", "c2"])),
            subject_id=draw(st.sampled_from(["s1", "s2"])),
            decided_us=draw(INSTANTS),
            spec=draw(st.sampled_from(versions)),
            message=draw(st.sampled_from([None, "a", "b", "c"])),
            channel=draw(st.sampled_from([None, "email", "sms"])),
            send_us=draw(OPTIONAL_INSTANTS),
            sent_us=draw(OPTIONAL_INSTANTS),
            sent_known_us=draw(OPTIONAL_INSTANTS),
        )
        for i in range(draw(st.integers(1, 7)))
    ]
    events = []
    for i in range(draw(st.integers(0, 9))):
        names_decision = draw(st.booleans())
        occurred = draw(st.integers(0, 45))
        events.append(
            EventFacts(
                event_id=f"e{i}",
                name=draw(st.sampled_from(NAMES)),
                occurred_us=occurred,
                received_us=occurred + draw(st.integers(-2, 20)),
                decision_id=draw(st.sampled_from([*(made.decision_id for made in decisions), "unknown"]))
                if names_decision
                else None,
                campaign_id=draw(st.sampled_from([None, None, "c1"])),
                subject_id=draw(st.sampled_from(["s1", "s2", None])),
                fields=draw(st.sampled_from([{}, {"margin": 3}, {"margin": -9}, {"margin": "3"}, {"margin": True}])),
            )
        )
    return decisions, events


@settings(max_examples=400)
@given(logs())
def test_every_join_equals_a_row_by_row_reference(log: tuple[list[DecisionFacts], list[EventFacts]]) -> None:
    decisions, events = log
    for made, reward in zip(decisions, join(decisions, events), strict=True):
        assert reward.decision_id == made.decision_id
        assert Fraction(reward.reward) == reference_reward(made, decisions, events)


@given(logs(), st.randoms(use_true_random=False))
def test_order_of_arrival_and_doubling_change_nothing(
    log: tuple[list[DecisionFacts], list[EventFacts]], shuffler: random.Random
) -> None:
    decisions, events = log
    mixed = events + shuffler.sample(events, len(events) // 2)
    shuffler.shuffle(mixed)
    order = shuffler.sample(range(len(decisions)), len(decisions))
    again = join([decisions[i] for i in order], mixed)
    expected = join(decisions, events)
    assert again == [expected[i] for i in order]


@given(logs(), st.data())
def test_when_a_decision_is_joined_and_with_which_others_changes_nothing(
    log: tuple[list[DecisionFacts], list[EventFacts]], data: st.DataObject
) -> None:
    decisions, events = log
    chosen = data.draw(st.lists(st.sampled_from(decisions), unique_by=id, min_size=1))
    rest = [made for made in decisions if made not in chosen]
    expected = {reward.decision_id: reward for reward in join(decisions, events)}
    assert join(chosen, events, siblings=rest) == [expected[made.decision_id] for made in chosen]


@given(logs())
def test_a_decision_joined_at_its_maturity_is_never_changed_by_what_comes_later(
    log: tuple[list[DecisionFacts], list[EventFacts]],
) -> None:
    decisions, events = log
    final = join(decisions, events)
    for made, reward in zip(decisions, final, strict=True):
        now_us = reward.mature_us
        known = [
            replace(
                other,
                sent_us=other.sent_by(now_us),
                sent_known_us=other.sent_known_us if other.sent_by(now_us) is not None else None,
            )
            for other in decisions
            if other.decided_us <= now_us
        ]
        [mine] = [other for other in known if other.decision_id == made.decision_id]
        [early] = join([mine], [event for event in events if event.received_us <= now_us], siblings=known)
        assert early.reward == reward.reward
        assert [part for part in reward.parts if part.received_us <= now_us] == list(early.parts)


@given(logs())
def test_an_event_that_names_only_a_customer_is_credited_once_at_most_in_a_campaign(
    log: tuple[list[DecisionFacts], list[EventFacts]],
) -> None:
    decisions, events = log
    rewards = join(decisions, events)
    credited: dict[tuple[str, str], int] = {}
    for reward in rewards:
        for part in reward.parts:
            if part.standing in (Standing.COUNTED, Standing.SUPERSEDED, Standing.LATE, Standing.NO_VALUE):
                key = (reward.campaign_id, part.event_id)
                credited[key] = credited.get(key, 0) + 1
    assert all(count == 1 for count in credited.values())


@given(logs())
def test_the_parts_explain_the_reward(log: tuple[list[DecisionFacts], list[EventFacts]]) -> None:
    decisions, events = log
    for made, reward in zip(decisions, join(decisions, events), strict=True):
        values = [part.value for part in reward.parts if part.standing is Standing.COUNTED and part.value is not None]
        assert reward.gross == (sum(values) if values else made.spec.default)
        assert reward.reward == reward.gross - reward.touch_cost - reward.use_cost
        assert all(part.note for part in reward.parts if part.standing in (Standing.NO_VALUE, Standing.OTHER_DECISION))


def test_a_closing_of_twenty_thousand_decisions_looks_at_each_event_once() -> None:
    """Not a benchmark: a join that compares every decision with every event takes minutes here."""
    decisions = [
        decision(
            f"d{i}", (i * 7919 * HOUR) % DAY, subject_id=f"s{i % 15_000}", send_us=DAY, sent_us=DAY, channel="email"
        )
        for i in range(20_000)
    ]
    links = [Named(decision_id=f"d{i}") if i % 2 else Named(subject_id=f"s{i}") for i in range(5_000)]
    events = [event(f"e{i}", "clicked", DAY + HOUR, **link) for i, link in enumerate(links)]
    began = time.process_time()  # not the time of whatever runs beside
    rewards = join(decisions, events)
    took_s = time.process_time() - began
    assert took_s < 5.0
    assert sum(reward.gross for reward in rewards) == pytest.approx(0.05 * 5_000)
