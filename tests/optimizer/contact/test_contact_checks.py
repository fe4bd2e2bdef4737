from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.optimizer.example import WITHOUT_RULES, found_in, messages_only, place

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS = "allowed: email, sms, push"

# Each: the policy, what of it the problem points at, the path under contact_policy, and the message.
CASES = [
    (
        'quiet_hours: [{from: "21:00", to: "08:00", channels: [email, smss]}]',
        "smss",
        "quiet_hours[0].channels[1]",
        f"no channel is called smss; did you mean sms?; {CHANNELS}",
    ),
    (
        "min_gap: {channels: {fax: 20h}}",
        "fax",
        "min_gap.channels.fax",
        f"no channel is called fax; {CHANNELS}",
    ),
    (
        "caps: [{count: 1, window: {rolling: 7d}, channels: [fax, letter]}]",
        "[fax",
        "caps[0].channels",
        f"no arm is on any of these channels, so that this would stop nothing; {CHANNELS}",
    ),
    (
        "caps: [{id: a, count: 1, window: {rolling: 7d}}, {id: a, count: 2, window: {rolling: 9d}}]",
        "a, count: 2",
        "caps[1].id",
        "a is there twice",
    ),
    (
        "blackouts: [{country_attr: contry}]",
        "contry",
        "blackouts[0].country_attr",
        "contry is not a declared category; did you mean country?",
    ),
    (
        "blackouts: [{country_attr: days_inactive}]",
        "days_inactive}",
        "blackouts[0].country_attr",
        "days_inactive is not a declared category; did you mean days_inactive?",
    ),
]


@pytest.mark.parametrize(("policy", "needle", "path", "message"), CASES, ids=[case[2] for case in CASES])
def test_a_rule_that_cannot_act_is_reported_with_its_place(
    tmp_path: Path, policy: str, needle: str, path: str, message: str
) -> None:
    text = f"{WITHOUT_RULES}contact_policy: {{{policy}}}\n"
    at = place(text, needle, text.index("contact_policy"))
    assert found_in(tmp_path, text) == [f"{at}: contact_policy.{path}: {message}"]


def test_a_cap_may_name_channels_of_other_campaigns_beside_one_of_its_own(tmp_path: Path) -> None:
    text = (
        f"{WITHOUT_RULES}contact_policy: {{caps: [{{count: 1, window: {{rolling: 7d}}, channels: [email, letter]}}]}}\n"
    )
    assert found_in(tmp_path, text) == []


@pytest.mark.parametrize(
    ("rules", "stopped"),
    [
        ('quiet_hours: [{from: "20:00", to: "13:00"}]', ["weekday_morning"]),
        ('quiet_hours: [{from: "17:00", to: "13:00"}]', ["weekday_morning", "evening"]),
        ('quiet_hours: [{from: "17:00", to: "13:00", channels: [email, sms]}]', []),
        ('send_windows: [{days: [sat, sun], from: "08:00", to: "22:00"}]', ["weekday_morning"]),
        ('send_windows: [{days: [sat], from: "08:00", to: "22:00", channels: [sms]}]', []),
        ('send_windows: [{days: [sun], from: "22:00", to: "10:00"}]', ["evening"]),
        ('quiet_hours: [{days: [mon, tue, wed, thu], from: "08:00", to: "13:00"}]', []),
    ],
)
def test_a_slot_of_which_the_hours_leave_nothing_is_reported(tmp_path: Path, rules: str, stopped: list[str]) -> None:
    text = f"{WITHOUT_RULES}contact_policy: {{{rules}}}\n"
    message = "nobody can get this slot: the contact policy's hours leave nothing of it"
    slots = ["weekday_morning", "evening"]
    assert [each.split(": ", 1)[1] for each in found_in(tmp_path, text)] == [
        f"catalog.timing.slots[{slots.index(name)}]: {message}" for name in stopped
    ]


def test_scopes_offers_and_clocks_that_a_campaign_does_not_have_would_stop_nothing(tmp_path: Path) -> None:
    text = (
        messages_only()
        + "contact_policy:\n"
        + "  caps:\n"
        + "    - {count: 1, window: {rolling: 7d}, scope: channel}\n"
        + "    - {count: 1, window: {rolling: 7d}, scope: offer}\n"
        + "    - {count: 1, window: {calendar: day, clock: campaign}}\n"
        + "budget: {amount: 1, currency: USD, on_reach: stop_offers}\n"
        + "test_list: [qa, qa]\n"
    )
    clock = "the campaign has no clock: give campaign.timezone a fallback, or campaign.schedule"
    nothing = "so that this would stop nothing"
    assert [each.split(": ", 1)[1] for each in found_in(tmp_path, text)] == [
        f"contact_policy.caps[0].scope: no arm has a channel, {nothing}",
        f"contact_policy.caps[1].scope: no arm has an offer, {nothing}",
        f"contact_policy.caps[2].window.clock: {clock}",
        "budget.on_reach: no message has an offer, so that this would stop nothing; allowed: pause",
        "test_list[1]: qa is there twice",
    ]


def test_a_priority_outside_of_an_exclusion_group_would_be_ignored_and_is_refused(tmp_path: Path) -> None:
    text = messages_only().replace("name: C,", "name: C, priority: 5,")
    assert [each.split(": ", 1)[1] for each in found_in(tmp_path, text)] == [
        "campaign: priority acts only with exclusion_group"
    ]
