"""From events to rewards: which event counts for which decision, and what a decision earned.

A reward is a function of the logs alone (promise 5 of the design):

* A decision closes at `decided + horizon + longest window`, whichever arm was drawn, and is mature `lateness` later. An
  event counts if it occurred within its window, ends included, and was received by maturity; whenever the job runs, the
  answer is the same.
* Most windows are `[decided, decided + horizon + window]`. What an arm's own delay would distort (`FROM_SEND`) counts
  from the send, for its own window: `[send, send + window]`, never past the close. The send is the real one, or the
  planned one of a touch that was not sent, or the instant of the decision where nothing was to be sent.
* An event that names a decision counts for that one only. An event that names only a customer counts, within each
  campaign, for the customer's latest decision whose window for it contains it: decisions not to send, and the
  holdout's, included. So a campaign gives an event's credit once at most.

Instants are int microseconds since the epoch. Rewards and costs are in one unit, that of the campaign's reward values.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from itertools import chain
from math import fsum, isfinite
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from optimizer.campaign import CampaignFile

Aggregate = Literal["first", "sum", "last"]
CostOn = Literal["sent", "used"]

FROM_SEND: Final = frozenset({"delivered", "opened", "clicked", "unsubscribed"})
"""Names of events that are about the touch itself, and so count from the send."""

USED: Final = "used"
"""The event at which an offer with `cost_on: used` costs."""


class Standing(StrEnum):
    """What became of an event at one decision."""

    COUNTED = "counted"
    """It is in the reward."""
    SUPERSEDED = "superseded"
    """It would count, but `aggregate` takes another one."""
    LATE = "late"
    """It was received after the decision's maturity: kept and shown, not learned."""
    OUTSIDE_WINDOW = "outside_window"
    """It occurred outside the decision's window for it."""
    OTHER_DECISION = "other_decision"
    """It names only the customer, and a later decision of the campaign has it."""
    NO_VALUE = "no_value"
    """Its value should come from a field that is missing or not a finite number: a problem to report."""


_HAPPENED: Final = frozenset({Standing.COUNTED, Standing.NO_VALUE})


@dataclass(frozen=True, slots=True)
class RewardEvent:
    """One event of a campaign's reward: worth `value`, or what its field `value_from` says, within `[-cap, cap]`."""

    name: str
    window_us: int
    value: float | None = None
    value_from: str | None = None
    cap: float | None = None


@dataclass(frozen=True, slots=True)
class OfferCost:
    """What a message's offer costs, and at which event."""

    amount: float
    on: CostOn


