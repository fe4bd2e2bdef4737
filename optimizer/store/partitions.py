"""The months of the logs: on PostgreSQL each is a partition of its own, so that retention can drop it whole.

The id of a row tells its month: a UUID of version 7 begins with its time in milliseconds. A partition is made when the
first row of its month comes; the worker makes the next month's ahead of time. Rows whose id is no UUID of version 7
(nobody makes such) are kept in the partition `<table>_default`. SQLite has no partitions: there a month is the rows
between its bounds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from optimizer.clock import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

TABLES: Final = ("decisions", "events")
"""The logs that are partitioned, by the column that comes second in their primary key."""

_MS_US: Final = 1000
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7")


class Month(NamedTuple):
    """A month of UTC."""

    year: int
    month: int

    @classmethod
    def at(cls, instant_us: int) -> Month:
        """The month of an instant."""
        at = from_us(instant_us)
        return cls(at.year, at.month)

    @property
    def next(self) -> Month:
        """The month after it."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def start_us(self) -> int:
        """Its first instant."""
        return to_us(datetime(self.year, self.month, 1, tzinfo=UTC))

    @property
    def bound(self) -> str:
        """The text below which no id of the month lies, and all of the months before it do."""
        return bound(self.start_us)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    def partition(self, table: str) -> str:
        """The name of its partition."""
        return f"{table}_{self.year:04}_{self.month:02}"


def bound(instant_us: int) -> str:
    """The text that divides the ids made before an instant (lower) from those made then or later."""
    ms = instant_us // _MS_US
    return f"{ms >> 16 & 0xFFFFFFFF:08x}-{ms & 0xFFFF:04x}"


def month_of(row_id: str) -> Month | None:
    """The month in which an id was made; None where it is no UUID of version 7."""
    if not _ID.match(row_id):
        return None
    ms = int(row_id[:8] + row_id[9:13], 16)
    return Month.at(ms * _MS_US)


def ensure_months(connection: Connection, table: str, ids: Iterable[str]) -> None:
    """Make the partitions that rows with these ids (in their order, the first and last are looked at) go into."""
    if connection.dialect.name != "postgresql":
        return
    ordered = list(ids)
    for month in {month_of(ordered[0]), month_of(ordered[-1])} if ordered else ():
        if month is not None:
            make_partition(connection, table, month)


def make_partition(connection: Connection, table: str, month: Month) -> None:
    """Make a month's partition of a log, unless it is there. PostgreSQL only."""
    known: set[str] = connection.info.setdefault("partitions", set())
    name = month.partition(table)
    if name in known:
        return
    # One that this transaction has made itself is gone again if it fails: only another's is remembered.
    committed = connection.exec_driver_sql(
        "SELECT xmin::text <> pg_current_xact_id()::xid::text FROM pg_class WHERE oid = to_regclass(%s)", (name,)
    ).scalar()
    if committed is None:
        # Two processes may come to a new month at once: the second waits, and then finds it made.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext(%s))", (table,))
        connection.exec_driver_sql(
            f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} "
            f"FOR VALUES FROM ('{month.bound}') TO ('{month.next.bound}')"
        )
    elif committed:
        known.add(name)


def make_ahead(connection: Connection, now_us: int) -> None:
    """Make the partitions of this month and the next, so that no caller waits for it. Nothing to do on SQLite."""
    if connection.dialect.name == "postgresql":
        for table in TABLES:
            for month in (Month.at(now_us), Month.at(now_us).next):
                make_partition(connection, table, month)


def partitions_of(connection: Connection, table: str) -> list[Month]:
    """The months of a log that have a partition, in their order. PostgreSQL only."""
    names = connection.exec_driver_sql(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", (table,)
    ).scalars()
    found = (re.fullmatch(rf"{table}_(\d{{4}})_(\d{{2}})", name) for name in names)
    return sorted(Month(int(match[1]), int(match[2])) for match in found if match)
