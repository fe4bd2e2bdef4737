"""What the audit log says of a change: who, what, when, and for customers which fields, never a value.

Values appear as keyed digests, so that the log shows that a field changed, and back to what, without holding what it
was. The digest of a value is one of the customer and the field as well: the same value of two customers, or of two
fields, has two digests, so that nobody learns from the log who is alike.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import orjson

from optimizer.store import audit
from optimizer.store.audit import AuditRow
from optimizer.suppression import address_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.runtime import Runtime
    from optimizer.secret import Secret
    from optimizer.store.customers import Customer
    from optimizer.store.rows import CustomerRow

SERVICE: Final = "service"
"""Who did what nobody asked for, such as loading the campaigns of the settings at the start."""

_DIGEST_BYTES: Final = 8
"""How long a value's digest is: enough to tell the values that one field of one customer ever had apart."""

_OBJECT_DIGITS: Final = 32
"""How many hexadecimal digits name a customer: 128 bits."""


class Action(StrEnum):
    """What was done; the object says to what: `campaign:...`, `key:...`, `customer:...`, `address:...`, `touch:...`."""

    LOADED = "loaded"
    PAUSED = "paused"
    RESUMED = "resumed"
    REJOINED = "rejoined"
    TESTED = "tested"
    """A message of a campaign was sent to its test list; its details: which, and to whom."""
    CREATED = "created"
    REVOKED = "revoked"
    STORED = "stored"
    ERASED = "erased"
    DROPPED = "dropped"
    """Months of the logs (`log`); its details say where the logs begin."""
    RETRIED = "retried"
    """A touch (`touch:` and its decision's id) is sent after all; its details: its campaign, and how it stood."""
    CANCELLED = "cancelled"
    """A touch was taken back; the same details."""
    SUPPRESSED = "suppressed"
    """A customer or an address (`address:...`), by the API, a command or a list; its details: the cause by channel."""
    LIFTED = "lifted"
    """They may be reached again; its details: what was suppressed, and why, by channel."""


def note(
    connection: Connection, runtime: Runtime, by: str, action: Action, objects: Mapping[str, Mapping[str, Any]]
) -> None:
    """Append an entry for each object (by its name, with its details), in the transaction of the change itself."""
    now_us = runtime.now_us()
    ids = runtime.ids.uuid7s(now_us, len(objects))
    rows = [
        AuditRow(runtime.tenant, audit_id, now_us, by, action.value, object_, orjson.dumps(body).decode())
        for audit_id, (object_, body) in zip(ids, objects.items(), strict=True)
    ]
    audit.insert_entries(connection, rows)


def customer_object(secret: Secret, customer_id: str) -> str:
    """How a customer is named in the log, known to whoever knows the id and has the secret."""
    return _object(secret.digest("customer", customer_id))


def address_object(secret: Secret, address: str) -> str:
    """How an address is named in the log, known to whoever knows it and has the secret."""
    return f"address:{address_digest(secret, address)[:_OBJECT_DIGITS]}"


def _object(digest: str) -> str:
    return f"customer:{digest[:_OBJECT_DIGITS]}"


def stored(secret: Secret, rows: Sequence[Customer], before: Mapping[str, CustomerRow]) -> dict[str, dict[str, Any]]:
    """What storing customers changes, by object: the digests of the `old` and the `new` value of each such field.

    `before` has those who were known, by id.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        known = before.get(row.customer_id)
        old = {} if known is None else _fields_of(known)
        new = _fields(row.attributes, row.timezone, row.addresses, row.consents)
        found |= _changes(secret, row.customer_id, old, new)
    return found


def erased(secret: Secret, row: CustomerRow) -> dict[str, Any]:
    """What erasing a customer removes, in the form of `stored`."""
    return _changes(secret, row.customer_id, _fields_of(row), {})


def _changes(
    secret: Secret, customer_id: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    # One half of the digest names the customer, the other is the customer's key: what is left is a short hash a field.
    digest = secret.digest("customer", customer_id)
    key = bytes.fromhex(digest[_OBJECT_DIGITS:])
    gone, come = _digests(key, old, new), _digests(key, new, old)
    return {_object(digest): {"old": gone, "new": come} if gone else {"new": come}}


def _digests(key: bytes, fields: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, str]:
    """The digest of every field that is another one, or none, on the other side."""
    return {
        name: blake2b(orjson.dumps((name, value)), key=key, digest_size=_DIGEST_BYTES).hexdigest()
        for name, value in fields.items()
        if other.get(name) != value
    }


def _fields_of(row: CustomerRow) -> dict[str, Any]:
    return _fields(orjson.loads(row.attributes), row.timezone, orjson.loads(row.addresses), orjson.loads(row.consents))


def _fields(
    attributes: Mapping[str, Any], timezone: str | None, addresses: Mapping[str, str], consents: Mapping[str, bool]
) -> dict[str, Any]:
    """Every field with its value; null is missing."""
    found: dict[str, Any] = {}
    for part, values in (("attributes.", attributes), ("addresses.", addresses), ("consents.", consents)):
        for name, value in values.items():
            if value is not None:
                found[part + name] = value
    if timezone is not None:
        found["timezone"] = timezone
    return found
