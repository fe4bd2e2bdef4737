from __future__ import annotations

import pytest

from optimizer.reasons import ALLOWED, Reason

# The closed list of the design, in its order, and what came to it: the codes are stored.
LISTED = [
    "not_in_audience",
    "holdout",
    "ineligible_arm",
    "arm_inactive",
    "no_consent",
    "suppressed",
    "cap_reached",
    "min_gap",
    "cooldown",
    "quiet_hours",
    "blackout",
    "outside_horizon",
    "no_timezone",
    "no_creative_for_channel",
    "excluded_by_other_campaign",
    "max_touches",
    "budget_reached",
    "guardrail_paused",
    "campaign_not_active",
    "lower_priority",
    "vetoed",
    "expired_late",
    "chose_no_send",
    "no_address",
]


def test_the_reasons_and_their_codes_are_the_closed_list_in_order() -> None:
    assert [str(reason) for reason in Reason] == LISTED
    assert [reason.code for reason in Reason] == list(range(1, len(LISTED) + 1))


def test_a_code_gives_back_its_reason() -> None:
    assert all(Reason.from_code(reason.code) is reason for reason in Reason)


@pytest.mark.parametrize("code", [ALLOWED, -1, len(LISTED) + 1])
def test_a_code_that_is_no_reason_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match=f"no reason has the code {code}"):
        Reason.from_code(code)
