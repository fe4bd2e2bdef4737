"""A campaign as it is written in a file: models that accept only what is acted upon.

These models know what a campaign looks like; `optimizer.config` reads the files and checks what needs more than one of
them or the declared attributes. All of them are frozen, and `model_dump(mode="json", by_alias=True)` gives back
what they were made from, with every default spelled out.
"""

from __future__ import annotations

import hashlib
import operator
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Final, Literal, TypeAlias

import orjson
from pydantic import (
    Field,
    PlainValidator,
    Strict,
    WithJsonSchema,
    model_validator,
)

from optimizer.attributes import AttributeType
from optimizer.contact.policy import Budget, ContactPolicy, Delivery, MessageCap
from optimizer.policy import Policy, SquareCB
from optimizer.rules import Rule, Scalar, as_scalar
from optimizer.scalars import (
    Cost,
    Count,
    Day,
    Days,
    Duration,
    Flag,
    Id,
    Instant,
    Number,
    Part,
    Share,
    Span,
    Text,
    TimeOfDay,
    Zone,
    at_most,
    micro,
)

Dimension: TypeAlias = Literal["message", "channel", "timing"]
DIMENSIONS: Final[tuple[Dimension, ...]] = ("message", "channel", "timing")
"""What an arm can be made of, in the order in which arm ids name it."""

NO_SEND: Final = "no_send"
"""The name of the arm that sends nothing."""

_DAY: Final = timedelta(days=1)


AttributeValue: TypeAlias = Annotated[
    Scalar,
    PlainValidator(as_scalar),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}),
]


def _unused_unless_given(description: str) -> Any:  # noqa: ANN401 - as pydantic's own Field
    """A field that does not enter into the hash of a campaign that does not use it: campaigns of before keep theirs."""
    return Field(default=None, description=description, exclude_if=lambda value: value is None)


class Schedule(Part):
    """When runs over the audience start."""

    every: Span = Field(description="Time between runs: a whole number of days, or a part that divides a day evenly.")
    at: TimeOfDay = Field(
        description="The time of day, in `timezone`, of a run (of one of them, if there are several a day)."
    )
    timezone: Zone = Field(description="The IANA time zone in which `at` is read, daylight saving included.")

    @model_validator(mode="after")
    def _days_line_up(self) -> Schedule:
        if self.every % _DAY and _DAY % self.every:
            raise ValueError(
                "every must be a whole number of days (1d, 2d, ...) or divide a day evenly (1h, 6h, 12h, ...)"
            )
        return self


class TimezonePolicy(Part):
    """How the recipient's time zone is found, which timing slots are read in."""

    attr: Id = Field(
        default="timezone",
        description="The declared category attribute with the customer's IANA zone; `timezone` is the zone stored "
        "with the customer.",
    )
    fallback: Zone | None = Field(default=None, description="The zone used with `if_missing: use_fallback`.")
    if_missing: Literal["use_fallback", "block"] = Field(
        default="block",
        description="For a customer without a known zone: use_fallback takes `fallback`; block allows no slot.",
    )

    @model_validator(mode="after")
    def _fallback_is_used(self) -> TimezonePolicy:
        if self.if_missing == "use_fallback" and self.fallback is None:
            raise ValueError("if_missing: use_fallback needs a fallback zone")
        if self.if_missing == "block" and self.fallback is not None:
            raise ValueError("a fallback zone acts only with if_missing: use_fallback")
        return self


class CampaignSettings(Part):
    """What the campaign is, and when it acts."""

    id: Id = Field(description="The campaign's permanent name in requests, logs and reports.")
    name: str = Field(description="What people call it.")
    owner: str = Field(default="", description="Who answers for it.")
    purpose: str = Field(default="", description="The heading under which its spend is shown.")
    objective: str = Field(default="", description="What it wants to achieve, in words.")
    kind: Literal["experiment", "program"] = Field(
        default="experiment", description="experiment, or program: a proven one that recurs."
    )
    category: Literal["marketing", "transactional"] = Field(
        default="marketing", description="marketing or transactional."
    )
    starts_at: Instant = Field(description="The first instant of decisions, with its UTC offset.")
    ends_at: Instant | None = Field(
        default=None, description="The instant from which nothing is decided; none: no end."
    )
    schedule: Schedule | None = Field(default=None, description="Runs over the audience; none: single decisions only.")
    timezone: TimezonePolicy = Field(
        default=TimezonePolicy(), description="How the recipient's time zone is found, for timing slots."
    )
    max_touches_per_customer: Count | None = Field(
        default=None,
        description="The most touches, planned ones included, a customer gets from this campaign; none: any.",
    )
    exclusion_group: Id | None = _unused_unless_given(
        "A customer is in one campaign of this group at a time: from the first decision on until that campaign's end "
        "and longest window."
    )
    priority: Annotated[int, Strict(), Field(ge=0, le=1_000_000)] | None = _unused_unless_given(
        "Of several campaigns of the exclusion group that a customer could be in, the one with the highest wins; then "
        "the one that starts earlier, then the one whose id comes first."
    )

    @model_validator(mode="after")
    def _priority_acts(self) -> CampaignSettings:
        if self.priority is not None and self.exclusion_group is None:
            raise ValueError("priority acts only with exclusion_group")
        return self

    @model_validator(mode="after")
    def _ends_after_start(self) -> CampaignSettings:
        if self.ends_at is not None and self.ends_at <= self.starts_at:
            raise ValueError("ends_at must be after starts_at")
        return self


