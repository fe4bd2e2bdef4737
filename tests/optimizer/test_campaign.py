from __future__ import annotations

import json
import random
from copy import deepcopy
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from optimizer.attributes import AttributeType
from optimizer.campaign import CampaignFile, Feature, Groups, Reward, Schedule, Slot
from optimizer.policy import EpsilonGreedy, Greedy, Policy, Softmax, SquareCB
from optimizer.scalars import Duration, Instant, TimeOfDay, Weekday
from tests.optimizer.example import winback


def changed(*keys: str | int, to: object) -> dict[str, Any]:
    """The example with another value at these keys."""
    data = winback()
    at: Any = data
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = to
    return data


def shuffled(value: object, generator: random.Random) -> object:
    """The same data with the keys of every mapping in another order."""
    if isinstance(value, dict):
        items = [(key, shuffled(item, generator)) for key, item in value.items()]
        generator.shuffle(items)
        return dict(items)
    return [shuffled(item, generator) for item in value] if isinstance(value, list) else value


EXAMPLE = CampaignFile.model_validate(winback())


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    for seed in range(5):
        again = CampaignFile.model_validate(shuffled(winback(), random.Random(seed)))
        assert again.config_hash == EXAMPLE.config_hash


@pytest.mark.parametrize(
    ("written", "same"),
    [
        (("campaign", "schedule", "every"), "24h"),
        (("campaign", "starts_at"), "2026-01-09T18:00:00-06:00"),
        (("catalog", "timing", "horizon"), "PT48H"),
        (("catalog", "timing", "slots", 0, "days"), ["fri", "thu", "wed", "tue", "mon"]),
        (("groups", "holdout"), 0.050),
        (("catalog", "messages", 1, "offer", "value"), 10.0),
    ],
)
def test_the_hash_does_not_depend_on_how_a_value_is_written(written: tuple[str | int, ...], same: object) -> None:
    assert CampaignFile.model_validate(changed(*written, to=same)).config_hash == EXAMPLE.config_hash


def test_the_hash_does_not_depend_on_whether_defaults_are_spelled_out() -> None:
    short = winback()
    del short["groups"]["salt"], short["policy"], short["reward"]["lateness"], short["catalog"]["no_send"]
    del short["campaign"]["kind"], short["catalog"]["channels"][0]["dispatch"]
    long = json.loads(CampaignFile.model_validate(short).model_dump_json(by_alias=True))
    assert long["groups"]["salt"] == "winback-q1"
    assert CampaignFile.model_validate(short).config_hash == EXAMPLE.config_hash
    assert CampaignFile.model_validate(long).config_hash == EXAMPLE.config_hash


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("campaign", "name"), "Another name"),
        (("groups", "salt"), "other"),
        (("catalog", "messages", 0, "attributes", "tone"), "cold"),
        (("reward", "events", 0, "window"), "3d"),
        (("catalog", "no_send"), False),
    ],
)
def test_the_hash_depends_on_every_meaning_and_the_learner_survives_what_it_can(
    keys: tuple[str | int, ...], value: object
) -> None:
    other = CampaignFile.model_validate(changed(*keys, to=value))
    assert other.config_hash != EXAMPLE.config_hash
    assert other.learner_key == EXAMPLE.learner_key


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("features", 0, "missing"), "ignore"),
        (("features", 1, "scale"), "none"),
        (("policy", "crosses"), [["plan", "message"]]),
        (("policy", "importance"), "mtr"),
        (("reward", "events", 0, "value"), 0.1),
        (("reward", "aggregate"), "last"),
        (("catalog", "timing"), None),
    ],
)
def test_what_changes_the_meaning_of_weights_or_rewards_starts_a_new_learner(
    keys: tuple[str | int, ...], value: object
) -> None:
    assert CampaignFile.model_validate(changed(*keys, to=value)).learner_key != EXAMPLE.learner_key


def test_a_campaign_written_out_is_the_campaign_read_in() -> None:
    assert CampaignFile.model_validate_json(EXAMPLE.model_dump_json(by_alias=True)) == EXAMPLE
    assert CampaignFile.model_validate(EXAMPLE.model_dump()) == EXAMPLE


def test_a_campaign_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        EXAMPLE.catalog.no_send = False  # type: ignore[misc]


def test_dimensions_are_those_that_the_catalog_has() -> None:
    assert EXAMPLE.catalog.dimensions == ("message", "channel", "timing")
    plain = EXAMPLE.catalog.model_copy(update={"channels": (), "timing": None})
    assert plain.dimensions == ("message",)


def test_a_missing_value_is_handled_by_the_type_of_its_feature_unless_it_says_otherwise() -> None:
    def missing(kind: AttributeType) -> str:
        return Feature(name="x", bucket="customer", type=kind).missing

    assert [missing(kind) for kind in AttributeType] == ["mean", "level", "level", "level"]
    with pytest.raises(ValidationError, match="missing: level does not suit a number; allowed: mean, median or flag"):
        Feature(name="x", bucket="customer", type=AttributeType.NUMBER, missing="level")
    with pytest.raises(ValidationError, match="scale: log is for numbers; x is a category"):
        Feature(name="x", bucket="customer", type=AttributeType.CATEGORY, scale="log")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("48h", 172_800),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("PT48H", 172_800),
        ("P1D", 86_400),
    ],
)
def test_a_duration_is_read_from_its_short_form_and_from_iso_8601(text: str, seconds: int) -> None:
    adapter: TypeAdapter[timedelta] = TypeAdapter(Duration)
    duration = adapter.validate_python(text)
    assert duration == timedelta(seconds=seconds)
    assert adapter.validate_json(adapter.dump_json(duration)) == duration


