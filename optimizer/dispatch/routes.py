"""Which sender carries out the touches of each channel, how fast, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optimizer.dispatch.senders.base import Answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optimizer.dispatch.senders import Sender
    from optimizer.dispatch.signing import Signer


@dataclass(frozen=True, slots=True)
class Callbacks:
    """How a provider reports what became of touches.

    Attributes:
        signer: recognises what it has signed.
        names: its names of events, and ours for them.
    """

    signer: Signer
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Route:
    """How the touches of a channel are carried out.

    Attributes:
        rate: touches a second, of all workers together, for each tenant; None: as fast as it goes.
        daily_capacity: touches in a day of UTC; None: any number.
        at_least_once: whether a touch of which nobody knows whether it was sent is sent again. It may go out twice.
        callbacks: how its provider reports what became of touches; None: it does not.
    """

    sender: Sender
    rate: float | None = None
    daily_capacity: int | None = None
    at_least_once: bool = False
    callbacks: Callbacks | None = None

    @property
    def sender_name(self) -> str:
        """What the log of attempts calls its sender."""
        return type(self.sender).__name__

    @property
    def resolves_doubt(self) -> bool:
        """Whether anything more happens to a touch of which nobody knows whether it was sent."""
        return self.at_least_once or isinstance(self.sender, Answers)


@dataclass(frozen=True, slots=True)
class Routes:
    """The route of each channel, and of all others."""

    default: Route
    channels: Mapping[str, Route] = field(default_factory=dict)

    @classmethod
    def to(cls, sender: Sender) -> Routes:
        """Every channel's touches go to this sender."""
        return cls(Route(sender))

    def of(self, channel: str) -> Route:
        """The route of a channel."""
        return self.channels.get(channel, self.default)

    def needs_address(self, channel: str) -> bool:
        """Whether a customer without an address on the channel cannot be reached there."""
        return self.of(channel).sender.needs_address
