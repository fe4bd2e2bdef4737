"""Who says no is heard at once: suppressed, and what was planned for them taken back, in one transaction.

What an event says of reaching the customer is one rule, here, for whoever takes events and whoever erases customers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from optimizer.dispatch.senders import addresses_of
from optimizer.reasons import Reason
from optimizer.store import suppressions
from optimizer.store.planned import planned_of_subjects
from optimizer.store.suppressions import SuppressionRow
from optimizer.suppression import EVERY, Cause, address_digest, customer_digest
from optimizer.touches import cancel

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.runtime import Runtime
    from optimizer.secret import Secret
    from optimizer.store.rows import CustomerRow, EventRow

_CAUSES: Final = {
    "unsubscribed": Cause.UNSUBSCRIBED,
    "complained": Cause.COMPLAINED,
    "bounced": Cause.BOUNCED,
}
REFUSALS: Final = frozenset(_CAUSES)
"""The events that may say that a customer does not want to be reached, or cannot be."""


class Refusal(NamedTuple):
    """That a customer is not to be reached on a channel, or on `EVERY`, since `at_us`."""

    channel: str
    cause: Cause
    at_us: int


def refusal_of(event: EventRow, channel: str | None) -> Refusal | None:
    """What an event says against reaching the customer; None: nothing.

    It is about `channel`, on which the touch of the decision went that the event names; without one, about the channel
    that the event's fields name; without that, about every one. A bounce says it where it is `permanent`.
    """
    cause = _CAUSES.get(event.name)
    if cause is None:
        return None
    fields = orjson.loads(event.fields)
    if cause is Cause.BOUNCED and fields.get("permanent") is not True:
        return None
    named = channel or fields.get("channel")
    at_us = min(event.occurred_us, event.received_us)
    return Refusal(named if isinstance(named, str) else EVERY, cause, at_us)


def refuse(
    connection: Connection,
    runtime: Runtime,
    refusals: Mapping[str, Sequence[Refusal]],
    people: Mapping[str, CustomerRow],
) -> None:
    """Let refusals act, by subject; the transaction holds the subjects, of whom `people` has those who are known.

    Who says no is suppressed by id, so that they are not reached by another address that is stored later, and so is the
    address that they have, whoever it belongs to. A bounce is the address's alone where that is known.
    """
    rows = [
        SuppressionRow(runtime.tenant, channel, digest, refusal.cause.value, refusal.at_us)
        for subject_id, mine in refusals.items()
        if subject_id in people
        for refusal in mine
        for channel, digest in _barred_by(runtime.secret, people[subject_id], refusal)
    ]
    suppressions.insert_suppressions(connection, rows)
    channels = {subject_id: {refusal.channel for refusal in mine} for subject_id, mine in refusals.items()}
    take_back(connection, runtime, channels)


def _barred_by(secret: Secret, person: CustomerRow, refusal: Refusal) -> Iterator[tuple[str, str]]:
    """The channels and digests that are suppressed where a customer refuses so."""
    channel, addresses = refusal.channel, addresses_of(person.addresses)
    for each in addresses if channel == EVERY else (channel,):
        if each in addresses:
            yield each, address_digest(secret, addresses[each])
    if channel not in addresses or refusal.cause is not Cause.BOUNCED:
        yield channel, customer_digest(secret, person.customer_id)


def take_back(connection: Connection, runtime: Runtime, channels: Mapping[str, Collection[str]]) -> None:
    """Cancel what is planned on these channels, by subject, of every campaign, as `suppressed`."""
    planned = [
        touch.decision_id
        for touch in planned_of_subjects(connection, runtime.tenant, channels)
        if EVERY in channels[touch.subject_id] or touch.channel in channels[touch.subject_id]
    ]
    cancel(connection, runtime.tenant, planned, Reason.SUPPRESSED.value, runtime.now_us())
