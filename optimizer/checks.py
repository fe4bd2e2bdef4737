"""What a campaign file must get right beyond its form: names that exist, types that fit, arms that somebody can get.

The checks look at the document rather than at a finished campaign, and each only at the pieces that are well formed, so
that a mistake in one place hides no mistake in another.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from optimizer.attributes import HISTORY_FEATURES, PER_CHANNEL_FEATURES, AttributeType, did_you_mean
from optimizer.campaign import DIMENSIONS, ActiveDays, Slot
from optimizer.contact.checks import check_contact, in_recipient_time
from optimizer.contradictions import contradiction
from optimizer.rules import Comparison
from optimizer.scalars import Instant, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from optimizer.attributes import Attributes
    from optimizer.errors import Problem
    from optimizer.yaml_file import Document, Keys

_T = TypeVar("_T")

RESERVED_ATTRIBUTES: Final = frozenset({"customer_id", "timezone"})
"""Columns of a customer file that are not attributes; so are those that begin with one of `RESERVED_PREFIXES`."""
RESERVED_PREFIXES: Final = ("address.", "consent.")

OPERATORS: Final = {
    AttributeType.NUMBER: ("==", "!=", "<", "<=", ">", ">=", "in", "not_in", "missing", "present"),
    AttributeType.BOOLEAN: ("==", "!=", "missing", "present"),
    AttributeType.CATEGORY: ("==", "!=", "in", "not_in", "missing", "present"),
    AttributeType.MULTI_CATEGORY: ("contains", "missing", "present"),
}
"""The comparisons that make sense for each type."""
VALUES: Final = {
    AttributeType.NUMBER: "numbers",
    AttributeType.BOOLEAN: "true or false",
    AttributeType.CATEGORY: "texts",
    AttributeType.MULTI_CATEGORY: "a text",
}

AUDIENCE: Final = ("audience",)
MESSAGES: Final = ("catalog", "messages")
CHANNELS: Final = ("catalog", "channels")
SLOTS: Final = ("catalog", "timing", "slots")

_INSTANT: Final[TypeAdapter[datetime]] = TypeAdapter(Instant)
_SPAN: Final[TypeAdapter[timedelta]] = TypeAdapter(Span)
_COMPARISON: Final = TypeAdapter(Comparison)
_ACTIVE_DAYS: Final = TypeAdapter(ActiveDays)
_SLOT: Final = TypeAdapter(Slot)

_ZONE_SPREAD: Final = timedelta(hours=14)
"""No zone is further from UTC than this."""


def check_attributes(document: Document) -> list[Problem]:
    """What is wrong with the declared attributes beyond their form."""
    problems = list(_duplicates(document, ("attributes",), "name"))
    for keys, name in document.names(("attributes",), "name"):
        if name in HISTORY_FEATURES:
            problems.append(document.problem(keys, f"{name} is a history feature, which the service keeps itself"))
        elif name in DIMENSIONS:
            problems.append(
                document.problem(keys, f"{name} is what an arm is made of; crosses could not tell them apart")
            )
        elif name in RESERVED_ATTRIBUTES or name.startswith(RESERVED_PREFIXES):
            problems.append(
                document.problem(keys, f"{name} is a column of its own in customer files, not an attribute")
            )
    return problems


def check_campaign(document: Document, attributes: Attributes) -> list[Problem]:
    """What is wrong with a campaign beyond its form."""
    types = attributes.types
    return [
        *_check_audience(document, types),
        *_check_features(document, types),
        *_check_timezone(document, types),
        *_check_bau(document),
        *_check_messages(document, types),
        *_check_channels(document),
        *_check_slots(document),
        *_check_crosses(document),
        *check_contact(document, types),
        *_duplicates(document, ("features",), "name"),
        *_duplicates(document, MESSAGES, "id"),
        *_duplicates(document, CHANNELS, "id"),
        *_duplicates(document, SLOTS, "id"),
        *_duplicates(document, ("reward", "events"), "name"),
    ]


def _parsed(adapter: TypeAdapter[_T], value: object) -> _T | None:
    """The value as what it should be; None where it is not (which is reported elsewhere)."""
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None


def _one_of(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"allowed: {listed}" if listed else "none is configured"


def _duplicates(document: Document, keys: Keys, field: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for name_keys, name in document.names(keys, field):
        if name in seen:
            yield document.problem(name_keys, f"{name} is already in this list; names are unique")
        seen.add(name)


def _undeclared(name: str, types: Mapping[str, AttributeType]) -> str:
    hint = did_you_mean(name, [*types, *HISTORY_FEATURES])
    return f"{name} is not declared in the attributes file, nor a history feature{hint}"


def _comparisons(document: Document, keys: Keys) -> Iterator[tuple[Keys, Comparison]]:
    """Every well-formed comparison inside the rule at `keys`."""
    rule = document.at(keys)
    if not isinstance(rule, dict):
        return
    if (comparison := _parsed(_COMPARISON, rule)) is not None:
        yield keys, comparison
    for name in ("all", "any"):
        for item_keys, _ in document.items((*keys, name)):
            yield from _comparisons(document, item_keys)
    yield from _comparisons(document, (*keys, "not"))


def _conjuncts(document: Document, keys: Keys) -> Iterator[tuple[Keys, Comparison]]:
    """The comparisons that must all hold for the rule at `keys` to hold; others of its parts are passed over."""
    if (comparison := _parsed(_COMPARISON, document.at(keys))) is not None:
        yield keys, comparison
    for item_keys, _ in document.items((*keys, "all")):
        yield from _conjuncts(document, item_keys)


def _check_rule(document: Document, keys: Keys, types: Mapping[str, AttributeType]) -> Iterator[Problem]:
    for place, comparison in _comparisons(document, keys):
        name = comparison.attr
        kind = types.get(name, HISTORY_FEATURES.get(name))
        if name in PER_CHANNEL_FEATURES:
            yield document.problem(
                (*place, "attr"), f"{name} has a value for each channel; rules are about the customer"
            )
        elif kind is None:
            yield document.problem((*place, "attr"), _undeclared(name, types))
        elif comparison.op not in OPERATORS[kind]:
            message = f"{comparison.op} does not suit {name}, a {kind}; allowed: {', '.join(OPERATORS[kind])}"
            yield document.problem((*place, "op"), message)
        elif not _value_fits(comparison, kind):
            message = f"{name} is a {kind}: expected {VALUES[kind]}, got {document.at((*place, 'value'))!r}"
            yield document.problem((*place, "value"), message)


def _value_fits(comparison: Comparison, kind: AttributeType) -> bool:
    values = comparison.value if isinstance(comparison.value, tuple) else (comparison.value,)
    expected = {AttributeType.NUMBER: float, AttributeType.BOOLEAN: bool}.get(kind, str)
    return comparison.value is None or all(isinstance(value, expected) for value in values)


def _check_audience(document: Document, types: Mapping[str, AttributeType]) -> Iterator[Problem]:
    yield from _check_rule(document, AUDIENCE, types)
    if (found := contradiction(_conjuncts(document, AUDIENCE))) is not None:
        yield document.problem(*found)


def _check_eligibility(document: Document, keys: Keys, types: Mapping[str, AttributeType]) -> Iterator[Problem]:
    yield from _check_rule(document, keys, types)
    audience = [*_conjuncts(document, AUDIENCE)]
    if contradiction(audience) is None:
        found = contradiction([*audience, *_conjuncts(document, keys)])
        if found is not None:
            yield document.problem(found[0], f"{found[1]}, so nobody can get this message")


def _check_features(document: Document, types: Mapping[str, AttributeType]) -> Iterator[Problem]:
    for keys, name in document.names(("features",), "name"):
        here = keys[:-1]
        from_history = document.at((*here, "source")) == "history"
        known = HISTORY_FEATURES if from_history else types
        kind = known.get(name)
        written = document.at((*here, "type"))
        if kind is None and from_history:
            yield document.problem(keys, f"no such history feature{did_you_mean(name, known)}; {_one_of(known)}")
        elif kind is None and name in HISTORY_FEATURES:
            yield document.problem(keys, f"{name} is a history feature: it needs source: history")
        elif kind is None:
            yield document.problem(keys, _undeclared(name, types))
        elif written in set(AttributeType) and written != kind:
            yield document.problem((*here, "type"), f"{name} is declared as {kind}, not {written}")
        if from_history and name in PER_CHANNEL_FEATURES and not document.ids(CHANNELS):
            yield document.problem(keys, f"{name} needs channels, and the catalog has none")


def _check_timezone(document: Document, types: Mapping[str, AttributeType]) -> Iterator[Problem]:
    keys = ("campaign", "timezone")
    if document.at(keys) is None:
        return
    if document.at(("catalog", "timing")) is None and not in_recipient_time(document):
        message = "acts only with catalog.timing or rules in recipient time, which are not given"
        yield document.problem(keys, message, at_key=True)
    name = document.at((*keys, "attr"))
    if isinstance(name, str) and name != "timezone" and types.get(name) is not AttributeType.CATEGORY:
        yield document.problem((*keys, "attr"), f"{name} is not a declared category{did_you_mean(name, types)}")


def _check_bau(document: Document) -> Iterator[Problem]:
    keys = ("groups", "bau", "arm")
    if not isinstance(document.at(keys), dict):
        return
    for name, place in zip(DIMENSIONS, (MESSAGES, CHANNELS, SLOTS), strict=True):
        known = document.ids(place)
        chosen = document.at((*keys, name))
        if isinstance(chosen, str) and chosen not in known:
            message = f"no {name} is called {chosen}{did_you_mean(chosen, known)}; {_one_of(known)}"
            yield document.problem((*keys, name), message)
        elif chosen is None and known and name != "message":
            yield document.problem((*keys, name), f"required, since arms have a {name}; {_one_of(known)}")
    channel = document.at((*keys, "channel"))
    for message_keys, message in document.names(MESSAGES, "id"):
        creatives = document.at((*message_keys[:-1], "creatives"))
        chosen = message == document.at((*keys, "message")) and channel in document.ids(CHANNELS)
        if chosen and isinstance(creatives, dict) and channel not in creatives:
            yield document.problem((*keys, "channel"), f"{message} has no creative for {channel}; {_one_of(creatives)}")


def _check_messages(document: Document, types: Mapping[str, AttributeType]) -> Iterator[Problem]:
    channels = document.ids(CHANNELS)
    starts_at = _parsed(_INSTANT, document.at(("campaign", "starts_at")))
    ends_at = _parsed(_INSTANT, document.at(("campaign", "ends_at")))
    for keys, message in document.items(MESSAGES):
        yield from _check_eligibility(document, (*keys, "eligibility"), types)
        creatives = document.at((*keys, "creatives")) or {}
        if channels and isinstance(message, dict) and not creatives:
            yield document.problem(keys, "nobody can get this message: it has no creative for any channel")
        for channel in creatives if isinstance(creatives, dict) else ():
            if channel not in channels:
                text = f"no channel is called {channel}{did_you_mean(channel, channels)}; {_one_of(channels)}"
                yield document.problem((*keys, "creatives", channel), text, at_key=True)
        active = _parsed(_ACTIVE_DAYS, document.at((*keys, "active")))
        if active is None:
            continue
        if starts_at is not None and active.until < starts_at.date():
            yield document.problem((*keys, "active"), "nobody can get this message: it ends before the campaign starts")
        if ends_at is not None and active.start > ends_at.date():
            yield document.problem((*keys, "active"), "nobody can get this message: it starts after the campaign ends")


def _check_channels(document: Document) -> Iterator[Problem]:
    messages = [message for _, message in document.items(MESSAGES) if isinstance(message, dict)]
    rendered = {channel for message in messages for channel in (message.get("creatives") or ())}
    for keys, channel in document.names(CHANNELS, "id"):
        if channel not in rendered:
            yield document.problem(keys, f"nobody can be reached on {channel}: no message has a creative for it")


def _check_slots(document: Document) -> Iterator[Problem]:
    starts_at = _parsed(_INSTANT, document.at(("campaign", "starts_at")))
    ends_at = _parsed(_INSTANT, document.at(("campaign", "ends_at")))
    horizon = _parsed(_SPAN, document.at(("catalog", "timing", "horizon")))
    if starts_at is None or ends_at is None or horizon is None:
        return
    first = (starts_at - _ZONE_SPREAD).date()
    days = ((ends_at + horizon + _ZONE_SPREAD).date() - first).days + 1
    reached = {(first + timedelta(days=day)).weekday() for day in range(min(max(days, 0), 7))}
    for keys, item in document.items(SLOTS):
        slot = _parsed(_SLOT, item)
        if slot is not None and reached.isdisjoint(day.number for day in slot.days):
            yield document.problem((*keys, "days"), "nobody can get this slot: the campaign ends before such a day")


def _check_crosses(document: Document) -> Iterator[Problem]:
    has = {"message": True, "channel": bool(document.ids(CHANNELS)), "timing": bool(document.ids(SLOTS))}
    dimensions: list[str] = [name for name in DIMENSIONS if has[name]]
    known = [*(name for _, name in document.names(("features",), "name")), *dimensions]
    for keys, cross in document.items(("policy", "crosses")):
        names = [name for name in cross if isinstance(name, str)] if isinstance(cross, list) else []
        for index, name in enumerate(names):
            if name in DIMENSIONS and name not in dimensions:
                yield document.problem((*keys, index), f"arms have no {name}; {_one_of(known)}")
            elif name not in known:
                message = f"{name} is neither a feature nor a dimension{did_you_mean(name, known)}; {_one_of(known)}"
                yield document.problem((*keys, index), message)
            elif name in names[:index]:
                yield document.problem((*keys, index), f"{name} is already in this cross")
        if names and not set(names) & set(DIMENSIONS):
            message = f"a cross needs at least one dimension, or it moves all arms alike; {_one_of(dimensions)}"
            yield document.problem(keys, message)
        yield from _check_pair(document, keys, [name for name in names if name not in DIMENSIONS])
    yield from _check_all_crossed(document)


def _check_pair(document: Document, keys: Keys, features: list[str]) -> Iterator[Problem]:
    """Several features in one cross are a pair of values: two at most, each with one value at a time."""
    if len(features) > 2:  # noqa: PLR2004 -- a pair
        yield document.problem(keys, f"{', '.join(features)}: at most two features in one cross")
    elif len(features) == 2:  # noqa: PLR2004 -- a pair
        types = {name: document.at((*at[:-1], "type")) for at, name in document.names(("features",), "name")}
        for name in features:
            if types.get(name) in {AttributeType.NUMBER, AttributeType.MULTI_CATEGORY}:
                message = f"{name} is a {types[name]}: a pair is made of features of type category or boolean"
                yield document.problem(keys, message)


def _check_all_crossed(document: Document) -> Iterator[Problem]:
    """With a list of crosses, a feature in none of them would not act."""
    crosses = document.at(("policy", "crosses"))
    if not isinstance(crosses, list):
        return
    crossed = {name for cross in crosses if isinstance(cross, list) for name in cross if isinstance(name, str)}
    for keys, name in document.names(("features",), "name"):
        if name not in crossed:
            yield document.problem(keys, f"{name} is in no cross of policy.crosses: it would not act")
