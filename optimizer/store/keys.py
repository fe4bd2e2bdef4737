"""The callers' keys, each of one tenant. They are never deleted: a service that had one stays locked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select, update

from optimizer.store.bulk import insert_rows
from optimizer.store.tables import api_keys

if TYPE_CHECKING:
    from sqlalchemy import Connection


class KeyRow(NamedTuple):
    """A row of `api_keys`, its columns in order."""

    key_id: str
    tenant: str
    label: str
    digest: str
    scopes: str
    campaigns: str | None
    created_us: int
    expires_us: int | None
    revoked_us: int | None


_ALL = select(*api_keys.columns).order_by(api_keys.c.created_us, api_keys.c.key_id)


def insert_key(connection: Connection, row: KeyRow) -> None:
    """Keep a new key."""
    insert_rows(connection, api_keys, [row])


def all_keys(connection: Connection) -> list[KeyRow]:
    """The keys of every tenant, in the order in which they were made."""
    return [KeyRow(*row) for row in connection.execute(_ALL)]


def keys_of(connection: Connection, tenant: str) -> list[KeyRow]:
    """The keys of a tenant, in the order in which they were made."""
    return [KeyRow(*row) for row in connection.execute(_ALL.where(api_keys.c.tenant == tenant))]


def key_by_id(connection: Connection, tenant: str, key_id: str) -> KeyRow | None:
    """One key of a tenant."""
    mine = api_keys.c.tenant == tenant, api_keys.c.key_id == key_id
    row = connection.execute(_ALL.where(*mine)).one_or_none()
    return None if row is None else KeyRow(*row)


def end_key(connection: Connection, row: KeyRow) -> None:
    """Keep when a key ends, as the row now says."""
    mine = api_keys.c.tenant == row.tenant, api_keys.c.key_id == row.key_id
    connection.execute(update(api_keys).where(*mine).values(expires_us=row.expires_us, revoked_us=row.revoked_us))
