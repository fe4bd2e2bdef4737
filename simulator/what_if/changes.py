"""What differs between two versions of a campaign, in words, and what logged decisions can tell of each difference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import orjson

from optimizer.contact.policy import ContactPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from optimizer.campaign import CampaignFile


class Telling(StrEnum):
    """What the log can tell of a change."""

    JUDGED = "judged"
    """What each logged decision would have chosen is computed again."""
    PER_DECISION = "judged per decision"
    """The same, with every customer's history as it was; what it does over time is refused."""
    REWARD = "reward"
    """What each logged decision earned is computed again from the events."""
    UNTOLD = "the log cannot tell"
    """It changes what the log holds fixed."""
    NOTHING = "changes no decision"
    """A name, or the like."""


HISTORIES: Final = (
    "with it customers would have come to other histories: how many touches, and what they cost, is refused"
)
_MODELS: Final = "no model that learned in this way has scored a logged decision"
_OUTCOMES: Final = "it changes what becomes of touches, not which are chosen"

_KINDS: Final[tuple[tuple[str, Telling, str], ...]] = (
    (r"campaign\.(name|owner|purpose|objective|kind)", Telling.NOTHING, "it names or describes"),
    (r"test_list.*", Telling.NOTHING, "test sends are no decisions"),
    (r"contact_policy\.(caps|cooldowns)\[[^]]*\]\.id", Telling.NOTHING, "it names a rule"),
    (r"contact_policy\.blackouts\[[^]]*\]\.reason", Telling.NOTHING, "it describes"),
    (r"campaign\.(schedule.*|starts_at)", Telling.UNTOLD, "decisions were made when they were made"),
    (r"campaign\.timezone.*", Telling.UNTOLD, "a decision's time zone is logged as it was found"),
    (r"campaign\.(exclusion_group|priority)", Telling.UNTOLD, "whose customers were whose is logged as it was"),
    (r"campaign\.(category|max_touches_per_customer)", Telling.PER_DECISION, HISTORIES),
    (r"contact_policy\.(caps|min_gap|cooldowns|counts)\b.*", Telling.PER_DECISION, HISTORIES),
    (r"catalog\.messages\[[^]]*\]\.caps.*", Telling.PER_DECISION, HISTORIES),
    (r"budget.*", Telling.UNTOLD, "what had been spent by each decision is logged as it was"),
    (r"delivery.*|catalog\.channels\[[^]]*\]\.dispatch", Telling.UNTOLD, _OUTCOMES),
    (r"groups.*", Telling.UNTOLD, "who was in which group is logged as it was; what treatment is worth stays the same"),
    (r"features.*|policy\.(crosses|importance)|catalog\.messages\[[^]]*\]\.attributes.*", Telling.UNTOLD, _MODELS),
    (r"reward\b.*", Telling.REWARD, "from the events; models are those that learned the old reward"),
    (r"catalog\.(channels|messages)\[[^]]*\]\.(offer\.)?(cost|cost_on)", Telling.REWARD, "costs are subtracted"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs.

    Attributes:
        field: where it stands, such as `catalog.messages[offer].eligibility`.
        before, after: what it says, as JSON; None where it is not there.
        telling, why: what the log can tell of it.
    """

    field: str
    before: str | None
    after: str | None
    telling: Telling
    why: str = ""

    @property
    def learning(self) -> bool:
        """Whether other models would have been learned."""
        return self.why == _MODELS

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.field}: added, {self.after}"
        if self.after is None:
            return f"{self.field}: removed"
        return f"{self.field}: {self.before} -> {self.after}"


def changes(before: CampaignFile, after: CampaignFile) -> list[Change]:
    """Every field that differs, in the order of the file."""
    one, other = (_dumped(each) for each in (before, after))
    costs_count = before.reward.subtract_costs or after.reward.subtract_costs
    found = []
    for field, old, new in _differing("", one, other):
        telling, why = _telling(field)
        if telling is Telling.REWARD and not field.startswith("reward") and not costs_count:
            telling, why = Telling.NOTHING, "costs are not subtracted from rewards"
        found.append(Change(field, _said(old), _said(new), telling, why))
    return found


def _dumped(campaign: CampaignFile) -> dict[str, Any]:
    """The whole file; a contact policy that is left out is one that says nothing."""
    policy = (campaign.contact_policy or ContactPolicy()).model_dump(mode="json", by_alias=True)
    return campaign.model_dump(mode="json", by_alias=True) | {"contact_policy": policy}


def _telling(field: str) -> tuple[Telling, str]:
    for pattern, telling, why in _KINDS:
        if re.fullmatch(pattern, field):
            return telling, why
    return Telling.JUDGED, ""


def _said(value: Any) -> str | None:  # noqa: ANN401 - JSON
    return None if value is _ABSENT else orjson.dumps(value).decode()


_ABSENT: Final = object()
_RULES: Final = re.compile(r"audience|.*\.(eligibility|window|after|active|offer)")
"""What is compared and shown as a whole."""


def _differing(path: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401 - JSON
    if one == other:
        return
    if not _RULES.fullmatch(path):
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _members(path, one, other, "{}.{}" if path else "{}{}")
            return
        if _listed(one) and _listed(other) and (one or other):
            yield from _members(path, _by_name(one), _by_name(other), "{}[{}]")
            return
    if isinstance(one, dict) and isinstance(other, dict) and path.endswith(".offer") and _only_costs(one, other):
        yield from _members(path, one, other, "{}.{}")
        return
    yield path, one, other


def _members(path: str, one: Mapping[str, Any], other: Mapping[str, Any], form: str) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys([*one, *other]):
        yield from _differing(form.format(path, name), one.get(name, _ABSENT), other.get(name, _ABSENT))


def _only_costs(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(name) == other.get(name) for name in ("id", "type", "value", "unit"))


def _listed(value: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _by_name(items: list[dict[str, Any]]) -> dict[str, Any]:
    """The items of a list by their ids or names, else by their places."""
    named = [str(each.get("id") or each.get("name") or "") for each in items]
    if "" in named or len(set(named)) < len(named):
        named = [str(place) for place in range(len(items))]
    return dict(zip(named, items, strict=True))
