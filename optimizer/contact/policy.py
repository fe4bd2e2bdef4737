"""The contact policy of a campaign as it is written in its file: who may be contacted, when, and how often."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

import holidays
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from optimizer.scalars import Count, Days, Duration, Flag, Id, Part, Span, Text, TimeOfDay, Weekday, at_most

Scope: TypeAlias = Literal["all_campaigns", "campaign", "channel", "message", "offer"]
"""What touches have in common that a limit counts together.

`all_campaigns`: every touch of the customer; `campaign`: this campaign's; `channel`: each channel's by itself, of all
campaigns; `message`: each message's of this campaign; `offer`: each offer's, of all campaigns that use its id.
"""

Channels: TypeAlias = Annotated[tuple[Id, ...], Field(min_length=1)]

EVERY_DAY: Final = tuple(Weekday)


class CapWindow(Part):
    """The time over which a cap counts: a rolling one, or a day, week or month of the calendar."""

    rolling: Span | None = Field(default=None, description="So much time: any stretch of this length is a window.")
    calendar: Literal["day", "week", "month"] | None = Field(
        default=None, description="A calendar day, week or month, from midnight to midnight of `clock`."
    )
    clock: Literal["recipient", "campaign", "utc"] = Field(
        default="recipient",
        description="With `calendar`, whose midnight: the recipient's, the campaign's (of its fallback zone, else of "
        "its schedule's), or UTC's.",
    )
    week_starts: Weekday = Field(default=Weekday.MON, description="With `calendar: week`, the day it begins with.")

    @model_validator(mode="after")
    def _one_kind(self) -> CapWindow:
        if (self.rolling is None) == (self.calendar is None):
            raise ValueError("give either rolling or calendar")
        if self.calendar is None and self.clock != "recipient":
            raise ValueError("clock acts only with calendar")
        if self.calendar != "week" and self.week_starts is not Weekday.MON:
            raise ValueError("week_starts acts only with calendar: week")
        return self


class MessageCap(Part):
    """The most touches with one message of this campaign that a customer gets in a window."""

    id: Id | None = Field(default=None, description="What `explain` and reports call it.")
    count: Count = Field(description="The most touches in one window.")
    window: CapWindow = Field(description="The time over which they are counted.")
    counts: Literal["decided", "sent", "delivered"] = Field(
        default="sent",
        description="Which touches count: decided (every one, whatever became of it), sent (all but the cancelled, "
        "expired and failed), delivered (the same without the bounced). What is planned counts until its failure is "
        "known.",
    )


class Cap(MessageCap):
    """The most touches a customer gets in a window."""

    scope: Scope = Field(
        default="all_campaigns",
        description="What is counted together: all_campaigns, campaign, channel (each by itself), message or offer.",
    )
    channels: Channels | None = Field(
        default=None, description="The channels whose touches count and obey, together; none: every channel."
    )


class MinGap(Part):
    """The least time between two touches of a customer, of whatever campaign."""

    overall: Span | None = Field(default=None, description="Between any two touches.")
    channels: dict[Id, Span] = Field(default_factory=dict, description="By channel: between two touches on it.")

    @model_validator(mode="after")
    def _says_something(self) -> MinGap:
        if self.overall is None and not self.channels:
            raise ValueError("give a duration, or overall, or channels with a duration for each")
        return self


def _overall(value: object) -> object:
    return {"overall": value} if isinstance(value, str | timedelta) else value


class After(Part):
    """What a cooldown follows: touches that were ignored, or an event."""

    ignored_touches: Count | None = Field(default=None, description="So many touches of the scope were ignored.")
    within: Span | None = Field(default=None, description="With ignored_touches: all of them within this time.")
    ignored_after: Annotated[Duration, at_most(60)] = Field(
        default=timedelta(hours=48),
        description="With ignored_touches: a touch that was sent so long ago, and neither opened, clicked nor "
        "converted, is ignored.",
    )
    event: Id | None = Field(default=None, description="An event of this name, such as purchased.")

    @model_validator(mode="after")
    def _one_kind(self) -> After:
        if (self.ignored_touches is None) == (self.event is None):
            raise ValueError("give either ignored_touches or event")
        if (self.within is None) != (self.ignored_touches is None):
            raise ValueError("ignored_touches needs within, and within needs ignored_touches")
        if self.event is not None and self.ignored_after != timedelta(hours=48):
            raise ValueError("ignored_after acts only with ignored_touches")
        return self


class Cooldown(Part):
    """A time without touches after something happened."""

    id: Id | None = Field(default=None, description="What `explain` and reports call it.")
    after: After = Field(description="What it follows.")
    length: Span = Field(alias="for", description="How long it lasts, from the last of these touches or that event.")
    scope: Scope = Field(
        default="all_campaigns",
        description="Whose touches or events count, and which arms it takes away: all_campaigns (any of the "
        "customer's; every arm), campaign (this one's; every arm), channel, message or offer (those of one; its arms).",
    )


class QuietHours(Part):
    """Hours in which nobody is contacted, recipient's local time, `from` included and `to` not."""

    days: Days = Field(default=EVERY_DAY, description="The days on which it begins: all, or a list.")
    start: TimeOfDay = Field(alias="from", description="Where it begins.")
    end: TimeOfDay = Field(alias="to", description="Where it ends; if that is not later, it is on the next day.")
    action: Literal["defer", "drop"] = Field(
        default="defer",
        description="defer: a touch waits until they are over, within its slot. drop: what would go out in them "
        "cannot be chosen.",
    )
    channels: Channels | None = Field(default=None, description="The channels that are quiet; none: all.")

    @model_validator(mode="after")
    def _not_empty(self) -> QuietHours:
        if self.start == self.end:
            raise ValueError("from and to are the same: leave it out, or give another end")
        return self


