"""The rules of a campaign one by one, and the same campaign without each of them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.campaign import CampaignFile
from optimizer.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from optimizer.contact.facts import ContactFacts


@dataclass(frozen=True, slots=True)
class Constraint:
    """Something that removes arms.

    Attributes:
        name: where it stands in the file, or which fact it is about.
        reason: with which it removes them.
        without: the campaign without it; None where it is no part of the file.
        ignored: the facts about customers without it.
    """

    name: str
    reason: Reason
    without: CampaignFile | None = None
    ignored: Callable[[ContactFacts], ContactFacts] | None = None


def constraints(campaign: CampaignFile) -> list[Constraint]:
    """Every rule of the file that can remove an arm, and what the budget and other campaigns take away.

    Suppression and missing addresses have no price: no configuration may change them.
    """
    return [*_rules(campaign), *_FACTS]


def _rules(campaign: CampaignFile) -> Iterator[Constraint]:
    if campaign.audience is not None:
        yield _dropped(campaign, ("audience",), Reason.NOT_IN_AUDIENCE, "audience")
    for place, message in enumerate(campaign.catalog.messages):
        here, name = ("catalog", "messages", place), f"catalog.messages[{message.id}]"
        if message.eligibility is not None:
            yield _dropped(campaign, (*here, "eligibility"), Reason.INELIGIBLE_ARM, f"{name}.eligibility")
        if message.active is not None:
            yield _dropped(campaign, (*here, "active"), Reason.ARM_INACTIVE, f"{name}.active")
        for cap, rule in enumerate(message.caps):
            yield _dropped(campaign, (*here, "caps", cap), Reason.CAP_REACHED, f"{name}.caps[{rule.id or cap}]")
    for place, channel in enumerate(campaign.catalog.channels):
        if channel.consent is not None:
            name = f"catalog.channels[{channel.id}].consent"
            yield _dropped(campaign, ("catalog", "channels", place, "consent"), Reason.NO_CONSENT, name)
    if campaign.campaign.max_touches_per_customer is not None:
        field = ("campaign", "max_touches_per_customer")
        yield _dropped(campaign, field, Reason.MAX_TOUCHES, ".".join(field))
    yield from _contact_rules(campaign)


def _contact_rules(campaign: CampaignFile) -> Iterator[Constraint]:
    policy = campaign.contact_policy
    if policy is None:
        return
    listed: dict[str, tuple[Reason, Sequence[str | None]]] = {
        "blackouts": (Reason.BLACKOUT, [None for _ in policy.blackouts]),
        "quiet_hours": (Reason.QUIET_HOURS, [None for _ in policy.quiet_hours]),
        "cooldowns": (Reason.COOLDOWN, [rule.id for rule in policy.cooldowns]),
        "caps": (Reason.CAP_REACHED, [rule.id for rule in policy.caps]),
    }
    for field, (reason, ids) in listed.items():
        for place, rule_id in enumerate(ids):
            name = f"contact_policy.{field}[{rule_id or place}]"
            yield _dropped(campaign, ("contact_policy", field, place), reason, name)
    if policy.send_windows:
        # Several of them add up: without one of them there would be less time, not more.
        keys = ("contact_policy", "send_windows")
        yield _dropped(campaign, keys, Reason.QUIET_HOURS, ".".join(keys))
    if policy.min_gap is not None:
        keys = ("contact_policy", "min_gap")
        yield _dropped(campaign, keys, Reason.MIN_GAP, ".".join(keys))


def _dropped(campaign: CampaignFile, keys: tuple[str | int, ...], reason: Reason, name: str) -> Constraint:
    """Without what stands there: an item of a list goes, another field takes its default."""
    data = deepcopy(campaign.model_dump(mode="json", by_alias=True))
    inside: Any = data
    for key in keys[:-1]:
        inside = inside[key]
    del inside[keys[-1]]
    return Constraint(name, reason, CampaignFile.model_validate(data))


_FACTS = (
    Constraint(
        "other campaigns of the exclusion group",
        Reason.EXCLUDED_BY_OTHER_CAMPAIGN,
        ignored=lambda facts: replace(facts, excluded=np.zeros_like(facts.excluded)),
    ),
    Constraint(
        "budget",
        Reason.BUDGET_REACHED,
        ignored=lambda facts: replace(facts, budget=np.zeros_like(facts.budget)),
    ),
)