class BauArm(Part):
    """The arm that business as usual would choose: one id for each dimension of the catalog."""

    message: Id = Field(description="The message's id.")
    channel: Id | None = Field(default=None, description="The channel's id; left out if the catalog has no channels.")
    timing: Id | None = Field(default=None, description="The slot's id; left out if the catalog has no timing.")


class Bau(Part):
    """Business as usual: customers who always get one fixed arm."""

    share: Share = Field(description="The share of customers in this group, 0 to 1.")
    arm: BauArm = Field(description="The arm they get; where it is not allowed they get nothing.")


class Groups(Part):
    """How customers are divided, by a hash that never changes; the rest of the shares is treatment."""

    salt: str = Field(default="", description="Makes this division independent of others; empty: the campaign's id.")
    holdout: Share = Field(default=0.0, description="The share that is never contacted, 0 to 1.")
    random_control: Share = Field(
        default=0.0, description="The share that gets allowed arms uniformly at random, 0 to 1."
    )
    bau: Bau | None = Field(default=None, description="The share that gets one fixed arm, and which.")

    @model_validator(mode="after")
    def _shares_fit(self) -> Groups:
        total = self.holdout + self.random_control + (self.bau.share if self.bau else 0.0)
        if total > 1.0 + 1e-9:
            raise ValueError(
                f"the shares of holdout, random_control and bau sum to {total:g}; they may sum to 1 at most"
            )
        return self


Missing: TypeAlias = Literal["mean", "median", "flag", "level", "ignore"]


def _usual_missing(validated: dict[str, Any]) -> Missing:
    return "mean" if validated.get("type") is AttributeType.NUMBER else "level"


class Feature(Part):
    """A fact that the policy may use, as it enters the model."""

    name: Id = Field(description="The declared attribute or history feature it is made of.")
    bucket: Literal["customer", "experience", "execution"] = Field(
        description="What it tells about: customer (who), experience (what is said), execution (where, when, "
        "earlier touches)."
    )
    type: AttributeType = Field(
        description="number, boolean, category or multi_category, as the attribute is declared."
    )
    source: Literal["attribute", "history"] = Field(
        default="attribute", description="attribute (declared, of the customer) or history (of earlier touches)."
    )
    scale: Literal["none", "log"] = Field(
        default="none", description="For numbers: log takes sign(x) log(1 + |x|) before standardising."
    )
    missing: Missing = Field(
        default_factory=_usual_missing,
        description="What stands for a missing value. Numbers: mean (default), median, or flag (mean, and a feature "
        "that says so). Others: level (default; missing is a value of its own) or ignore (nothing).",
    )

    @model_validator(mode="after")
    def _options_suit_type(self) -> Feature:
        number = self.type is AttributeType.NUMBER
        if self.scale == "log" and not number:
            raise ValueError(f"scale: log is for numbers; {self.name} is a {self.type}")
        if number != (self.missing in {"mean", "median", "flag"}):
            allowed = "mean, median or flag" if number else "level or ignore"
            raise ValueError(f"missing: {self.missing} does not suit a {self.type}; allowed: {allowed}")
        return self


class Offer(Part):
    """The incentive in a message."""

    id: Id = Field(description="The offer's permanent name.")
    type: Id = Field(description="Its kind, such as discount or free_shipping.")
    value: Number = Field(description="Its size, in `unit`.")
    unit: Text = Field(description="The unit of `value`, such as percent or USD.")
    cost: Cost = Field(default=0.0, description="What it costs the sender each time, in the unit of the reward.")
    cost_on: Literal["sent", "used"] = Field(
        default="sent", description="When that cost arises: as the touch is sent, or with an event named `used`."
    )


class ActiveDays(Part):
    """The days on which a message may be sent: the recipient's local ones, UTC's where no time zone is known."""

    start: Day = Field(alias="from", description="The first day.")
    until: Day = Field(description="The last day, which still counts.")

    @model_validator(mode="after")
    def _not_empty(self) -> ActiveDays:
        if self.until < self.start:
            raise ValueError("until must not be before from")
        return self