class SendWindow(Part):
    """Hours outside of which nobody is contacted, recipient's local time; several add up."""

    days: Days = Field(default=EVERY_DAY, description="The days on which it begins: all, or a list.")
    start: TimeOfDay = Field(alias="from", description="Where it begins.")
    end: TimeOfDay = Field(alias="to", description="Where it ends; if that is not later, it is on the next day.")
    channels: Channels | None = Field(default=None, description="The channels that keep to it; none: all.")


_COUNTRIES: Final[dict[str, list[str]]] = holidays.list_supported_countries(include_aliases=False)


def _known_country(code: str) -> str:
    if code not in _COUNTRIES:
        raise ValueError(f"no holidays are known for {code!r}: give an ISO 3166 code such as MX")
    return code


def _when(value: object) -> object:
    """An instant with its offset, or a local time without one."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError("expected a time such as 2026-02-01T00:00 (recipient's local) or 2026-02-01T00:00:00Z")


Moment: TypeAlias = Annotated[datetime, BeforeValidator(_when)]
Country: TypeAlias = Annotated[str, AfterValidator(_known_country)]


class Blackout(Part):
    """Days or hours in which nobody is contacted: from one time to another, or the public holidays of a country."""

    start: Moment | None = Field(
        default=None, alias="from", description="Where it begins: recipient's local time, or an instant with an offset."
    )
    until: Moment | None = Field(default=None, description="Where it ends, which is no part of it.")
    country: Country | None = Field(default=None, description="The public holidays of this country (ISO 3166 code).")
    country_attr: Id | None = Field(
        default=None, description="The public holidays of the country that this attribute of the customer names."
    )
    subdivision: Text | None = Field(default=None, description="With `country`: those of this part of it too.")
    channels: Channels | None = Field(default=None, description="The channels it is about; none: all.")
    reason: str = Field(default="", description="Why, in words.")

    @model_validator(mode="after")
    def _one_kind(self) -> Blackout:
        dated = self.start is not None or self.until is not None
        if dated + (self.country is not None) + (self.country_attr is not None) != 1:
            raise ValueError("give either from and until, or country, or country_attr")
        if self.start is not None or self.until is not None:
            if self.start is None or self.until is None:
                raise ValueError("from and until belong together")
            if (self.start.tzinfo is None) != (self.until.tzinfo is None):
                raise ValueError("from and until are both local times, or both have an offset")
            if self.until <= self.start:
                raise ValueError("until must be after from")
        if self.subdivision is not None and self.subdivision not in _COUNTRIES.get(self.country or "", ()):
            raise ValueError(f"{self.subdivision!r} is no subdivision of {self.country}")
        return self


class ContactPolicy(Part):
    """Who may be contacted, when and how often. Every limit acts before the draw; the strictest wins.

    Consent, suppression and the address hold for every campaign; they are no part of this.
    """

    obeys: Flag | None = Field(
        default=None, description="Whether this campaign keeps these rules; by default a marketing one does."
    )
    counts: Flag | None = Field(
        default=None,
        description="Whether this campaign's touches count for the limits of every campaign; by default a marketing "
        "one's do.",
    )
    quiet_hours: tuple[QuietHours, ...] = Field(default=(), description="Hours in which nobody is contacted.")
    send_windows: tuple[SendWindow, ...] = Field(default=(), description="Hours outside of which nobody is.")
    caps: tuple[Cap, ...] = Field(default=(), description="The most touches in a window of time.")
    min_gap: Annotated[MinGap | None, BeforeValidator(_overall)] = Field(
        default=None, description="The least time between two touches: a duration, or overall and channels."
    )
    cooldowns: tuple[Cooldown, ...] = Field(default=(), description="Times without touches after something happened.")
    blackouts: tuple[Blackout, ...] = Field(default=(), description="Dates on which nobody is contacted.")

    @property
    def rules(self) -> dict[str, Any]:
        """The rules that are given, by the names of their fields."""
        names = ("quiet_hours", "send_windows", "caps", "min_gap", "cooldowns", "blackouts")
        return {name: rule for name in names if (rule := getattr(self, name))}


class Budget(Part):
    """What the campaign may spend: the costs of channels and offers."""

    amount: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)] = Field(
        description="The sum, in the unit of the costs; it is kept to the millionth."
    )
    currency: Text = Field(description="What that unit is called, such as USD.")
    on_reach: Literal["stop_offers", "pause"] = Field(
        description="What happens once less is left than the dearest touch costs. stop_offers: messages with an offer "
        "cannot be chosen any more, and the others while the rest pays for them. pause: the campaign is paused."
    )


class Retries(Part):
    """How a touch is tried again that failed for a cause that may pass."""

    max: Annotated[int, Field(strict=True, ge=0, le=50)] = Field(default=5, description="How often, at most.")
    backoff: Literal["exponential"] = Field(
        default="exponential", description="The time between two attempts doubles, and a random part of it is left out."
    )
    first: Span = Field(default=timedelta(seconds=30), description="The time before the first of them, at most.")


class Delivery(Part):
    """How touches are carried out."""

    max_lateness: Span | None = Field(
        default=None, description="How late a touch may be sent, within its slot; none: until the slot is over."
    )
    retries: Retries = Field(default=Retries(), description="What happens after a failure that may pass.")
