"""The kinds of senders that a channel may have, and how the settings of each are found.

Other packages add kinds by entry points of the group `optimizer.senders`: the name is the kind, the object a subclass
of `ChannelSettings`, whose fields are what stands in the file and whose `make` makes the sender.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeAlias, get_args

from pydantic import AfterValidator, ConfigDict, Field, PlainSerializer, PlainValidator, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

from optimizer.errors import InvalidInput
from optimizer.scalars import Count, Duration, Number, Part, Text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from optimizer.dispatch.senders.base import Sender
    from optimizer.dispatch.templates import Templates

GROUP: Final = "optimizer.senders"
"""The group of entry points under which packages add kinds."""

INVALID: Final = "channel"
"""The type of pydantic's error for a channel whose settings are wrong; `cause` is the error with what is."""

_SHORTEST: Final = timedelta(seconds=1)
_LONGEST: Final = timedelta(seconds=15)

BUILT_IN: Final = tuple(
    EntryPoint(kind, f"optimizer.dispatch.senders.{kind}:{name}", GROUP)
    for kind, name in {
        "file": "FileSettings",
        "log": "LogSettings",
        "smtp": "SmtpSettings",
        "webhook": "WebhookSettings",
        "apprise": "AppriseSettings",
    }.items()
)


def _soon(value: timedelta) -> timedelta:
    if not _SHORTEST <= value <= _LONGEST:
        raise ValueError(f"expected a duration from {_SHORTEST.seconds}s to {_LONGEST.seconds}s")
    return value


Timeout: TypeAlias = Annotated[Duration, AfterValidator(_soon)]
"""How long to wait for each answer of a provider."""
ProviderEvent: TypeAlias = Literal["delivered", "bounced", "complained", "unsubscribed", "opened", "clicked"]
"""What a provider may report of a touch."""
EVENTS: Final[tuple[str, ...]] = get_args(ProviderEvent)


class CallbackSettings(Part):
    """How a provider reports what became of touches, at `POST /v1/callbacks/{channel}`."""

    secret: SecretStr | None = Field(
        default=None, description="What it signs with (Standard Webhooks): whsec_ and base64, 24 bytes at least."
    )
    names: dict[Text, ProviderEvent] = Field(
        default_factory=dict, description="Its names of events, and ours for them; ours are understood anyway."
    )


class ChannelSettings(Part):
    """What every channel has, whatever its kind of sender."""

    kind: str = Field(description="The kind of sender.")
    rate: Annotated[Number | None, Field(gt=0)] = Field(
        default=None, description="Touches a second at most, of all workers together; by default any number."
    )
    daily_capacity: Count | None = Field(
        default=None, description="Touches in a day of UTC at most; by default any number."
    )
    guarantee: Literal["at_most_once", "at_least_once"] = Field(
        default="at_most_once",
        description="at_most_once: a touch that was perhaps sent is not sent again. at_least_once: it is, and may go "
        "out twice.",
    )
    callbacks: CallbackSettings | None = Field(
        default=None, description="How the provider reports what became of touches; none: it does not."
    )

    renders: ClassVar[bool] = False
    """Whether the sender fills templates itself; others hand their reference on."""
    titled: ClassVar[bool] = False
    """Whether it then sends nothing without a subject."""

    def make(self, kit: Kit) -> Sender:
        """The sender of the channel. Raises InvalidInput where something is missing or cannot be used."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Kit:
    """What a sender may be made of beside its settings.

    Attributes:
        channel: the channel it is for.
        templates: what messages say.
        outbox: the folder of the file sender.
    """

    channel: str
    templates: Templates
    outbox: Path

    def secret(self, value: SecretStr | None, *fields: str) -> str:
        """The value of a field that may come from the environment. Raises InvalidInput where it was not given."""
        if value is None:
            name = variable(self.channel, *fields)
            raise self.wrong(f"required, but not given; give it as the environment variable {name}", *fields)
        return value.get_secret_value()

    def wrong(self, why: str, *fields: str) -> InvalidInput:
        """The error that says why a field of the channel's settings cannot be used."""
        return InvalidInput(f"{'.'.join(('channels', self.channel, *fields))}: {why}")


def variable(channel: str, *fields: str) -> str:
    """The environment variable that gives a field of a channel: `OPTIMIZER_CHANNELS__EMAIL__PASSWORD`."""
    return "__".join(("OPTIMIZER_CHANNELS", *(re.sub(r"\W", "_", name).upper() for name in (channel, *fields))))


@cache
def kinds() -> Mapping[str, EntryPoint]:
    """Every kind of sender there is, by its name. Raises InvalidInput where two have one name."""
    found: dict[str, EntryPoint] = {}
    for point in (*BUILT_IN, *sorted(entry_points(group=GROUP))):
        if point.name in found and found[point.name].value != point.value:
            raise InvalidInput(f"two packages add a sender {point.name!r}: {found[point.name].value}, {point.value}")
        found[point.name] = point
    return found


def settings_of(kind: str) -> type[ChannelSettings]:
    """The settings of a kind that there is."""
    found: type[ChannelSettings] = kinds()[kind].load()
    return found


def _channel(value: object) -> ChannelSettings:
    if isinstance(value, ChannelSettings):
        return value
    kind = value.get("kind") if isinstance(value, dict) else None
    model = settings_of(kind) if isinstance(kind, str) and kind in kinds() else _AnyKind
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise PydanticCustomError(INVALID, "not a channel", {"cause": error, "model": model}) from error


def _unknown(_kind: object) -> str:
    raise PydanticCustomError("literal_error", "unknown kind", {"expected": ", ".join(kinds())})


class _AnyKind(ChannelSettings):
    """Of no kind that there is. What else it says is nobody's, and so not wrong."""

    model_config = ConfigDict(extra="ignore")

    kind: Annotated[str, PlainValidator(_unknown)]


def _written(channel: ChannelSettings) -> dict[str, Any]:
    return channel.model_dump(mode="json")


Channel: TypeAlias = Annotated[ChannelSettings, PlainValidator(_channel), PlainSerializer(_written, when_used="json")]
"""The settings of a channel, by its kind."""
