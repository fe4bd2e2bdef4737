"""What a sender is: one method that carries touches out and says what came of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One touch as a sender gets it.

    Attributes:
        decision_id: also the key by which a provider recognises a repetition.
        tenant, campaign_id: whose it is.
        customer_id, address: whom to reach; the address is None where none is stored for the channel.
        message, template, version: what to say, by reference; pinned when it was decided.
        send_at: when it was due, ISO 8601 in UTC.
        attributes: the customer's, as JSON text.
        offer: the one in the message, as JSON text: id, type, value and unit; `null` where there is none.
        test: whether it is a test send, which has to be recognisable as one.
    """

    decision_id: str
    tenant: str
    campaign_id: str
    customer_id: str
    address: str | None
    channel: str
    message: str
    template: str
    version: int
    send_at: str
    attributes: str = "{}"
    offer: str = "null"
    test: bool = False


class Result(StrEnum):
    """What came of an attempt."""

    SENT = "sent"
    """The provider has taken it."""
    TEMPORARY = "temporary"
    """It was not sent, and may be if it is tried again."""
    PERMANENT = "permanent"
    """It was not sent, and never will be."""
    UNKNOWN = "unknown"
    """It may have been sent or not."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt; `detail` is for people and holds no personal data, `provider_id` the provider's own."""

    result: Result
    detail: str | None = None
    provider_id: str | None = None


SENT: Final = Outcome(Result.SENT)
"""It was sent, and there is no more to say."""
NO_TIME: Final = Outcome(Result.TEMPORARY, "there was no time left to try it")
"""It was not tried: what stood before it took too long."""
NO_ADDRESS: Final = Outcome(Result.PERMANENT, "there is no address for this channel")

CALL_S: Final = 15.0
"""For how many seconds a call begins to send touches; those that are left then are given back as `NO_TIME`."""
END_S: Final = 25.0
"""After how many seconds a call gives up what is not answered."""


class Sender(Protocol):
    """Carries touches out.

    Attributes:
        batch: the most touches at one call; a call has to end within half of `optimizer.dispatch.outbox.LEASE_US`.
        needs_address: whether a customer without an address on the channel cannot be reached.
    """

    batch: int
    needs_address: bool

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Send them: what came of each, in order. What it raises means that of none of them anything is known."""
        ...


@runtime_checkable
class Answers(Protocol):
    """A sender that can find out afterwards what came of a touch."""

    def ask(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        """What came of each, in order; `temporary` for one that the provider does not know."""
        ...


def addresses_of(text: str) -> Mapping[str, str]:
    """A customer's stored addresses by channel."""
    addresses: Mapping[str, str] = orjson.loads(text)
    return addresses
