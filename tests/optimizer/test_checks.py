from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.optimizer.example import TEXT, edited, found_in, messages_only, place

if TYPE_CHECKING:
    from pathlib import Path

ALLOWED_HISTORY = (
    "hours_since_last_touch, hours_since_last_touch_on_channel, touches_1d, touches_7d, touches_30d, last_message, "
    "last_channel, last_opened"
)

# Each: what is replaced, by what, what of it the problem points at, the path, and the message.
CROSSED = (
    "[plan, channel], [days_inactive, message], [churn_propensity, message], [language, message], "
    "[interests, message], [hours_since_last_touch, message], [touches_7d, message], [last_message, message]"
)
"""Crosses that leave out no feature of the example."""

CASES = [
    # undeclared attributes, and types that do not fit
    (
        "{attr: days_inactive, op",
        "{attr: days_inactiv, op",
        "days_inactiv,",
        "audience.all[0].attr",
        "days_inactiv is not declared in the attributes file, nor a history feature; did you mean days_inactive?",
    ),
    (
        "{attr: country, op: in, value: [US, MX]}",
        "{not: {any: [{attr: cuntry, op: missing}]}}",
        "cuntry",
        "catalog.messages[1].eligibility.all[0].not.any[0].attr",
        "cuntry is not declared in the attributes file, nor a history feature; did you mean country?",
    ),
    (
        "{attr: country, op: in, value: [US, MX]}",
        '{attr: country, op: "<", value: US}',
        '"<"',
        "catalog.messages[1].eligibility.all[0].op",
        "< does not suit country, a category; allowed: ==, !=, in, not_in, missing, present",
    ),
    (
        "{attr: country, op: in, value: [US, MX]}",
        "{attr: interests, op: ==, value: US}",
        "==, value: US",
        "catalog.messages[1].eligibility.all[0].op",
        "== does not suit interests, a multi_category; allowed: contains, missing, present",
    ),
    (
        "{attr: country, op: in, value: [US, MX]}",
        "{attr: country, op: in, value: [US, 3]}",
        "[US, 3]",
        "catalog.messages[1].eligibility.all[0].value",
        "country is a category: expected texts, got ['US', 3]",
    ),
    (
        'op: ">=", value: 60',
        'op: ">=", value: true',
        "true}",
        "audience.all[0].value",
        "days_inactive is a number: expected numbers, got True",
    ),
    (
        "{name: plan, bucket: customer, type: category}",
        "{name: plann, bucket: customer, type: category}",
        "plann",
        "features[0].name",
        "plann is not declared in the attributes file, nor a history feature; did you mean plan?",
    ),
    (
        "{name: plan, bucket: customer, type: category}",
        "{name: plan, bucket: customer, type: number}",
        "number}",
        "features[0].type",
        "plan is declared as category, not number",
    ),
    (
        "type: number, source: history}",
        "type: number}",
        "touches_7d",
        "features[6].name",
        "touches_7d is a history feature: it needs source: history",
    ),
    (
        "{name: touches_7d,",
        "{name: touches_8d,",
        "touches_8d",
        "features[6].name",
        f"no such history feature; did you mean touches_7d?; allowed: {ALLOWED_HISTORY}",
    ),
    (
        "{attr: timezone, fallback",
        "{attr: time_zone, fallback",
        "time_zone",
        "campaign.timezone.attr",
        "time_zone is not a declared category",
    ),
    # dangling references
    (
        "arm: {message: miss_you_warm,",
        "arm: {message: miss_you_worm,",
        "miss_you_worm",
        "groups.bau.arm.message",
        "no message is called miss_you_worm; did you mean miss_you_warm?; allowed: miss_you_warm, ten_percent",
    ),
    (
        "channel: email, timing: weekday_morning}",
        "channel: sms, timing: weekday_morning}",
        "sms, timing",
        "groups.bau.arm.channel",
        "miss_you_warm has no creative for sms; allowed: email, push",
    ),
    (
        "channel: email, timing: weekday_morning}",
        "channel: email}",
        "{message: miss_you_warm",
        "groups.bau.arm.timing",
        "required, since arms have a timing; allowed: weekday_morning, evening",
    ),
    (
        "  crosses: default",
        f"  crosses: [[plann, message], {CROSSED}]",
        "plann",
        "policy.crosses[0][0]",
        (
            "plann is neither a feature nor a dimension; did you mean plan?; allowed: plan, days_inactive, "
            "churn_propensity, language, interests, hours_since_last_touch, touches_7d, last_message, message, "
            "channel, timing"
        ),
    ),
    (
        "  crosses: default",
        f"  crosses: [[plan, language], {CROSSED}]",
        "[plan, language],",
        "policy.crosses[0]",
        "a cross needs at least one dimension, or it moves all arms alike; allowed: message, channel, timing",
    ),
    (
        "  crosses: default",
        f"  crosses: [[plan, message, plan], {CROSSED}]",
        "plan], [plan",
        "policy.crosses[0][2]",
        "plan is already in this cross",
    ),
    (
        "  crosses: default",
        f"  crosses: [[plan, interests, message], {CROSSED}]",
        "[plan, interests",
        "policy.crosses[0]",
        "interests is a multi_category: a pair is made of features of type category or boolean",
    ),
    (
        "  crosses: default",
        f"  crosses: [[plan, language, last_message, message], {CROSSED}]",
        "[plan, language",
        "policy.crosses[0]",
        "plan, language, last_message: at most two features in one cross",
    ),
    (
        "  crosses: default",
        f"  crosses: [{CROSSED.replace('[touches_7d, message], ', '')}]",
        "touches_7d, bucket",
        "features[6].name",
        "touches_7d is in no cross of policy.crosses: it would not act",
    ),
    # names that occur twice
    (
        "{name: touches_7d, bucket",
        "{name: hours_since_last_touch, bucket",
        "hours_since_last_touch, bucket: execution, type: number, source: history}",
        "features[6].name",
        "hours_since_last_touch is already in this list; names are unique",
    ),
    (
        "{name: unsubscribed, value",
        "{name: clicked, value",
        "clicked, value: -5.0",
        "reward.events[2].name",
        "clicked is already in this list; names are unique",
    ),
    # arms that nobody can get
    (
        "ten_percent_email, version: 1}\n        sms: {template: ten_percent_sms, version: 2}\n",
        "ten_percent_email, version: 1}\n",
        "sms, cost",
        "catalog.channels[1].id",
        "nobody can be reached on sms: no message has a creative for it",
    ),
    (
        "active: {from: 2026-01-10, until: 2027-12-31}",
        "active: {from: 2025-01-10, until: 2026-01-09}",
        "{from: 2025",
        "catalog.messages[1].active",
        "nobody can get this message: it ends before the campaign starts",
    ),
    (
        "all: [{attr: country, op: in, value: [US, MX]}]",
        "all: [{attr: country, op: in, value: [US, MX]}, {attr: country, op: ==, value: CA}]",
        "{attr: country, op: ==",
        "catalog.messages[1].eligibility.all[1]",
        "no customer can fulfil this and the other conditions on country, so nobody can get this message",
    ),
    (
        "all: [{attr: country, op: in, value: [US, MX]}]",
        "all: [{attr: days_inactive, op: <, value: 60}]",
        "{attr: days_inactive, op: <",
        "catalog.messages[1].eligibility.all[0]",
        "no customer can fulfil this and the other conditions on days_inactive, so nobody can get this message",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{case[3]}: {case[4][:30]}" for case in CASES])
def test_a_mistake_is_reported_alone_with_its_place_what_is_wrong_and_what_is_allowed(
    tmp_path: Path, case: tuple[str, str, str, str, str]
) -> None:
    old, new, needle, path, message = case
    text = edited(old, new)
    at = place(text, needle, TEXT.index(old) if needle in new else 0)
    assert found_in(tmp_path, text) == [f"{at}: {path}: {message}"]


def test_a_campaign_may_be_of_messages_only(tmp_path: Path) -> None:
    assert found_in(tmp_path, messages_only()) == []


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("policy: {crosses: [[channel]]}", "7:21: policy.crosses[0][0]: arms have no channel; allowed: message"),
        ("policy: {crosses: []}", "7:19: policy.crosses: Tuple should have at least 1 item after validation, not 0"),
        ("policy: {kind: greedy, uniform_share: 0.1}", "7:39: policy.uniform_share: should be less than or equal to 0"),
        (
            "groups: {bau: {share: 0.1, arm: {message: a, channel: email}}}",
            "7:55: groups.bau.arm.channel: no channel is called email; none is configured",
        ),
        (
            "features: [{name: hours_since_last_touch_on_channel, bucket: execution, type: number, source: history}]",
            "7:19: features[0].name: hours_since_last_touch_on_channel needs channels, and the catalog has none",
        ),
        (
            "audience: {attr: hours_since_last_touch_on_channel, op: present}",
            "7:18: audience.attr: hours_since_last_touch_on_channel has a value for each channel; rules are about the",
        ),
        (
            "audience: {all: [{attr: plan, op: missing}, {attr: plan, op: ==, value: gold}]}",
            "7:45: audience.all[1]: no customer can fulfil this and the other conditions on plan",
        ),
        ("audience: days_inactive", "7:11: audience: expected fields with values, got 'days_inactive'"),
        ("features: {plan: category}", "7:11: features: expected a list, got a group of fields"),
        ("1: 2", "7:1: 1: unknown field; allowed: version, campaign, audience, groups, features, catalog, policy"),
    ],
)
def test_what_needs_other_parts_is_checked_against_them(tmp_path: Path, extra: str, problem: str) -> None:
    found = found_in(tmp_path, messages_only(extra))
    assert [line[: len(problem)] for line in found] == [problem]


