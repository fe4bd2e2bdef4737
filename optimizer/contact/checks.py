"""What the contact rules of a campaign file must get right beyond their form: that each of them can act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from optimizer.attributes import AttributeType, did_you_mean
from optimizer.contact.policy import QuietHours, SendWindow
from optimizer.scalars import Days, TimeOfDay, Weekday

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import time

    from optimizer.errors import Problem
    from optimizer.yaml_file import Document, Keys

_POLICY: Final = ("contact_policy",)
_CHANNELS: Final = ("catalog", "channels")
_DAYS: Final[TypeAdapter[tuple[Weekday, ...]]] = TypeAdapter(Days)
_TIME: Final[TypeAdapter[time]] = TypeAdapter(TimeOfDay)
_QUIET: Final = TypeAdapter(QuietHours)
_WINDOW: Final = TypeAdapter(SendWindow)
_DAY_MINUTES: Final = 24 * 60
_WEEK_MINUTES: Final = 7 * _DAY_MINUTES


def in_recipient_time(document: Document) -> bool:
    """Whether some contact rule is read on the recipient's clock."""
    dated = ("quiet_hours", "send_windows", "blackouts")
    if any(document.at((*_POLICY, name)) for name in dated):
        return True
    windows = (document.at((*keys, "window")) for keys in _caps(document))
    return any(
        isinstance(window, dict) and "calendar" in window and window.get("clock", "recipient") == "recipient"
        for window in windows
    )


def check_contact(document: Document, types: Mapping[str, AttributeType]) -> Iterator[Problem]:
    """What is wrong with the contact policy, the caps of messages, the budget and the list for test sends."""
    yield from _check_channels(document)
    yield from _check_scopes(document)
    yield from _check_clocks(document)
    yield from _check_countries(document, types)
    yield from _check_slots(document)
    if document.at(("budget", "on_reach")) == "stop_offers" and not _has_offer(document):
        message = "no message has an offer, so that this would stop nothing; allowed: pause"
        yield document.problem(("budget", "on_reach"), message)
    yield from _check_test_list(document)


def _caps(document: Document) -> Iterator[Keys]:
    for keys, _ in document.items((*_POLICY, "caps")):
        yield keys
    for message_keys, _ in document.items(("catalog", "messages")):
        for keys, _ in document.items((*message_keys, "caps")):
            yield keys


def _has_offer(document: Document) -> bool:
    messages = document.items(("catalog", "messages"))
    return any(isinstance(message, dict) and message.get("offer") is not None for _, message in messages)


def _check_channels(document: Document) -> Iterator[Problem]:
    known = document.ids(_CHANNELS)
    for name in ("quiet_hours", "send_windows", "blackouts"):
        for keys, _ in document.items((*_POLICY, name)):
            for at, channel in document.items((*keys, "channels")):
                if isinstance(channel, str) and channel not in known:
                    yield document.problem(at, _unknown(channel, known))
    gaps = (*_POLICY, "min_gap", "channels")
    found = document.at(gaps)
    for channel in found if isinstance(found, dict) else ():
        if channel not in known:
            yield document.problem((*gaps, channel), _unknown(channel, known), at_key=True)
    for keys, _ in document.items((*_POLICY, "caps")):
        channels = document.at((*keys, "channels"))
        if isinstance(channels, list) and channels and not set(map(str, channels)) & set(known):
            message = f"no arm is on any of these channels, so that this would stop nothing; {_listed(known)}"
            yield document.problem((*keys, "channels"), message)


def _unknown(channel: str, known: list[str]) -> str:
    return f"no channel is called {channel}{did_you_mean(channel, known)}; {_listed(known)}"


def _listed(names: list[str]) -> str:
    return f"allowed: {', '.join(names)}" if names else "the catalog has no channels"


