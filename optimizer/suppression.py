"""Addresses that must not be reached, whoever they belong to now: keyed digests, which outlive the customer.

What is kept tells nobody the address, and the service recognises it when it meets it again.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from optimizer.store import suppressions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection

    from optimizer.runtime import Runtime
    from optimizer.secret import Secret
    from optimizer.store.suppressions import SuppressionRow

_PHONE: Final = re.compile(r"[+0-9 ().\-/]+")
_NOT_DIALLED: Final = re.compile(r"[^+0-9]")


class Cause(StrEnum):
    """Why an address is suppressed."""

    NO_CONSENT = "no_consent"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    BOUNCED = "bounced"


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
        dialled = _NOT_DIALLED.sub("", text)
        return f"+{dialled[2:]}" if dialled.startswith("00") else dialled
    return text


def address_digest(secret: Secret, address: str) -> str:
    """The keyed digest of an address."""
    return secret.digest("address", normalised(address))


def suppressed(
    connection: Connection, runtime: Runtime, addresses: Collection[Mapping[str, str]]
) -> list[dict[str, SuppressionRow]]:
    """Which of each customer's addresses (by channel) are suppressed, by channel."""
    if not suppressions.any_suppressed(connection, runtime.tenant):
        return [{} for _ in addresses]
    digests = [
        {channel: address_digest(runtime.secret, address) for channel, address in mine.items()} for mine in addresses
    ]
    known = suppressions.suppressions_of(
        connection, runtime.tenant, (digest for mine in digests for digest in mine.values())
    )
    return [
        {channel: known[channel, digest] for channel, digest in mine.items() if (channel, digest) in known}
        for mine in digests
    ]
