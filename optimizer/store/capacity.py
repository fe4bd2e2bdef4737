"""How much of the rate and of the daily capacity of each channel all workers together have used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from optimizer.store.bulk import insert_missing, upsert_rows
from optimizer.store.tables import channel_usage

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

_KEY = ("tenant", "channel")


class UsageRow(NamedTuple):
    """A channel's use: `tokens` of its rate are left at `at_us`; `sent` touches went out on `day` (UTC, ISO 8601)."""

    tenant: str
    channel: str
    tokens: float
    at_us: int
    day: str
    sent: int


def usage(connection: Connection, tenant: str, channel: str) -> UsageRow | None:
    """What is used of a channel; None: nothing ever was."""
    found = connection.execute(_query(tenant, channel)).first()
    return None if found is None else UsageRow._make(found)


def hold_usage(connection: Connection, unused: UsageRow) -> UsageRow:
    """What is used of the channel of `unused`, which it is at first; nobody else uses any until this transaction ends.

    Whoever holds a channel's usage holds no customers and waits for nothing else, or has them already.
    """
    insert_missing(connection, channel_usage, [unused], _KEY)
    return UsageRow._make(connection.execute(_query(unused.tenant, unused.channel).with_for_update()).one())


def put_usage(connection: Connection, row: UsageRow) -> None:
    """Write what is used of a channel, which is held."""
    upsert_rows(connection, channel_usage, [row], _KEY, ("tokens", "at_us", "day", "sent"))


def _query(tenant: str, channel: str) -> Select[*tuple[Any, ...]]:
    return select(*channel_usage.columns).where(channel_usage.c.tenant == tenant, channel_usage.c.channel == channel)
