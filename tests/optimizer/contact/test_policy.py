from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from optimizer.campaign import CampaignFile
from optimizer.contact.policy import Blackout, Cap, ContactPolicy, Cooldown, QuietHours
from optimizer.scalars import Weekday
from tests.optimizer.example import winback

NEW = {"contact_policy", "budget", "delivery", "test_list"}
RULES: dict[str, Any] = {
    "quiet_hours": [{"days": "all", "from": "21:00", "to": "08:00", "action": "defer"}],
    "send_windows": [{"days": ["sat", "mon"], "from": "09:00", "to": "20:00", "channels": ["sms"]}],
    "caps": [
        {"id": "day", "count": 1, "window": {"calendar": "week", "clock": "utc", "week_starts": "sun"}},
        {"count": 3, "window": {"rolling": "7d"}, "scope": "channel", "counts": "delivered"},
    ],
    "min_gap": "20h",
    "cooldowns": [
        {"after": {"ignored_touches": 2, "within": "30d"}, "for": "60d", "scope": "message"},
        {"after": {"event": "purchased"}, "for": "14d"},
    ],
    "blackouts": [
        {"from": "2026-02-01T00:00", "until": "2026-02-03T00:00", "reason": "launch"},
        {"from": "2026-02-01T00:00:00Z", "until": "2026-02-03T00:00:00+01:00"},
        {"country": "US", "subdivision": "CA"},
        {"country_attr": "country"},
    ],
}


def without_rules() -> dict[str, Any]:
    """The example without any of these parts."""
    data = winback()
    for name in NEW:
        del data[name]
    for message in data["catalog"]["messages"]:
        message.pop("caps", None)
    return data


def campaign(**parts: object) -> CampaignFile:
    return CampaignFile.model_validate(without_rules() | parts)


def test_every_rule_is_read_and_written_out_again_the_same() -> None:
    parts = {
        "contact_policy": RULES,
        "budget": {"amount": 20_000, "currency": "USD", "on_reach": "stop_offers"},
        "delivery": {"max_lateness": "6h", "retries": {"max": 5, "backoff": "exponential"}},
        "test_list": ["qa-1", "qa-2"],
    }
    made = campaign(**parts)
    again = CampaignFile.model_validate_json(made.model_dump_json(by_alias=True))
    assert again == made
    assert again.config_hash == made.config_hash


def test_a_campaign_that_uses_none_of_it_keeps_the_hash_that_it_had_before_there_was_any() -> None:
    assert set(campaign().model_dump(by_alias=True)) & NEW == set()
    assert campaign(test_list=["qa"]).config_hash != campaign().config_hash


def test_what_is_left_out_has_its_usual_meaning() -> None:
    policy = ContactPolicy.model_validate(RULES)
    assert policy.quiet_hours[0] == QuietHours(start=time(21), end=time(8))
    assert policy.send_windows[0].days == (Weekday.MON, Weekday.SAT)
    assert (policy.caps[0].scope, policy.caps[0].counts, policy.caps[0].channels) == ("all_campaigns", "sent", None)
    assert policy.min_gap is not None
    assert (policy.min_gap.overall, policy.min_gap.channels) == (timedelta(hours=20), {})
    assert policy.cooldowns[0].after.ignored_after == timedelta(hours=48)
    assert policy.cooldowns[1].scope == "all_campaigns"
    assert policy.blackouts[0].start == datetime(2026, 2, 1)  # noqa: DTZ001 - the recipient's
    assert policy.blackouts[1].start == datetime(2026, 2, 1, tzinfo=UTC)


def test_a_marketing_campaign_obeys_and_counts_and_a_transactional_one_neither_unless_it_is_told_to() -> None:
    def settings(category: str) -> dict[str, Any]:
        return {"campaign": without_rules()["campaign"] | {"category": category}}

    assert (campaign().obeys, campaign().counts) == (True, True)
    plain = campaign(**settings("transactional"))
    assert (plain.obeys, plain.counts) == (False, False)
    told = campaign(**settings("transactional"), contact_policy={"obeys": True, "min_gap": "1h"})
    assert (told.obeys, told.counts) == (True, False)
    silent = campaign(contact_policy={"counts": False, "min_gap": "1h"})
    assert (silent.obeys, silent.counts) == (True, False)


def test_rules_that_a_transactional_campaign_does_not_obey_would_be_ignored_and_are_refused() -> None:
    transactional = {"campaign": without_rules()["campaign"] | {"category": "transactional"}}
    with pytest.raises(ValidationError, match="min_gap would not act"):
        campaign(**transactional, contact_policy={"min_gap": "1h"})


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Cap, {"count": 1, "window": {}}, "either rolling or calendar"),
        (Cap, {"count": 1, "window": {"rolling": "1d", "calendar": "day"}}, "either rolling or calendar"),
        (Cap, {"count": 1, "window": {"rolling": "1d", "clock": "utc"}}, "clock acts only with calendar"),
        (Cap, {"count": 1, "window": {"calendar": "day", "week_starts": "sun"}}, "week_starts acts only with"),
        (Cap, {"count": 0, "window": {"rolling": "1d"}}, "greater than or equal to 1"),
        (Cap, {"count": 1, "window": {"rolling": "1d"}, "channels": []}, "at least 1 item"),
        (Cooldown, {"after": {}, "for": "1d"}, "either ignored_touches or event"),
        (Cooldown, {"after": {"ignored_touches": 2}, "for": "1d"}, "needs within"),
        (Cooldown, {"after": {"event": "bought", "within": "1d"}, "for": "1d"}, "within needs ignored_touches"),
        (QuietHours, {"from": "21:00", "to": "21:00"}, "are the same"),
        (Blackout, {"reason": "launch"}, "either from and until, or country"),
        (Blackout, {"from": "2026-02-01T00:00"}, "belong together"),
        (Blackout, {"from": "2026-02-01T00:00", "until": "2026-01-01T00:00"}, "until must be after from"),
        (Blackout, {"from": "2026-02-01T00:00", "until": "2026-03-01T00:00Z"}, "both local times"),
        (Blackout, {"country": "XX"}, "no holidays are known for 'XX'"),
        (Blackout, {"country": "US", "subdivision": "XX"}, "'XX' is no subdivision of US"),
        (ContactPolicy, {"min_gap": {}}, "give a duration"),
    ],
)
def test_a_rule_that_says_nothing_clear_is_refused(kind: type[Cap], given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind.model_validate(given)