def _check_scopes(document: Document) -> Iterator[Problem]:
    """A scope that no arm has anything of."""
    lacks = {"channel": not document.ids(_CHANNELS) and "a channel", "offer": not _has_offer(document) and "an offer"}
    for name in ("caps", "cooldowns"):
        for keys, scope in document.names((*_POLICY, name), "scope"):
            if lacking := lacks.get(scope):
                yield document.problem(keys, f"no arm has {lacking}, so that this would stop nothing")
        seen: set[str] = set()
        for keys, rule_id in document.names((*_POLICY, name), "id"):
            if rule_id in seen:
                yield document.problem(keys, f"{rule_id} is there twice")
            seen.add(rule_id)


def _check_clocks(document: Document) -> Iterator[Problem]:
    zones = (("campaign", "timezone", "fallback"), ("campaign", "schedule", "timezone"))
    if any(document.at(keys) is not None for keys in zones):
        return
    for keys in _caps(document):
        if document.at((*keys, "window", "clock")) == "campaign":
            message = "the campaign has no clock: give campaign.timezone a fallback, or campaign.schedule"
            yield document.problem((*keys, "window", "clock"), message)


def _check_countries(document: Document, types: Mapping[str, AttributeType]) -> Iterator[Problem]:
    for keys, name in document.names((*_POLICY, "blackouts"), "country_attr"):
        if types.get(name) is not AttributeType.CATEGORY:
            yield document.problem(keys, f"{name} is not a declared category{did_you_mean(name, types)}")


def _check_slots(document: Document) -> Iterator[Problem]:
    """Slots that quiet hours and send windows leave nothing of, whichever day and channel."""
    quiet = [_minutes(rule) for rule in _everywhere(document, "quiet_hours", _QUIET)]
    listed = document.at((*_POLICY, "send_windows"))
    windows = [_minutes(rule) for rule in _everywhere(document, "send_windows", _WINDOW)]
    # One that is about some channels alone leaves the others any time.
    open_ = set[int]().union(*windows) if windows and len(windows) == len(listed) else set(range(_WEEK_MINUTES))
    left = open_.difference(*quiet)
    for keys, _ in document.items(("catalog", "timing", "slots")):
        slot = _slot_minutes(document.at(keys))
        if slot and not slot & left:
            message = "nobody can get this slot: the contact policy's hours leave nothing of it"
            yield document.problem(keys, message)


def _everywhere(document: Document, name: str, adapter: TypeAdapter[Any]) -> Iterator[QuietHours | SendWindow]:
    """The well-formed rules of that name that hold on every channel."""
    for _, rule in document.items((*_POLICY, name)):
        try:
            found = adapter.validate_python(rule)
        except ValidationError:
            continue
        if found.channels is None:
            yield found


def _minutes(rule: QuietHours | SendWindow) -> set[int]:
    """The minutes of a week, from Monday's midnight on, that a period takes."""
    start = rule.start.hour * 60 + rule.start.minute
    length = (rule.end.hour * 60 + rule.end.minute - start) % _DAY_MINUTES or _DAY_MINUTES
    begins = (day.number * _DAY_MINUTES + start for day in rule.days)
    return {(minute + offset) % _WEEK_MINUTES for minute in begins for offset in range(length)}


def _slot_minutes(slot: object) -> set[int]:
    """The minutes of a week that a slot takes; none where it is not well formed, which is reported elsewhere."""
    if not isinstance(slot, dict):
        return set()
    try:
        days = _DAYS.validate_python(slot.get("days"))
        start, end = (_TIME.validate_python(slot.get(name)) for name in ("from", "to"))
    except ValidationError:
        return set()
    minutes = range(start.hour * 60 + start.minute, end.hour * 60 + end.minute)
    return {day.number * _DAY_MINUTES + minute for day in days for minute in minutes}


def _check_test_list(document: Document) -> Iterator[Problem]:
    seen: set[object] = set()
    for keys, customer_id in document.items(("test_list",)):
        if isinstance(customer_id, str) and customer_id in seen:
            yield document.problem(keys, f"{customer_id} is there twice")
        seen.add(str(customer_id))
