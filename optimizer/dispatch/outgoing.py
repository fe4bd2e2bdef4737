"""A touch as a sender gets it: who is reached, and what is said by the version of the campaign that decided it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.clock import from_us
from optimizer.dispatch.senders.base import Outgoing, addresses_of

if TYPE_CHECKING:
    from optimizer.store.rows import CustomerRow
    from optimizer.versions import Version


def outgoing(  # noqa: PLR0913 -- what a touch is made of
    version: Version,
    person: CustomerRow,
    *,
    message: str,
    channel: str,
    decision_id: str,
    send_us: int,
    test: bool = False,
) -> Outgoing:
    """The touch of this decision: `message` on `channel`, which the version has a creative for, for this customer."""
    creative = version.creative(message, channel)
    return Outgoing(
        decision_id,
        person.tenant,
        version.campaign.id,
        person.customer_id,
        addresses_of(person.addresses).get(channel),
        channel,
        message,
        creative.template,
        creative.version,
        from_us(send_us).isoformat(),
        person.attributes,
        version.offers.get(message, "null"),
        test,
    )
