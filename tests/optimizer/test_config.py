from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel

from optimizer.attributes import AttributeType
from optimizer.campaign import CampaignFile
from optimizer.config import check_files, load_attributes, load_campaign, load_file
from optimizer.errors import ConfigError
from tests.optimizer.example import ATTRIBUTES, CONFIGS, TEXT, WINBACK, edited, found_in, messages_only, place

if TYPE_CHECKING:
    from pathlib import Path

DECLARED = load_attributes(ATTRIBUTES)
ALLOWED_CHANNEL = "allowed: id, cost, consent, dispatch"


@pytest.mark.parametrize(
    "path", sorted(set(CONFIGS.glob("*.yaml")) - {CONFIGS / "service.yaml"}), ids=lambda path: path.name
)
def test_every_example_is_valid(path: Path) -> None:
    assert check_files([path]) == []


def test_a_valid_file_becomes_a_campaign() -> None:
    campaign = load_campaign(WINBACK, DECLARED)
    assert isinstance(campaign, CampaignFile)
    assert campaign.id == "winback-q1"
    assert campaign.campaign.ends_at is None


# Each: what is replaced, by what, what of it the problem points at, the path, and the message.
CASES = [
    # unknown fields
    (
        "  owner: crm-team",
        "  ownr: crm-team",
        "ownr",
        "campaign.ownr",
        (
            "unknown field; did you mean owner?; allowed: id, name, owner, purpose, objective, kind, category, "
            "starts_at, "
            "ends_at, schedule, timezone, max_touches_per_customer, exclusion_group, priority"
        ),
    ),
    (
        "{id: email, cost: 0.001, consent: email_marketing, dispatch: service}",
        "{id: email, costs: 1, cost: 1}",
        "costs: 1",
        "catalog.channels[0].costs",
        f"unknown field; did you mean cost?; {ALLOWED_CHANNEL}",
    ),
    (
        '{attr: days_inactive, op: ">=", value: 60}',
        '{attr: days_inactive, op: ">=", value: 60, valu: 1}',
        "valu: 1",
        "audience.all[0].valu",
        "unknown field; did you mean value?; allowed: attr, op, value",
    ),
    ("  uniform_share: 0.0", "  epsilon: 0.0", "epsilon: 0.0", "policy.epsilon", "acts only with kind: epsilon_greedy"),
    (
        "\npolicy:\n",
        "\nnonsense: {a: 1}\npolicy:\n",
        "nonsense",
        "nonsense",
        (
            "unknown field; allowed: version, campaign, audience, groups, features, catalog, policy, reward, "
            "contact_policy, budget, delivery, test_list"
        ),
    ),
    # wrong types and forms
    ("  name: Win-back, lapsed 60 days", "  name: 12", "12", "campaign.name", "should be a valid string, got 12"),
    (
        "  id: winback-q1 ",
        "  id: win back ",
        "win back",
        "campaign.id",
        "got 'win back'; allowed: a letter, then at most 63 letters, digits, '_', '.' or '-'",
    ),
    (
        "tone: warm,",
        "to ne: warm,",
        "to ne",
        "catalog.messages[0].attributes.to ne",
        "got 'to ne'; allowed: a letter, then at most 63 letters, digits, '_', '.' or '-'",
    ),
    (
        "tone: warm,",
        "tone: [warm],",
        "[warm]",
        "catalog.messages[0].attributes.tone",
        "expected a text, a finite number, true or false",
    ),
    ("  holdout: 0.05", '  holdout: "5%"', '"5%"', "groups.holdout", "should be a valid number, got '5%'"),
    ("  no_send: true", "  no_send: yes", "yes", "catalog.no_send", "should be a valid boolean, got 'yes'"),
    (
        "  max_touches_per_customer: 6",
        "  max_touches_per_customer: 1.5",
        "1.5",
        "campaign.max_touches_per_customer",
        "should be a valid integer, got 1.5",
    ),
    (
        "  kind: squarecb",
        "  kind: squarecbb",
        "squarecbb",
        "policy.kind",
        "got 'squarecbb'; allowed: squarecb, epsilon_greedy, softmax, greedy, uniform; did you mean squarecb?",
    ),
    (
        "  kind: experiment",
        "  kind: [experiment]",
        "[experiment]",
        "campaign.kind",
        "got a list; allowed: experiment, program",
    ),
    (
        "days: [mon, tue,",
        "days: [mon, tues,",
        "tues",
        "catalog.timing.slots[0].days[1]",
        "got 'tues'; allowed: mon, tue, wed, thu, fri, sat, sun; did you mean tue?",
    ),
    (
        "  crosses: default",
        "  crosses: defaults",
        "defaults",
        "policy.crosses",
        "got 'defaults'; allowed: default; did you mean default?",
    ),
    (
        "    horizon: 48h",
        "    horizon: 48 hours",
        "48 hours",
        "catalog.timing.horizon",
        "expected a duration such as 90s, 15m, 48h, 7d, 2w or (ISO 8601) PT48H, got '48 hours'",
    ),
    (
        'at: "06:00"',
        'at: "6:00"',
        '"6:00"',
        "campaign.schedule.at",
        'expected a time of day from "00:00" to "23:59", got \'6:00\'',
    ),
    (
        'at: "06:00", timezone: America/Mexico_City',
        'at: "06:00", timezone: Mexico',
        "Mexico}",
        "campaign.schedule.timezone",
        "'Mexico' is not an IANA time zone such as America/Mexico_City",
    ),
    (
        "  starts_at: 2026-01-10T00:00:00Z",
        "  starts_at: 2026-01-10T00:00:00",
        "2026-01-10T00:00:00",
        "campaign.starts_at",
        "should have timezone info, got '2026-01-10T00:00:00'",
    ),
    (
        "active: {from: 2026-01-10,",
        "active: {from: 2026-13-10,",
        "2026-13-10",
        "catalog.messages[1].active.from",
        "should be a valid date or datetime, month value is outside expected range of 1-12, got '2026-13-10'",
    ),
    (
        "      attributes: {tone: warm, theme: value}",
        "      attributes: warm",
        "warm      ",
        "catalog.messages[0].attributes",
        "expected fields with values, got 'warm'",
    ),
    (
        "    - {id: sms, cost: 0.04, consent: sms_marketing, dispatch: service}",
        "    - sms",
        "sms\n",
        "catalog.channels[1]",
        "expected fields with values, got 'sms'",
    ),
    (
        '    - {attr: days_inactive, op: ">=", value: 60}',
        '    - {attr: days_inactive, op: "=>", value: 60}',
        '"=>"',
        "audience.all[0].op",
        "got '=>'; allowed: ==, !=, <, <=, >, >=, in, not_in, contains, missing, present; did you mean >?",
    ),
    (
        "        all: [{attr: country, op: in, value: [US, MX]}]",
        "        all: {attr: country, op: present}",
        "{attr: country, op: present}",
        "catalog.messages[1].eligibility.all",
        "expected a list, got a group of fields",
    ),
    # what is required
    ("  starts_at: 2026-01-10T00:00:00Z", "  # starts", "id: winback", "campaign.starts_at", "required, but not given"),
    ("{id: push, cost: 0.0,", "{id: push,", "{id: push", "catalog.channels[2].cost", "required, but not given"),
    # impossible values
    ("  holdout: 0.05", "  holdout: 1.5", "1.5", "groups.holdout", "should be less than or equal to 1, got 1.5"),
    (
        "  random_control: 0.05",
        "  random_control: 0.9",
        "salt: winback",
        "groups",
        "the shares of holdout, random_control and bau sum to 1.05; they may sum to 1 at most",
    ),
    (
        'from: "18:00", to: "20:30"',
        'from: "18:00", to: "18:00"',
        "{id: evening",
        "catalog.timing.slots[1]",
        "to must be later than from, on the same day",
    ),
    (
        "{name: clicked, value: 0.05, window: 2d}",
        "{name: clicked, value: 0.05, window: 0d}",
        "0d",
        "reward.events[0].window",
        "expected a duration longer than 0s, 366d at most",
    ),
    (
        "  max_touches_per_customer: 6",
        "  ends_at: 2026-01-10T00:00:00Z\n  max_touches_per_customer: 6",
        "id: winback",
        "campaign",
        "ends_at must be after starts_at",
    ),
    (
        "until: 2027-12-31",
        "until: 2026-01-09",
        "{from: 2026-01-10",
        "catalog.messages[1].active",
        "until must not be before from",
    ),
    (
        "value_from: margin, cap: 500,",
        "value_from: margin,",
        "{name: purchased",
        "reward.events[1]",
        "value_from needs a cap: the largest size that counts",
    ),
    (
        "{name: clicked, value: 0.05,",
        "{name: clicked,",
        "{name: clicked",
        "reward.events[0]",
        "give either value or value_from",
    ),
    (
        "every: 1d",
        "every: 36h",
        "{every",
        "campaign.schedule",
        "every must be a whole number of days (1d, 2d, ...) or divide a day evenly (1h, 6h, 12h, ...)",
    ),
    (
        "fallback: America/Mexico_City, if_missing: use_fallback",
        "fallback: America/Mexico_City",
        "{attr: timezone",
        "campaign.timezone",
        "a fallback zone acts only with if_missing: use_fallback",
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


def test_a_part_that_does_not_act_yet_is_refused_by_name(tmp_path: Path) -> None:
    text = edited("\npolicy:\n", "\nguardrails: []\npolicy:\n")
    expected = f"{place(text, 'guardrails:', 0)}: guardrails: guardrails is not supported yet: it would be ignored"
    assert found_in(tmp_path, text) == [expected]


def test_everything_wrong_is_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        edited("  owner: crm-team", "  ownr: crm-team")
        .replace("{attr: days_inactive, op", "{attr: days_inactiv, op")
        .replace("push: {template: miss_you_push", "pusch: {template: miss_you_push")
        .replace("{id: sms, cost: 0.04,", "{id: email, cost: 0.04,")
        .replace("  kind: squarecb", "  kind: squarecbb")
        .replace("window: 2d", "window: 0d")
    )
    assert [line.split(" ")[1] for line in found_in(tmp_path, text)] == [
        "campaign.ownr:",
        "audience.all[0].attr:",
        "catalog.messages[0].creatives.pusch:",
        "catalog.messages[1].creatives.sms:",
        "catalog.channels[1].id:",
        "catalog.channels[2].id:",
        "policy.kind:",
        "reward.events[0].window:",
    ]


@pytest.mark.parametrize(
    "text", ["", "[]", "a text", "version: 1\ncampaign:\n", "catalog: {messages: {}}", "reward: {events: 1}"]
)
def test_a_file_of_any_shape_is_reported_and_never_crashes_the_check(tmp_path: Path, text: str) -> None:
    assert found_in(tmp_path, text)


def test_attributes_are_read_with_their_types() -> None:
    assert DECLARED.types["days_inactive"] is AttributeType.NUMBER
    assert all(attribute.description for attribute in DECLARED.declared)


@pytest.mark.parametrize(
    ("attribute", "problem"),
    [
        (
            "{name: touches_7d, type: number, description: D}",
            "4:12: attributes[1].name: touches_7d is a history feature",
        ),
        (
            "{name: timezone, type: category, description: D}",
            "4:12: attributes[1].name: timezone is a column of its own",
        ),
        (
            "{name: consent.sms, type: boolean, description: D}",
            "4:12: attributes[1].name: consent.sms is a column of its",
        ),
        (
            "{name: channel, type: category, description: D}",
            "4:12: attributes[1].name: channel is what an arm is made of",
        ),
        ("{name: plan, type: category, description: D}", "4:12: attributes[1].name: plan is already in this list"),
        (
            "{name: age, type: numeric, description: D}",
            "4:23: attributes[1].type: got 'numeric'; allowed: number, boolean",
        ),
        ("{name: age, type: number}", "4:5: attributes[1].description: required, but not given"),
        (
            "{name: age, type: number, description: D, unit: y}",
            "4:47: attributes[1].unit: unknown field; allowed: name",
        ),
    ],
)
def test_a_mistake_among_the_attributes_is_reported_with_its_place(
    tmp_path: Path, attribute: str, problem: str
) -> None:
    path = tmp_path / "attributes.yaml"
    path.write_text(f"version: 1\nattributes:\n  - {{name: plan, type: category, description: D}}\n  - {attribute}\n")
    assert [str(found)[: len(f"{path}:{problem}")] for found in check_files([path])] == [f"{path}:{problem}"]


def test_a_campaign_without_declared_attributes_beside_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(messages_only("nonsense: 1"))
    first, second = check_files([path])
    assert str(first).startswith(f"{path}:7:1: nonsense: unknown field")
    assert str(second).startswith(f"{tmp_path / 'attributes.yaml'}:1:1: cannot be read: ")
    assert [problem.path for problem in check_files([path], ATTRIBUTES)] == ["nonsense"]


def test_any_other_file_is_read_by_its_model(tmp_path: Path) -> None:
    class Settings(BaseModel, extra="forbid"):
        port: int

    path = tmp_path / "service.yaml"
    path.write_text("port: 80\n")
    assert load_file(path, Settings) == Settings(port=80)
    path.write_text("prt: 80\n")
    with pytest.raises(ConfigError) as raised:
        load_file(path, Settings)
    assert [str(problem) for problem in raised.value.problems] == [
        f"{path}:1:1: port: required, but not given",
        f"{path}:1:1: prt: unknown field; did you mean port?; allowed: port",
    ]