def test_creatives_without_channels_are_dangling(tmp_path: Path) -> None:
    text = messages_only().replace("{id: b}", "{id: b, creatives: {email: {template: t, version: 1}}}")
    assert found_in(tmp_path, text) == [
        f"{place(text, 'email')}: catalog.messages[1].creatives.email: no channel is called email; none is configured"
    ]


def test_a_message_without_any_creative_reaches_nobody_where_there_are_channels(tmp_path: Path) -> None:
    creative = "creatives: {email: {template: t, version: 1}}"
    text = (
        messages_only()
        .replace("[{id: a}", f"[{{id: a, {creative}}}")
        .replace("reward:", "  channels: [{id: email, cost: 0}]\nreward:")
    )
    message = "nobody can get this message: it has no creative for any channel"
    assert found_in(tmp_path, text) == [f"{place(text, '{id: b}')}: catalog.messages[1]: {message}"]


def test_a_slot_on_a_day_that_the_campaign_never_reaches_is_reported(tmp_path: Path) -> None:
    # Monday 5 January to Wednesday 7 January, and a day's horizon: some zones still have Sunday, and some Thursday.
    slot = '{{id: {0}, days: [{0}], from: "09:00", to: "10:00"}}'
    slots = ", ".join(slot.format(day) for day in ("sun", "mon", "thu", "fri", "sat"))
    text = messages_only().replace("reward:", f"  timing: {{horizon: 24h, slots: [{slots}]}}\nreward:")
    message = "nobody can get this slot: the campaign ends before such a day"
    assert [line.split(" ", 1)[1] for line in found_in(tmp_path, text)] == [
        f"catalog.timing.slots[3].days: {message}",
        f"catalog.timing.slots[4].days: {message}",
    ]


def test_a_time_zone_policy_without_slots_would_be_ignored_and_is_refused(tmp_path: Path) -> None:
    text = messages_only().replace("name: C,", "name: C, timezone: {if_missing: block},")
    message = "acts only with catalog.timing or rules in recipient time, which are not given"
    assert found_in(tmp_path, text) == [f"{place(text, 'timezone')}: campaign.timezone: {message}"]
    ruled = text + "contact_policy: {caps: [{count: 1, window: {calendar: day}}]}\n"
    assert found_in(tmp_path, ruled) == []


def test_a_message_that_starts_after_the_campaign_reaches_nobody(tmp_path: Path) -> None:
    text = messages_only().replace("{id: b}", "{id: b, active: {from: 2026-01-08, until: 2026-02-01}}")
    message = "nobody can get this message: it starts after the campaign ends"
    assert found_in(tmp_path, text) == [f"{place(text, '{from')}: catalog.messages[1].active: {message}"]
