"""Addresses and customers that must not be reached, by keyed digest (see `optimizer.suppression`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import bindparam, delete, select

from optimizer.store.bulk import change_rows, one_of, run, select_in, upsert_rows
from optimizer.store.tables import suppressions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

_TENANT = suppressions.c.tenant == bindparam("tenant")
_BY_DIGEST = select(*suppressions.columns).where(_TENANT, one_of(suppressions.c.address_digest))
_SOME = select(*suppressions.columns).where(_TENANT).limit(bindparam("size"))
_ANY = select(suppressions.c.channel).where(_TENANT).limit(1)
_FEW: Final = 8
"""Of so many times more digests than there are suppressions, looking each one up costs more than reading them all."""
_KEY = ("tenant", "channel", "address_digest")
_DELETE = delete(suppressions).where(*(suppressions.c[name] == bindparam(f"of_{name}") for name in _KEY))


class SuppressionRow(NamedTuple):
    """An address or a customer, by digest, on a channel ('' for every one).

    `cause` is one of `optimizer.suppression.Cause`, `at_us` when it was so for the first time.
    """

    tenant: str
    channel: str
    address_digest: str
    cause: str
    at_us: int


def insert_suppressions(connection: Connection, rows: Sequence[SuppressionRow]) -> list[SuppressionRow]:
    """Suppress; of what is suppressed already, the earliest cause stays. Those that were not suppressed before."""
    first: dict[tuple[str, str, str], SuppressionRow] = {}
    for row in rows:
        # Of two causes at one instant always the same one, in whatever order they are told.
        first[row[:3]] = min(first.get(row[:3], row), row, key=_earliest)
    known: dict[tuple[str, str, str], SuppressionRow] = {}
    for tenant in {row.tenant for row in rows}:
        mine = [row.address_digest for row in first.values() if row.tenant == tenant]
        known |= {row[:3]: row for found in suppressions_of(connection, tenant, mine).values() for row in found}
    new = [row for key, row in first.items() if key not in known]
    earlier = [row for key, row in first.items() if key in known and _earliest(row) < _earliest(known[key])]
    upsert_rows(connection, suppressions, [*new, *earlier], _KEY, ("cause", "at_us"))
    return new


def _earliest(row: SuppressionRow) -> tuple[int, str]:
    return row.at_us, row.cause


def delete_suppressions(connection: Connection, rows: Sequence[SuppressionRow]) -> None:
    """These may be reached again."""
    change_rows(connection, _DELETE, [row[:3] for row in rows], tuple(f"of_{name}" for name in _KEY))


def suppressions_of(connection: Connection, tenant: str, digests: Iterable[str]) -> dict[str, list[SuppressionRow]]:
    """What is suppressed of these addresses and customers, on any channel, by digest."""
    wanted = set(digests)
    few = len(wanted) // _FEW
    rows = run(connection, _SOME, tenant=tenant, size=few) if few else []
    if not few or len(rows) == few:
        rows = list(select_in(connection, _BY_DIGEST, wanted, tenant=tenant))
    found: dict[str, list[SuppressionRow]] = {}
    for row in map(SuppressionRow._make, rows):
        if row.address_digest in wanted:
            found.setdefault(row.address_digest, []).append(row)
    return found


def any_suppressed(connection: Connection, tenant: str) -> bool:
    """Whether the tenant has any suppression at all; it costs nothing to ask."""
    return connection.execute(_ANY, {"tenant": tenant}).first() is not None