class Creative(Part):
    """A message's rendering for one channel; the content itself lives elsewhere."""

    template: Text = Field(description="The reference by which the channel's system knows it.")
    version: Count = Field(description="The version of that template.")


class Message(Part):
    """What may be said."""

    id: Id = Field(description="The message's permanent name.")
    attributes: dict[Id, AttributeValue] = Field(
        default_factory=dict, description="What the message is like, by name; these are features of the arm."
    )
    offer: Offer | None = Field(default=None, description="The incentive in it, if any.")
    eligibility: Rule | None = Field(default=None, description="Which customers may get it; none: all of the audience.")
    active: ActiveDays | None = Field(default=None, description="The days on which it may be sent; none: always.")
    creatives: dict[Id, Creative] = Field(
        default_factory=dict, description="Its rendering by channel id; on other channels it cannot be sent."
    )
    caps: tuple[MessageCap, ...] = Field(
        default=(), description="The most touches with this message in a window of time.", exclude_if=operator.not_
    )

    @model_validator(mode="after")
    def _name_is_free(self) -> Message:
        if self.id == NO_SEND:
            raise ValueError(f"{NO_SEND} is the name of the arm that sends nothing")
        return self


class Channel(Part):
    """A way to reach customers."""

    id: Id = Field(description="The channel's permanent name.")
    cost: Cost = Field(description="The cost of one touch, in the unit of the reward.")
    consent: Id | None = _unused_unless_given(
        "The consent, by the name under which customers give it, without which nobody is contacted on this channel."
    )
    dispatch: Literal["service", "caller"] = Field(
        default="service",
        description="service: this service sends; caller: the platform sends or shows, and reports a `sent` or "
        "`shown` event.",
    )


class Slot(Part):
    """A window in the recipient's local time."""

    id: Id = Field(description="The slot's permanent name.")
    days: Days = Field(description="all, or a list of mon, tue, wed, thu, fri, sat, sun.")
    start: TimeOfDay = Field(alias="from", description="Where the window begins, recipient's local time.")
    end: TimeOfDay = Field(alias="to", description="Where it ends, on the same day; a touch goes out before it.")

    @model_validator(mode="after")
    def _within_a_day(self) -> Slot:
        if self.end <= self.start:
            raise ValueError("to must be later than from, on the same day")
        return self


class Timing(Part):
    """When touches may go out."""

    horizon: Annotated[Duration, at_most(14)] = Field(
        description="How far ahead of the decision a slot may begin, 14d at most."
    )
    slots: tuple[Slot, ...] = Field(min_length=1, description="The windows to choose from.")


