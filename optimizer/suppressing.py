"""Suppressing by hand, and lifting a suppression: what the API, the command line and lists do.

What is suppressed cannot be listed, since only digests are kept: it can be asked whether a customer or an address is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optimizer import audit
from optimizer.errors import InvalidInput
from optimizer.limits import MAX_ID, is_id, is_text
from optimizer.refusals import take_back
from optimizer.scalars import ID_PATTERN
from optimizer.store import customers, suppressions
from optimizer.store.suppressions import SuppressionRow
from optimizer.suppression import EVERY, Bar, Cause, address_digest, bars, customer_digest, normalised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from optimizer.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Whom:
    """A customer by id, or an address; on one channel, or on `EVERY`.

    Raises InvalidInput where it is neither or both, or cannot be one.
    """

    customer_id: str | None = None
    address: str | None = None
    channel: str = EVERY

    def __post_init__(self) -> None:
        """Check it."""
        if (self.customer_id is None) == (self.address is None):
            raise InvalidInput("give either customer_id or address")
        if self.customer_id is not None and not (self.customer_id and is_id(self.customer_id)):
            raise InvalidInput(f"customer_id: expected a text of 1 to {MAX_ID} characters, no control characters")
        if self.address is not None and not (is_text(self.address) and normalised(self.address)):
            raise InvalidInput("address: expected a text that is not empty")
        if self.channel != EVERY and not re.fullmatch(ID_PATTERN, self.channel):
            raise InvalidInput("channel: expected the id of a channel, as in a catalog")


def suppress(connection: Connection, runtime: Runtime, asked: Sequence[tuple[Whom, Cause]], by: str) -> None:
    """Suppress, and cancel what is planned for these customers; who or what is suppressed already stays so.

    What is planned for the customers to whom an address belongs is cancelled when it is due: nobody knows them by it.
    """
    ids = {whom.customer_id for whom, _ in asked if whom.customer_id is not None}
    people = customers.hold_customers(connection, runtime.tenant, sorted(ids))
    now_us = runtime.now_us()
    rows = {
        whom: SuppressionRow(runtime.tenant, whom.channel, _digest(runtime, whom), cause.value, now_us)
        for whom, cause in asked
    }
    new = set(suppressions.insert_suppressions(connection, list(rows.values())))
    details: dict[str, dict[str, str]] = {}
    channels: dict[str, set[str]] = {}
    for whom, row in rows.items():
        if row in new:
            details.setdefault(_object(runtime, whom), {})[whom.channel] = row.cause
        person = people.get(whom.customer_id or "")
        if person is not None:
            channels.setdefault(person.subject_id, set()).add(whom.channel)
    audit.note(connection, runtime, by, audit.Action.SUPPRESSED, details)
    take_back(connection, runtime, channels)


def lift(connection: Connection, runtime: Runtime, whom: Whom, by: str) -> list[Bar]:
    """Let a customer (with every address that is stored) or an address be reached again; what still bars them.

    On one channel, or whatever bars them on any. A suppression on every channel is lifted as such alone.

    With an address nothing else is lifted: it may have got another owner. The customers who refused by it stay
    suppressed by id, which the answer cannot tell, for nobody is known by an address. Who agrees anew is lifted as the
    customer.
    """
    found = about(connection, runtime, whom)
    lifted = [bar.row for bar in found if whom.channel in {EVERY, bar.row.channel}]
    suppressions.delete_suppressions(connection, lifted)
    if lifted:
        details = {row.channel: row.cause for row in lifted}
        audit.note(connection, runtime, by, audit.Action.LIFTED, {_object(runtime, whom): details})
    return [bar for bar in found if bar.row not in lifted]


def about(connection: Connection, runtime: Runtime, whom: Whom) -> list[Bar]:
    """Everything that bars a customer, or an address, on any channel."""
    named = [] if whom.customer_id is None else [whom.customer_id]
    person = customers.customers_by_ids(connection, runtime.tenant, named).get(whom.customer_id or "")
    if person is not None:
        (found,) = bars(connection, runtime, [person])
    else:
        digest = _digest(runtime, whom)
        rows = suppressions.suppressions_of(connection, runtime.tenant, [digest]).get(digest, [])
        found = [Bar(row.channel, "customer" if whom.address is None else "address", row) for row in rows]
    return sorted(found)


def _digest(runtime: Runtime, whom: Whom) -> str:
    if whom.address is not None:
        return address_digest(runtime.secret, whom.address)
    return customer_digest(runtime.secret, whom.customer_id or "")


def _object(runtime: Runtime, whom: Whom) -> str:
    """What the audit log calls it."""
    if whom.address is not None:
        return audit.address_object(runtime.secret, whom.address)
    return audit.customer_object(runtime.secret, whom.customer_id or "")
