from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from optimizer.contact.facts import ContactFacts, Occurrences
from optimizer.reasons import Reason
from optimizer.versions import Version
from tests.optimizer.contact.cases import batch_for
from tests.optimizer.contact.reference import Person
from tests.optimizer.kernel import campaign_of, message

OFFER = {"id": "off10", "type": "discount", "value": 10, "unit": "percent"}
POLICY = {
    "caps": [{"count": 1, "window": {"rolling": "7d"}, "channels": ["letter", "ch1"]}],
    "cooldowns": [
        {"after": {"event": "bought"}, "for": "14d"},
        {"after": {"ignored_touches": 2, "within": "30d"}, "for": "60d"},
    ],
}


def version(**parts: Any) -> Version:  # noqa: ANN401 -- any part
    campaign = campaign_of(messages=[message(0, 2), message(1, 2, offer=OFFER)], channels=2, **parts)
    data = campaign.model_dump(mode="json", by_alias=True)
    data["catalog"]["channels"][1]["consent"] = "ads"
    return Version.of(type(campaign).model_validate(data), "default")


def read(*rows: dict[str, Any]) -> ContactFacts:
    return version(contact_policy=POLICY).contact.reader.read(rows)


def test_touches_are_read_in_the_terms_of_the_catalog() -> None:
    rows = [
        {"touches": [[20, "sent", "c", "ch1", "m1", "off10"], [10, "planned", "other", "letter", "m1", "off10"]]},
        {},
        {"touches": [[5, "bounced", "c", None, "gone", "off99"], [6, "cancelled", None, "ch0", None, None]]},
    ]
    found = read(*rows).touches
    assert found.starts.tolist() == [0, 2, 2, 4]
    assert found.row.tolist() == [0, 0, 2, 2]
    assert found.at_us.tolist() == [10, 20, 5, 6]
    assert found.kind.tolist() == [0, 0, 1, 2]
    assert found.channel.tolist() == [2, 1, -1, 0]
    assert found.message.tolist() == [-1, 1, -1, -1]
    assert found.offer.tolist() == [0, 0, -1, -1]
    assert found.mine.tolist() == [False, True, True, False]
    assert found.unanswered.tolist() == [False, True, False, False]


def test_events_that_no_cooldown_follows_are_passed_over() -> None:
    found = read({"outcomes": [[1, "bought", None, None, None, None], [2, "left", "c", None, None, None]]}).outcomes
    assert found.kind.tolist() == [0, 255]


def test_what_is_said_of_channels_and_customers() -> None:
    found = read(
        {"consents": ["ads"], "barred": {"ch0": "suppressed", "letter": "no_address"}},
        {"barred": {"": "suppressed"}, "excluded": "lower_priority", "budget_reached": "costs"},
        {"barred": {"ch1": "no_address"}},
    )
    suppressed, no_address = Reason.SUPPRESSED.code, Reason.NO_ADDRESS.code
    assert found.consents.tolist() == [[True, True], [True, False], [True, False]]
    assert found.barred.tolist() == [[suppressed, 0], [suppressed, suppressed], [0, no_address]]
    assert found.excluded.tolist() == [0, Reason.LOWER_PRIORITY.code, 0]
    assert found.budget.tolist() == [0, 2, 0]


def same(one: Occurrences, other: Occurrences) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in Occurrences.__slots__)


def test_a_part_of_the_customers_is_what_reading_them_alone_gives() -> None:
    rows = [
        {
            "touches": [[i, "sent", "c", "ch0", "m0", None]] * i,
            "outcomes": [[i, "bought", "c", "ch0", "m0", None]] * (3 - i),
        }
        for i in range(4)
    ]
    whole = read(*rows)
    for start in range(4):
        for end in range(start, 5):
            part, alone = whole.rows(start, end), read(*rows[start:end])
            assert same(part.touches, alone.touches)
            assert same(part.outcomes, alone.outcomes)


@pytest.mark.parametrize(
    "facts", [{"touches": [[1, "flown", "c", "ch0", "m0", None]]}, {"excluded": "whim"}, {"budget_reached": "soon"}]
)
def test_what_there_is_not_is_an_error(facts: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        read(facts)


def test_rules_say_which_facts_they_need() -> None:
    day_us = 86_400_000_000
    rules = version(contact_policy=POLICY).contact
    assert (rules.active, rules.reach_us, rules.events, rules.events_reach_us, rules.consents) == (
        True,
        90 * day_us,
        frozenset({"bought"}),
        14 * day_us,
        frozenset({"ads"}),
    )
    plain = Version.of(campaign_of(messages=1, channels=1), "default").contact
    assert (plain.active, plain.reach_us, plain.events, plain.consents) == (False, 0, frozenset(), frozenset())
    monthly = {"caps": [{"count": 1, "window": {"calendar": "month"}}], "min_gap": "20h"}
    assert version(contact_policy=monthly).contact.reach_us == 32 * day_us


def test_a_budget_removes_the_arms_that_it_does_not_pay_for_and_only_where_nothing_else_does() -> None:
    budget = {"amount": 10.0, "currency": "USD", "on_reach": "stop_offers"}
    made = version(budget=budget)
    people: list[dict[str, Any]] = [
        {"consents": ["ads"]},
        {"budget_reached": "offers"},
        {"consents": ["ads"], "budget_reached": "sends"},
    ]
    batch = batch_for(made, datetime(2026, 1, 5, tzinfo=UTC), tuple(Person("UTC", facts=facts) for facts in people))
    names = [
        [Reason.from_code(code).value if code else "" for code in row] for row in made.decider.removed(batch).tolist()
    ]
    assert names == [
        ["", "", "", "", ""],
        ["", "no_consent", "budget_reached", "no_consent", ""],
        [*["budget_reached"] * 4, ""],
    ]
