"""Addresses that must not be reached, by keyed digest (see `optimizer.suppression`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, select

from optimizer.store.bulk import insert_missing, one_of, select_in
from optimizer.store.tables import suppressions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

_TENANT = suppressions.c.tenant == bindparam("tenant")
_BY_DIGEST = select(*suppressions.columns).where(_TENANT, one_of(suppressions.c.address_digest))
_ANY = select(suppressions.c.channel).where(_TENANT).limit(1)


class SuppressionRow(NamedTuple):
    """An address on a channel; `cause` is one of `optimizer.suppression.Cause`."""

    tenant: str
    channel: str
    address_digest: str
    cause: str
    at_us: int


def insert_suppressions(connection: Connection, rows: Sequence[SuppressionRow]) -> None:
    """Suppress addresses; one that is suppressed already keeps its first cause."""
    insert_missing(connection, suppressions, rows, ("tenant", "channel", "address_digest"))


def suppressions_of(
    connection: Connection, tenant: str, digests: Iterable[str]
) -> dict[tuple[str, str], SuppressionRow]:
    """What is suppressed of these addresses, on any channel, by channel and digest."""
    found = [SuppressionRow._make(row) for row in select_in(connection, _BY_DIGEST, digests, tenant=tenant)]
    return {(row.channel, row.address_digest): row for row in found}


def any_suppressed(connection: Connection, tenant: str) -> bool:
    """Whether the tenant has any suppression at all; it costs nothing to ask."""
    return connection.execute(_ANY, {"tenant": tenant}).first() is not None