@pytest.mark.parametrize("text", ["48", "1.5h", "h", "", "48 h", 48, 1.5, "PT0.5S", "-1d", None])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Schedule).validate_python({"every": text, "at": "06:00", "timezone": "UTC"})


@pytest.mark.parametrize("text", ["6:00", "24:00", "06:60", "06:00:00", 360, 6.5, None])
def test_what_is_no_time_of_day_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="expected a time of day"):
        TypeAdapter(TimeOfDay).validate_python(text)


def test_an_instant_needs_an_offset_and_becomes_utc() -> None:
    adapter: TypeAdapter[datetime] = TypeAdapter(Instant)
    assert adapter.validate_python("2026-01-10T06:00:00-06:00") == datetime(2026, 1, 10, 12, tzinfo=UTC)
    assert adapter.validate_python("2026-01-10T06:00:00-06:00").tzinfo is UTC
    for wrong in ("2026-01-10T06:00:00", 1_760_000_000, "soon"):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_days_of_a_slot_are_in_the_order_of_the_week() -> None:
    slot = Slot.model_validate({"id": "s", "days": ["fri", "mon"], "from": "09:00", "to": "12:00"})
    assert slot.days == (Weekday.MON, Weekday.FRI)
    assert [day.number for day in slot.days] == [0, 4]
    assert (slot.start, slot.end) == (time(9), time(12))
    assert Slot.model_validate({"id": "s", "days": "all", "from": "09:00", "to": "12:00"}).days == tuple(Weekday)


@pytest.mark.parametrize("every", ["1d", "2d", "7d", "12h", "1h", "15m"])
def test_runs_may_be_days_apart_or_divide_a_day(every: str) -> None:
    assert Schedule.model_validate({"every": every, "at": "06:00", "timezone": "UTC"}).timezone == "UTC"


@pytest.mark.parametrize("every", ["36h", "7h", "25h"])
def test_runs_that_would_wander_through_the_day_are_refused(every: str) -> None:
    with pytest.raises(ValidationError, match="whole number of days"):
        Schedule.model_validate({"every": every, "at": "06:00", "timezone": "UTC"})


def test_shares_of_all_groups_fit_into_one() -> None:
    bau = {"share": 0.4, "arm": {"message": "m"}}
    assert Groups.model_validate({"holdout": 0.3, "random_control": 0.3, "bau": bau}).holdout == 0.3
    with pytest.raises(ValidationError, match=r"sum to 1\.1"):
        Groups.model_validate({"holdout": 0.4, "random_control": 0.3, "bau": bau})


def test_a_policy_has_only_the_settings_that_act_on_it() -> None:
    adapter: TypeAdapter[Policy] = TypeAdapter(Policy)
    assert adapter.validate_python({}) == SquareCB()
    assert adapter.validate_python({"kind": "epsilon_greedy"}) == EpsilonGreedy(kind="epsilon_greedy", epsilon=0.05)
    assert adapter.validate_python({"kind": "softmax"}) == Softmax(kind="softmax", softmax_lambda=10.0)
    assert adapter.validate_python({"kind": "greedy"}) == Greedy(kind="greedy", uniform_share=0.0)
    for wrong in ({"kind": "greedy", "uniform_share": 0.1}, {"epsilon": 0.1}, {"kind": "softmax", "epsilon": 0.1}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


@pytest.mark.parametrize(
    ("default", "events", "scale"),
    [
        (0.0, [{"value": 0.05}, {"value": -5.0}], 5.0),
        (0.0, [{"value": 1.0}, {"value_from": "margin", "cap": 500.0}], 500.0),
        (-7.0, [{"value": 2.0}], 7.0),
        (0.0, [{"value": 0.0}], 1.0),
    ],
)
def test_rewards_are_learned_in_units_of_the_largest_one(
    default: float, events: list[dict[str, Any]], scale: float
) -> None:
    named = [{"name": f"e{index}", "window": "2d"} | deepcopy(event) for index, event in enumerate(events)]
    assert Reward.model_validate({"default": default, "events": named}).scale == scale


def test_the_longest_window_is_that_of_any_event() -> None:
    assert EXAMPLE.reward.longest_window == timedelta(days=7)


def test_the_schema_describes_every_field_by_its_name_in_the_file() -> None:
    schema = CampaignFile.model_json_schema()
    models = [schema, *(part for part in schema["$defs"].values() if "properties" in part)]
    assert len(models) > 20
    bare = [
        f"{model['title']}.{name}"
        for model in models
        for name, field in model["properties"].items()
        if not field.get("description")
    ]
    assert bare == []
    assert {"from", "to"} <= set(schema["$defs"]["Slot"]["properties"])
    assert all(model["additionalProperties"] is False for model in models)
