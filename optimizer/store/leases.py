"""Leases: which worker does what, and which workers there are.

The row of a campaign names its worker and counts, in `token`, how often that has changed. The row of a worker counts
its beats. They are apart so that a worker beats while a transaction of its own holds the row of a campaign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import bindparam, delete, select, update

from optimizer.store.bulk import insert_missing
from optimizer.store.tables import leases

if TYPE_CHECKING:
    from sqlalchemy import Connection

NOBODY: Final = ""
"""The holder of what nobody holds."""

WORKER: Final = "worker/"
CAMPAIGN: Final = "campaign/"
"""What the name of a lease begins with: a worker's own, with its beats, or a campaign's."""

_KEY: Final = ("tenant", "name")
_NAMED = (leases.c.tenant == bindparam("of_tenant"), leases.c.name == bindparam("of_name"))
_LEASE = select(leases.c.holder, leases.c.token).where(*_NAMED)
_SHARED = _LEASE.with_for_update(read=True)
_FREE_TO_TAKE = _LEASE.with_for_update(skip_locked=True)
_BEAT = update(leases).where(*_NAMED, leases.c.token == bindparam("of_token")).values(beat=leases.c.beat + 1)
_ADVANCE = update(leases).where(*_NAMED).values(token=leases.c.token + 1)
_TAKE = update(leases).where(*_NAMED).values(holder=bindparam("new_holder"), token=leases.c.token + 1)
_GIVE_BACK = (
    update(leases)
    .where(*_NAMED, leases.c.holder == bindparam("of_holder"), leases.c.token == bindparam("of_token"))
    .values(holder=NOBODY)
)


class LeaseRow(NamedTuple):
    """One lease, in the order of the table's columns."""

    tenant: str
    name: str
    holder: str
    token: int
    beat: int


def all_leases(connection: Connection, tenant: str) -> list[LeaseRow]:
    """Every lease and every worker, in the order of their names."""
    query = select(*leases.columns).where(leases.c.tenant == tenant).order_by(leases.c.name)
    return [LeaseRow._make(row) for row in connection.execute(query)]


def beat(connection: Connection, tenant: str, name: str, token: int) -> bool:
    """The worker lives; False where it was taken for dead, or another has begun under its name."""
    return connection.execute(_BEAT, {"of_tenant": tenant, "of_name": name, "of_token": token}).rowcount == 1


def sweep(connection: Connection, row: LeaseRow) -> None:
    """Remove a worker that was last seen like this, if nothing has changed since and nothing changes now."""
    same = (leases.c.tenant == row.tenant, leases.c.name == row.name)
    still = select(leases.c.name).where(*same, leases.c.token == row.token, leases.c.beat == row.beat)
    connection.execute(delete(leases).where(*same, leases.c.name.in_(still.with_for_update(skip_locked=True))))


def leave(connection: Connection, tenant: str, name: str, token: int) -> None:
    """Remove a worker that ends."""
    query = delete(leases).where(leases.c.tenant == tenant, leases.c.name == name, leases.c.token == token)
    connection.execute(query)


def take(connection: Connection, seen: LeaseRow, holder: str) -> int | None:
    """Change the holder of a lease that was last seen like this (a new one: `NOBODY`, 0); its token then.

    None where it has changed since, or where a transaction holds it: that is not waited for.
    """
    key = {"of_tenant": seen.tenant, "of_name": seen.name}
    insert_missing(connection, leases, [LeaseRow(seen.tenant, seen.name, NOBODY, 0, 0)], _KEY)
    found = connection.execute(_FREE_TO_TAKE, key).first()
    if found is None or tuple(found) != (seen.holder, seen.token):
        return None
    connection.execute(_TAKE, {**key, "new_holder": holder})
    return seen.token + 1


def give_back(connection: Connection, tenant: str, name: str, holder: str, token: int) -> None:
    """Leave a lease to whoever takes it next; nothing, where somebody has taken it already."""
    key = {"of_tenant": tenant, "of_name": name, "of_holder": holder, "of_token": token}
    connection.execute(_GIVE_BACK, key)


def advance(connection: Connection, tenant: str, name: str) -> int:
    """Make every earlier token of this name void, after the transactions that hold it have ended; the new one.

    So begins a worker, and so is a campaign's worker stopped whose work a change of the past makes void.
    """
    key = {"of_tenant": tenant, "of_name": name}
    insert_missing(connection, leases, [LeaseRow(tenant, name, NOBODY, 0, 0)], _KEY)
    connection.execute(_ADVANCE, key)
    return int(connection.execute(_LEASE, key).one().token)


def hold(connection: Connection, tenant: str, name: str) -> tuple[str, int] | None:
    """Holder and token of a lease, which nobody takes before the transaction has ended; None where there is none."""
    row = connection.execute(_SHARED, {"of_tenant": tenant, "of_name": name}).first()
    return (row.holder, row.token) if row else None
