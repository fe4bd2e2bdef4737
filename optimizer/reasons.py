"""The closed list of reasons why an arm was not available or nothing was sent, and what a budget stops paying for."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

ALLOWED: Final = 0
"""The code, in arrays of reasons, of an arm that nothing removed."""


class Reason(StrEnum):
    """Why not. The order is fixed, since `code` is stored: new ones go to the end."""

    NOT_IN_AUDIENCE = "not_in_audience"
    HOLDOUT = "holdout"
    INELIGIBLE_ARM = "ineligible_arm"
    ARM_INACTIVE = "arm_inactive"
    NO_CONSENT = "no_consent"
    SUPPRESSED = "suppressed"
    CAP_REACHED = "cap_reached"
    MIN_GAP = "min_gap"
    COOLDOWN = "cooldown"
    QUIET_HOURS = "quiet_hours"
    BLACKOUT = "blackout"
    OUTSIDE_HORIZON = "outside_horizon"
    NO_TIMEZONE = "no_timezone"
    NO_CREATIVE_FOR_CHANNEL = "no_creative_for_channel"
    EXCLUDED_BY_OTHER_CAMPAIGN = "excluded_by_other_campaign"
    MAX_TOUCHES = "max_touches"
    BUDGET_REACHED = "budget_reached"
    GUARDRAIL_PAUSED = "guardrail_paused"
    CAMPAIGN_NOT_ACTIVE = "campaign_not_active"
    LOWER_PRIORITY = "lower_priority"
    VETOED = "vetoed"
    EXPIRED_LATE = "expired_late"
    CHOSE_NO_SEND = "chose_no_send"
    NO_ADDRESS = "no_address"

    @property
    def code(self) -> int:
        """The number that stands for this reason in uint8 arrays: 1 for the first (0 is `ALLOWED`)."""
        return _CODES[self]

    @classmethod
    def from_code(cls, code: int) -> Reason:
        """The reason with this code.

        Raises `ValueError` for `ALLOWED` and for numbers that stand for nothing.
        """
        if not 1 <= code <= len(_REASONS):
            raise ValueError(f"no reason has the code {code}; codes are 1 to {len(_REASONS)}")
        return _REASONS[code - 1]


_REASONS: Final = tuple(Reason)
_CODES: Final = {reason: code for code, reason in enumerate(_REASONS, start=1)}


class Reached(StrEnum):
    """Which arms a budget does not pay for any more, as it is logged with a decision."""

    OFFERS = "offers"
    """Those with an offer."""
    COSTS = "costs"
    """Those with an offer, and those that cost anything."""
    SENDS = "sends"
    """All that send."""
