"""Push, chat and SMS by Apprise: over a hundred services, each by an address of its own form.

Apprise tells only whether it worked, not what went wrong. A failure may have come before the message was sent or after
it, so that it is unknown: under at_most_once it is not tried again.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

from apprise import Apprise, AppriseAsset
from pydantic import Field, SecretStr

from optimizer.dispatch.kinds import ChannelSettings, Kit
from optimizer.dispatch.senders.base import CALL_S, NO_ADDRESS, NO_TIME, SENT, Outcome, Outgoing, Result
from optimizer.dispatch.templates import NotRendered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.dispatch.templates import Templates

ADDRESS_HERE: Final = "{address}"
"""What stands in the service's address where the customer's belongs."""

_FAILED: Final = Outcome(Result.UNKNOWN, "the provider has failed, and nobody says at what")
_BAD_ADDRESS: Final = Outcome(Result.PERMANENT, "the provider does not take the address")


class AppriseSettings(ChannelSettings):
    """To a service that Apprise knows."""

    kind: Literal["apprise"] = Field(description="apprise.")
    url: SecretStr | None = Field(
        default=None,
        description="The service's address as Apprise writes it, with {address} where the customer's belongs.",
    )

    renders = True

    def make(self, kit: Kit) -> AppriseSender:
        """The sender of the channel. Raises InvalidInput where the address is missing or of no service."""
        sender = AppriseSender(kit.secret(self.url, "url"), kit.templates)
        if sender.service("+15555550123") is None and sender.service("someone@example.com") is None:
            raise kit.wrong("is no address of a service that Apprise knows", "url")
        return sender


class AppriseSender:
    """Sends each touch by the service at its address."""

    batch: int = 20

    def __init__(self, url: str, templates: Templates) -> None:
        self._url = url
        self._templates = templates
        self.needs_address = ADDRESS_HERE in url

    def service(self, address: str | None) -> Apprise | None:
        """The service that reaches this address; None where it does not take it."""
        service = Apprise(asset=AppriseAsset(async_mode=False, secure_logging=True))
        url = self._url.replace(ADDRESS_HERE, quote(address or "", safe=""))
        with suppress(TypeError, ValueError):
            return service if service.add(url) else None
        return None

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Send them one after the other; those whose turn does not come in time are given back."""
        until_s = time.monotonic() + CALL_S
        return [self._one(touch) if time.monotonic() < until_s else NO_TIME for touch in touches]

    def _one(self, touch: Outgoing) -> Outcome:
        if self.needs_address and touch.address is None:
            return NO_ADDRESS
        try:
            rendered = self._templates.render(touch)
        except NotRendered as error:
            return Outcome(Result.PERMANENT, error.why)
        service = self.service(touch.address)
        if service is None:
            return _BAD_ADDRESS
        try:
            return SENT if service.notify(rendered.body, title=rendered.subject or "") else _FAILED
        except Exception as error:  # noqa: BLE001 -- a hundred services, and none says what it raises
            return Outcome(Result.UNKNOWN, f"the provider has failed: {type(error).__name__}")