class Catalog(Part):
    """What can be sent: every message on every channel in every slot is an arm."""

    messages: tuple[Message, ...] = Field(min_length=1, description="What may be said.")
    channels: tuple[Channel, ...] = Field(
        default=(),
        description="How customers are reached; none: the caller shows the message, and arms have no channel.",
    )
    timing: Timing | None = Field(default=None, description="When; none: the time is now, and arms have no slot.")
    no_send: Flag = Field(default=True, description="Whether sending nothing is an arm that the policy may choose.")

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The dimensions that the arms have, in the order in which arm ids name them."""
        has = {"message": True, "channel": bool(self.channels), "timing": self.timing is not None}
        return tuple(name for name in DIMENSIONS if has[name])


class RewardEvent(Part):
    """What one kind of event is worth."""

    name: Id = Field(description="The event's name, such as clicked or purchased.")
    value: Number | None = Field(default=None, description="What it is worth; or use `value_from`.")
    value_from: Id | None = Field(
        default=None, description="The numeric field of the event that says what it is worth."
    )
    cap: Annotated[Number, Field(gt=0)] | None = Field(
        default=None, description="With `value_from`: the largest size that counts, either sign."
    )
    window: Span = Field(description="How long after the decision (or the send) it counts.")

    @model_validator(mode="after")
    def _one_value(self) -> RewardEvent:
        if (self.value is None) == (self.value_from is None):
            raise ValueError("give either value or value_from")
        if (self.cap is None) != (self.value_from is None):
            message = (
                "value_from needs a cap: the largest size that counts" if self.value_from else "cap is for value_from"
            )
            raise ValueError(message)
        return self

    @property
    def largest(self) -> float:
        """The largest absolute value one such event can have."""
        return self.cap if self.cap is not None else abs(self.value or 0.0)


class Reward(Part):
    """The number that is learned, made of the events after a decision."""

    lateness: Annotated[Duration, at_most(366, or_empty=True)] = Field(
        default=timedelta(hours=24), description="How long after its window an event that arrives late is waited for."
    )
    default: Number = Field(default=0.0, description="The reward where no event counted.")
    aggregate: Literal["first", "sum", "last"] = Field(
        default="sum", description="Of several events: the first one's value, the sum, or the last one's."
    )
    events: tuple[RewardEvent, ...] = Field(min_length=1, description="The events that count.")
    subtract_costs: Flag = Field(
        default=False, description="Whether the costs of channels and offers that arose are subtracted."
    )

    @property
    def scale(self) -> float:
        """The unit in which rewards are learned: the largest size of one event or of the default; 1 if all are 0."""
        return max(abs(self.default), *(event.largest for event in self.events)) or 1.0

    @property
    def longest_window(self) -> timedelta:
        """The longest window of any event."""
        return max(event.window for event in self.events)


class CampaignFile(Part):
    """One campaign: the whole file."""

    version: Literal[1] = Field(description="The version of this file format.")
    campaign: CampaignSettings = Field(description="Its name, its purpose, and when it acts.")
    audience: Rule | None = Field(default=None, description="Who may enter; none: every customer.")
    groups: Groups = Field(default=Groups(), description="How customers are divided; the rest is treatment.")
    features: tuple[Feature, ...] = Field(default=(), description="What the policy may know when it chooses.")
    catalog: Catalog = Field(description="What can be sent.")
    policy: Policy = Field(default=SquareCB(), description="How the treatment group's arms are chosen.")
    reward: Reward = Field(description="What is learned from.")
    contact_policy: ContactPolicy | None = _unused_unless_given("Who may be contacted, when and how often.")
    budget: Budget | None = _unused_unless_given("What may be spent.")
    delivery: Delivery | None = _unused_unless_given("How touches are carried out.")
    test_list: tuple[Text, ...] = Field(
        default=(), description="The customers who get test sends.", exclude_if=operator.not_
    )

    @property
    def obeys(self) -> bool:
        """Whether it keeps the rules of contact policies."""
        policy = self.contact_policy
        return self._is_marketing if policy is None or policy.obeys is None else policy.obeys

    @property
    def counts(self) -> bool:
        """Whether its touches count for the limits of contact policies."""
        policy = self.contact_policy
        return self._is_marketing if policy is None or policy.counts is None else policy.counts

    @property
    def _is_marketing(self) -> bool:
        return self.campaign.category == "marketing"

    @model_validator(mode="after")
    def _rules_act(self) -> CampaignFile:
        rules = self.contact_policy.rules if self.contact_policy else {}
        if any(message.caps for message in self.catalog.messages):
            rules["caps of messages"] = True
        if rules and not self.obeys:
            raise ValueError(
                f"{', '.join(rules)} would not act: this campaign does not obey them (contact_policy.obeys; by default "
                "a transactional one does not)"
            )
        return self

    @model_validator(mode="after")
    def _budget_pays(self) -> CampaignFile:
        if self.budget is None:
            return self
        amount = micro(self.budget.amount)
        costs = {channel.id: micro(channel.cost) for channel in self.catalog.channels} or {"": 0}
        for message in self.catalog.messages:
            offer = micro(message.offer.cost) if message.offer else 0
            for channel, cost in costs.items():
                if (not channel or channel in message.creatives) and offer + cost > amount:
                    on = f" on {channel}" if channel else ""
                    raise ValueError(f"budget.amount does not pay for a single touch with {message.id}{on}")
        return self

    @model_validator(mode="after")
    def _salt_defaults_to_id(self) -> CampaignFile:
        if not self.groups.salt:
            salted = self.groups.model_copy(update={"salt": self.campaign.id})
            object.__setattr__(self, "groups", salted)
        return self

    @property
    def id(self) -> str:
        """The campaign's permanent name."""
        return self.campaign.id

    @cached_property
    def config_hash(self) -> str:
        """SHA-256, in hex, of everything this version says; how the file was written does not enter into it."""
        return _digest(self.model_dump(mode="json", by_alias=True))

    @cached_property
    def learner_key(self) -> str:
        """SHA-256, in hex, of what a learner cannot survive a change of; a new key is learned anew from the log.

        That is the features, the crosses, the dimensions of the arms, the weighing, and how a reward is made of events
        (but not how long it is waited for).
        """
        whole = self.model_dump(mode="json", by_alias=True)
        reward = whole["reward"]
        events = [{key: event[key] for key in ("name", "value", "value_from", "cap")} for event in reward["events"]]
        return _digest(
            {
                "features": whole["features"],
                "crosses": whole["policy"]["crosses"],
                "importance": whole["policy"]["importance"],
                "dimensions": self.catalog.dimensions,
                "reward": {key: reward[key] for key in ("default", "aggregate", "subtract_costs")} | {"events": events},
            }
        )


def _digest(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
