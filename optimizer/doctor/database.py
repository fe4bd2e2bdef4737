"""The database of a service: reachable, durable, at the newest tables, its clock and its months."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from optimizer.clock import from_us
from optimizer.doctor.findings import Finding, failing, ok, warning
from optimizer.store import partitions
from optimizer.store.migrate import configuration
from optimizer.store.newest import newest_us

if TYPE_CHECKING:
    from sqlalchemy import Connection

OLDEST_POSTGRESQL: Final = 14
"""The oldest major version of PostgreSQL that the tests have seen."""

CLOCKS_APART_S: Final = 1.0
"""How far our clock may be from the database's, and behind what is in the log."""

_SECOND_US: Final = 1_000_000


def version(connection: Connection) -> Finding:
    """Which database it is."""
    check = "database"
    name = connection.dialect.name
    numbers = connection.dialect.server_version_info or ()
    what = f"{name} {'.'.join(map(str, numbers))}"
    if name == "postgresql" and numbers < (OLDEST_POSTGRESQL,):
        return warning(check, what, f"upgrade it: nothing older than {OLDEST_POSTGRESQL} was tried")
    return ok(check, what)


def durability(connection: Connection) -> Finding:
    """Whether what was committed survives a power cut, and is whole."""
    if connection.dialect.name == "postgresql":
        return _postgresql_durability(connection)
    check = "durability"
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    if mode != "wal":
        advice = "start the service once, which sets it; put the file on a local disk, not on a network's"
        return failing(check, f"the journal is kept as {mode!r} and not as 'wal'", advice)
    try:
        damage = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    except DatabaseError as error:
        damage = str(error.orig)
    if damage != "ok":
        return failing(check, f"the file is damaged: {damage}", "stop the service and restore the last backup")
    return ok(check, "write-ahead log, synced with each commit by the service; the file is whole")


def _postgresql_durability(connection: Connection) -> Finding:
    check = "durability"
    off = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if _setting(connection, name) == "off"]
    if off:
        return failing(
            check,
            f"{' and '.join(off)} off: a crash of the server may lose what was acknowledged, or damage the database",
            "; ".join(f"ALTER SYSTEM SET {name} = on" for name in off) + "; then SELECT pg_reload_conf()",
        )
    return ok(check, f"fsync, synchronous_commit {_setting(connection, 'synchronous_commit')}")


def migrations(connection: Connection) -> Finding:
    """Whether the tables are those that this program knows."""
    check = "migrations"
    script = ScriptDirectory.from_config(configuration(connection))
    at = MigrationContext.configure(connection).get_current_heads()
    newest = script.get_heads()
    if set(at) == set(newest):
        return ok(check, f"at {', '.join(at)}, the newest")
    where = ", ".join(at) or "nothing: there are no tables yet"
    try:
        script.get_revisions(at)
    except CommandError:
        advice = "install the program of the version that made them, or a newer one"
        return failing(check, f"the tables are at {where}, which this program does not know", advice)
    advice = "make a backup, then start this version's service, which migrates them"
    return failing(check, f"the tables are at {where}; the newest is {', '.join(newest)}", advice)


def clock(connection: Connection, now_us: int) -> Finding:
    """Whether our clock agrees with the database's, and is not behind what is in the log already."""
    check = "clock"
    advice = "set the clock, and keep it by NTP: until it has caught up, new rows are dated by the latest old one"
    if connection.dialect.name == "postgresql":
        # In the middle of the question and the answer, whatever the way takes.
        theirs_us = int(connection.execute(text("SELECT extract(epoch FROM clock_timestamp()) * 1000000")).scalar_one())
        apart_s = (now_us - theirs_us) / _SECOND_US
        if abs(apart_s) > CLOCKS_APART_S:
            side = "ahead of" if apart_s > 0 else "behind"
            return failing(check, f"this machine is {abs(apart_s):.1f} s {side} the database's", advice)
    latest_us = newest_us(connection)
    if latest_us - now_us > CLOCKS_APART_S * _SECOND_US:
        ahead = f"{from_us(latest_us):%Y-%m-%d %H:%M:%S} UTC, {(latest_us - now_us) / _SECOND_US:.1f} s from now"
        return failing(check, f"the newest row of the log is of {ahead}", advice)
    return ok(check, f"{from_us(now_us):%Y-%m-%d %H:%M:%S} UTC")


def months(connection: Connection, now_us: int) -> Finding:
    """Whether the partitions of this month and the next are there, and no row fell beside them. PostgreSQL only."""
    check = "partitions"
    this = partitions.Month.at(now_us)
    beside = [f"{table}_default" for table in partitions.TABLES if _any_row(connection, f"{table}_default")]
    if beside:
        advice = "their ids are no UUIDs of version 7: find out who wrote them; retention never drops them"
        return warning(check, f"there are rows in {' and '.join(beside)}", advice)
    missing = [
        month.partition(table)
        for table in partitions.TABLES
        for month in (this, this.next)
        if month not in partitions.partitions_of(connection, table)
    ]
    if missing:
        advice = "start a worker, which makes them; without one each is made when its first row comes"
        return warning(check, f"not made yet: {', '.join(missing)}", advice)
    return ok(check, f"made up to {this.next.year}-{this.next.month:02}")


def _setting(connection: Connection, name: str) -> str:
    return str(connection.exec_driver_sql(f"SHOW {name}").scalar())


def _any_row(connection: Connection, table: str) -> bool:
    return connection.exec_driver_sql(f"SELECT 1 FROM {table} LIMIT 1").first() is not None  # noqa: S608 - our names
