"""Who must not be reached: addresses, whoever they belong to now, and customers. Keyed digests, which outlive both.

What is kept tells nobody the address or the id, and the service recognises it when it meets it again.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from optimizer.dispatch.senders import addresses_of
from optimizer.store import suppressions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.runtime import Runtime
    from optimizer.secret import Secret
    from optimizer.store.rows import CustomerRow
    from optimizer.store.suppressions import SuppressionRow

EVERY: Final = ""
"""In the place of a channel: every one."""

_PHONE: Final = re.compile(r"[+0-9 ().\-/]+")
_NOT_DIALLED: Final = str.maketrans("", "", " ().-/")


class Cause(StrEnum):
    """Why an address or a customer is suppressed."""

    NO_CONSENT = "no_consent"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    BOUNCED = "bounced"
    REQUESTED = "requested"
    """By the API, a command or a list."""


def normalised(address: str) -> str:
    """The one way in which an address is written, so that its digest is the same however it was typed.

    >>> normalised(" Ana@Example.COM "), normalised("+52 (55) 1234-5678"), normalised("0052 55 12345678")
    ('ana@example.com', '+525512345678', '+525512345678')

    An e-mail address is taken without regard to case, a telephone number by what is dialled; anything else, such as a
    device's token, as it stands.
    """
    text = unicodedata.normalize("NFKC", address).strip()
    if "@" in text:
        return unicodedata.normalize("NFKC", text.casefold())
    if _PHONE.fullmatch(text):
        dialled = text.translate(_NOT_DIALLED)
        return f"+{dialled[2:]}" if dialled.startswith("00") else dialled
    return text


def address_digest(secret: Secret, address: str) -> str:
    """The keyed digest of an address."""
    return secret.digest("address", normalised(address))


class Bar(NamedTuple):
    """That a customer must not be reached on a channel (or on `EVERY`), and of whom the suppression is that says so."""

    channel: str
    of: Literal["customer", "address"]
    row: SuppressionRow


def customer_digest(secret: Secret, customer_id: str) -> str:
    """The keyed digest of a customer's id."""
    return secret.digest("suppressed_customer", customer_id)


def suppressed(
    connection: Connection, runtime: Runtime, people: Sequence[CustomerRow]
) -> list[dict[str, SuppressionRow]]:
    """What bars each customer, by channel; see `barring`. It costs nothing where nobody is suppressed."""
    return [{bar.channel: bar.row for bar in found} for found in bars(connection, runtime, people)]


def barring(found: Mapping[str, SuppressionRow], channel: str | None) -> SuppressionRow | None:
    """Of what `suppressed` found of a customer, what bars this channel (None: a touch without one)."""
    return found.get(channel or EVERY) or found.get(EVERY)


def bars(connection: Connection, runtime: Runtime, people: Sequence[CustomerRow]) -> list[list[Bar]]:
    """Everything that bars each customer.

    The customer is barred by id, on one channel or on every one; an address bars the channel on which it would be used.
    """
    if not suppressions.any_suppressed(connection, runtime.tenant):
        return [[] for _ in people]
    secret = runtime.secret
    named = [customer_digest(secret, person.customer_id) for person in people]
    books = [
        {channel: address_digest(secret, address) for channel, address in addresses_of(person.addresses).items()}
        for person in people
    ]
    digests = [*named, *(digest for book in books for digest in book.values())]
    known = suppressions.suppressions_of(connection, runtime.tenant, digests)
    if not known:
        return [[] for _ in people]
    return [_bars_of(name, book, known) for name, book in zip(named, books, strict=True)]


def _bars_of(name: str, book: Mapping[str, str], known: Mapping[str, Sequence[SuppressionRow]]) -> list[Bar]:
    found = [Bar(row.channel, "customer", row) for row in known.get(name, ())]
    for channel, digest in book.items():
        found += [Bar(channel, "address", row) for row in known.get(digest, ()) if row.channel in {channel, EVERY}]
    return found