@dataclass(frozen=True, slots=True)
class RewardSpec:
    """How one version of a campaign turns events into a reward.

    `events` have distinct names. Without `subtract_costs` no cost is counted; that an offer was used is known with
    `has_budget` all the same.
    """

    events: tuple[RewardEvent, ...]
    lateness_us: int
    horizon_us: int = 0
    default: float = 0.0
    aggregate: Aggregate = "sum"
    subtract_costs: bool = False
    has_budget: bool = False
    channel_costs: Mapping[str, float] = field(default_factory=dict, hash=False)
    offer_costs: Mapping[str, OfferCost] = field(default_factory=dict, hash=False)
    by_name: Mapping[str, RewardEvent] = field(init=False, repr=False, compare=False)
    span_us: int = field(init=False, repr=False, compare=False)
    """From the decision to its close: the horizon and the longest window."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {event.name: event for event in self.events})
        longest = max((event.window_us for event in self.events), default=0)
        object.__setattr__(self, "span_us", self.horizon_us + longest)

    @classmethod
    def of(cls, file: CampaignFile) -> RewardSpec:
        """The reward of a campaign file; a campaign without timing slots has no horizon."""
        reward, catalog = file.reward, file.catalog
        return cls(
            events=tuple(
                RewardEvent(event.name, _us(event.window), event.value, event.value_from, event.cap)
                for event in reward.events
            ),
            lateness_us=_us(reward.lateness),
            horizon_us=_us(catalog.timing.horizon) if catalog.timing else 0,
            default=reward.default,
            aggregate=reward.aggregate,
            subtract_costs=reward.subtract_costs,
            has_budget=file.budget is not None,
            channel_costs={channel.id: channel.cost for channel in catalog.channels},
            offer_costs={
                message.id: OfferCost(message.offer.cost, message.offer.cost_on)
                for message in catalog.messages
                if message.offer
            },
        )

    def close_us(self, decided_us: int) -> int:
        """When the last window of a decision ends."""
        return decided_us + self.span_us

    def mature_us(self, decided_us: int) -> int:
        """Until when a decision waits for late events; its reward is final from then on."""
        return decided_us + self.span_us + self.lateness_us


@dataclass(frozen=True, slots=True)
class DecisionFacts:
    """What a reward needs to know of a decision.

    `message` and `channel` are those of the arm drawn (None: no_send, or a campaign without channels). `send_us` is the
    planned send, None where nothing was to be sent. `sent_us` is when the touch was really sent, None while it was not;
    `sent_known_us` is when that was recorded (None: at once), for a platform that sends itself may report it late.
    """

    decision_id: str
    campaign_id: str
    subject_id: str
    decided_us: int
    spec: RewardSpec
    message: str | None = None
    channel: str | None = None
    send_us: int | None = None
    sent_us: int | None = None
    sent_known_us: int | None = None

    def sent_by(self, known_by_us: int) -> int | None:
        """When the touch was really sent, if that was on record by `known_by_us`."""
        known_us = self.sent_us if self.sent_known_us is None else self.sent_known_us
        return self.sent_us if known_us is not None and known_us <= known_by_us else None

    def window(self, name: str, known_by_us: int) -> tuple[int, int] | None:
        """First and last instant at which an event of this name counts; None if it never does.

        A real send moves it if that was on record by `known_by_us`. The last may lie before the first: a touch sent
        after the close.
        """
        spec, decided_us = self.spec, self.decided_us
        event = spec.by_name.get(name)
        if event is None:
            counts = name == USED and (spec.subtract_costs or spec.has_budget) and self._offer_on("used")
            return (decided_us, decided_us + spec.span_us) if counts else None
        if name not in FROM_SEND:
            return decided_us, decided_us + spec.horizon_us + event.window_us
        sent_us = self.sent_by(known_by_us)
        if sent_us is None:
            sent_us = self.send_us if self.send_us is not None else decided_us
        start_us = max(sent_us, decided_us)
        return start_us, min(start_us + event.window_us, decided_us + spec.span_us)

    @property
    def use_cost(self) -> float:
        """What the first use of the offer costs."""
        return self._offer_cost("used")

    def touch_cost(self, known_by_us: int) -> float:
        """What the sending cost, if a send was on record by `known_by_us`."""
        if not self.spec.subtract_costs or self.sent_by(known_by_us) is None:
            return 0.0
        return self.spec.channel_costs.get(self.channel or "", 0.0) + self._offer_cost("sent")

    def _offer_cost(self, on: CostOn) -> float:
        return self._offer_on(on) if self.spec.subtract_costs else 0.0

    def _offer_on(self, on: CostOn) -> float:
        """What the offer costs there, whether the reward is less by it or not."""
        offer = self.spec.offer_costs.get(self.message or "")
        return offer.amount if offer is not None and offer.on == on else 0.0


@dataclass(frozen=True, slots=True)
class EventFacts:
    """What a reward needs to know of an event.

    `decision_id` is set where it names a decision (a campaign's `request_id` counts as naming one; resolve it before).
    Otherwise it names the subject only, in one campaign if `campaign_id` is set, in all of them if not.
    """

    event_id: str
    name: str
    occurred_us: int
    received_us: int
    decision_id: str | None = None
    campaign_id: str | None = None
    subject_id: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Part:
    """One event beside one decision, and why it counts or not.

    `value` is what it is worth (None: its use only costs, or it has no usable value). `note` says what is wrong, or
    which decision has the event instead.
    """

    event_id: str
    name: str
    occurred_us: int
    received_us: int
    standing: Standing
    value: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class JoinedReward:
    """What a decision earned: `reward = gross - touch_cost - use_cost`.

    `gross` aggregates the values of the parts that are `counted`, and is the campaign's default where there is none. An
    offer's use costs once. `parts` are in the order of occurrence: every event that names the decision and has a part
    in its reward, and those of the customer that occurred between the decision and its close.
    """

    decision_id: str
    campaign_id: str
    mature_us: int
    reward: float
    gross: float
    touch_cost: float = 0.0
    use_cost: float = 0.0
    parts: tuple[Part, ...] = ()

    @property
    def used(self) -> bool:
        """Whether an offer that costs when it is used was used."""
        return any(part.name == USED and part.standing in _HAPPENED for part in self.parts)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the events that should have counted, in words."""
        return tuple(f"event {part.event_id}: {part.note}" for part in self.parts if part.standing is Standing.NO_VALUE)


def join(
    decisions: Sequence[DecisionFacts], events: Iterable[EventFacts], siblings: Iterable[DecisionFacts] = ()
) -> list[JoinedReward]:
    """The reward of each of `decisions`, in their order.

    `events` are those that name one of the decisions and those of their subjects that name no decision; others are
    passed over, and the same `event_id` counts once (the one received first). `siblings` are the other decisions of the
    same subjects and campaigns that were open (between decision and close) at the same time as one of `decisions`: they
    take the credit of what is theirs. A decision that is not mature yet gets what it would earn if nothing more came.

    Deterministic to the bit: neither the order of the arguments, nor doubles, nor the time of the call matters.
    """
    named: dict[str, list[EventFacts]] = defaultdict(list)
    loose: dict[str, list[EventFacts]] = defaultdict(list)
    for event in _once(events):
        if event.decision_id is not None:
            named[event.decision_id].append(event)
        elif event.subject_id is not None:
            loose[event.subject_id].append(event)
    parts = _loose_parts(decisions, siblings, loose)
    joined = []
    for decision in decisions:
        own = parts.get(decision.decision_id, [])
        if decision.decision_id in named:
            mature_us = decision.spec.mature_us(decision.decided_us)
            own = own + [
                _part(decision, event, window, decision)
                for event in named[decision.decision_id]
                if (window := decision.window(event.name, mature_us)) is not None
            ]
        joined.append(_total(decision, own))
    return joined


def _once(events: Iterable[EventFacts]) -> Iterable[EventFacts]:
    """Each event_id once: the one received first, and among equals the same one in whichever order they come."""
    seen: dict[str, EventFacts] = {}
    for event in events:
        other = seen.setdefault(event.event_id, event)
        if other is not event and _age(event) < _age(other):
            seen[event.event_id] = event
    return seen.values()


def _age(event: EventFacts) -> tuple[int, int, str]:
    return event.received_us, event.occurred_us, repr(event)


class _Line:
    """The decisions of one subject in one campaign as they were made, to be asked which were open at an instant."""

    __slots__ = ("_decided_us", "_last_close_us", "_members")

    def __init__(self, members: Mapping[str, DecisionFacts]) -> None:
        self._members = sorted(members.values(), key=lambda decision: (decision.decided_us, decision.decision_id))
        self._decided_us = [decision.decided_us for decision in self._members]
        self._last_close_us: list[int] = []
        last_us = self._decided_us[0]
        for decision in self._members:
            last_us = max(last_us, decision.spec.close_us(decision.decided_us))
            self._last_close_us.append(last_us)

    def open_at(self, instant_us: int) -> list[DecisionFacts]:
        """Those between decision and close, the latest first."""
        found = []
        for i in range(bisect_right(self._decided_us, instant_us) - 1, -1, -1):
            if self._last_close_us[i] < instant_us:
                break
            decision = self._members[i]
            if decision.spec.close_us(decision.decided_us) >= instant_us:
                found.append(decision)
        return found


def _loose_parts(
    decisions: Sequence[DecisionFacts], siblings: Iterable[DecisionFacts], loose: Mapping[str, Sequence[EventFacts]]
) -> dict[str, list[Part]]:
    """Events that name only a subject, beside each of `decisions` that was open when they occurred, by decision."""
    parts: dict[str, list[Part]] = {decision.decision_id: [] for decision in decisions if decision.subject_id in loose}
    if not parts:
        return parts
    lines: dict[str, dict[str, dict[str, DecisionFacts]]] = defaultdict(lambda: defaultdict(dict))
    for decision in chain(siblings, decisions):
        if decision.subject_id in loose:
            lines[decision.subject_id][decision.campaign_id][decision.decision_id] = decision
    for subject_id, campaigns in lines.items():
        for campaign_id, members in campaigns.items():
            line = _Line(members)
            for event in loose[subject_id]:
                if event.campaign_id is None or event.campaign_id == campaign_id:
                    _share(line.open_at(event.occurred_us), event, parts)
    return parts


def _share(candidates: Sequence[DecisionFacts], event: EventFacts, parts: Mapping[str, list[Part]]) -> None:
    """Give the event to the latest candidate whose window contains it, and put it down at each that is asked for.

    Candidates mature at different times and must agree on which of them has the event. So a send that was reported late
    moves a window only if it was on record before the first of them can have matured.
    """
    if not candidates:
        return
    known_by_us = event.occurred_us + min(decision.spec.lateness_us for decision in candidates)
    owner: DecisionFacts | None = None
    for decision in candidates:
        window = decision.window(event.name, known_by_us)
        if window is None:
            continue
        if owner is None and window[0] <= event.occurred_us <= window[1]:
            owner = decision
        if decision.decision_id in parts:
            parts[decision.decision_id].append(_part(decision, event, window, owner))


def _part(decision: DecisionFacts, event: EventFacts, window: tuple[int, int], owner: DecisionFacts | None) -> Part:
    """The event beside the decision, before aggregation; `owner` is the decision that has it."""
    value, note = _value(decision.spec.by_name.get(event.name), event)
    if not window[0] <= event.occurred_us <= window[1]:
        standing = Standing.OUTSIDE_WINDOW
    elif owner is not None and owner is not decision:
        standing, note = Standing.OTHER_DECISION, owner.decision_id
    elif event.received_us > decision.spec.mature_us(decision.decided_us):
        standing = Standing.LATE
    else:
        standing = Standing.NO_VALUE if note else Standing.COUNTED
    return Part(event.event_id, event.name, event.occurred_us, event.received_us, standing, value, note)


def _value(definition: RewardEvent | None, event: EventFacts) -> tuple[float | None, str]:
    """What the event is worth, and what is wrong with it if that cannot be told."""
    if definition is None:
        return None, ""
    if definition.value_from is None:
        return definition.value, ""
    name = definition.value_from
    if name not in event.fields:
        return None, f"has no field {name!r}, where the value of {event.name!r} comes from; it counts nothing"
    number = _finite(event.fields[name])
    if number is None:
        return None, f"field {name!r} is {event.fields[name]!r}, not a finite number; it counts nothing"
    return (number if definition.cap is None else max(-definition.cap, min(definition.cap, number))), ""


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None


def _total(decision: DecisionFacts, beside: Sequence[Part]) -> JoinedReward:
    """Aggregate the parts that count, and take the costs off."""
    spec = decision.spec
    mature_us = spec.mature_us(decision.decided_us)
    touch_cost = 0.0 if decision.sent_us is None else decision.touch_cost(mature_us)
    if not beside:
        return JoinedReward(
            decision.decision_id, decision.campaign_id, mature_us, spec.default - touch_cost, spec.default, touch_cost
        )
    parts = sorted(beside, key=lambda part: (part.occurred_us, part.event_id))
    use_cost = decision.use_cost
    if use_cost and not any(part.name == USED and part.standing in _HAPPENED for part in parts):
        use_cost = 0.0
    valued = [i for i, part in enumerate(parts) if part.standing is Standing.COUNTED and part.value is not None]
    if spec.aggregate != "sum" and len(valued) > 1:
        chosen = valued[0] if spec.aggregate == "first" else valued[-1]
        for i in valued:
            if i != chosen:
                parts[i] = replace(parts[i], standing=Standing.SUPERSEDED)
        valued = [chosen]
    gross = fsum(value for i in valued if (value := parts[i].value) is not None) if valued else spec.default
    reward = fsum((gross, -touch_cost, -use_cost))
    return JoinedReward(
        decision.decision_id, decision.campaign_id, mature_us, reward, gross, touch_cost, use_cost, tuple(parts)
    )


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
