"""Connections: the only place that knows how each database is opened.

SQLite runs in WAL mode with `synchronous=FULL`, so that a committed row survives a power cut, and begins its
transactions itself: the driver's own way would begin them late and not for reads. PostgreSQL runs its writers READ
COMMITTED: each locks the rows of its customers first, and every statement after that sees what was committed before.
Readers see one snapshot of the data for as long as their transaction lasts, on both.
"""

import operator
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

BUSY_TIMEOUT_MS = 10_000
"""How long a connection waits for another's lock before it gives up."""

IDLE_TIMEOUT_MS = 10_000
"""How long PostgreSQL lets a transaction hold its locks while its process says nothing (it may be stopped)."""

CONNECT_TIMEOUT_S = 3
"""How long a new connection to PostgreSQL may take."""

CHECKPOINT_PAGES = 8_000
"""How long the write-ahead log may grow, so that a large commit does not copy itself into the database at once."""

# The sqlite3 driver would store a numpy scalar as a blob, silently; psycopg knows numpy by itself.
for _scalar in (np.int64, np.int32, np.uint8, np.float32, np.bool_):
    sqlite3.register_adapter(_scalar, operator.methodcaller("item"))


@dataclass(frozen=True, slots=True)
class Engines:
    """One engine that reads and one that writes.

    Attributes:
        serial: whether the database takes one writer at a time.
        shared: whether both are one engine with one connection, since the database lives in memory.
    """

    read: Engine
    write: Engine
    serial: bool
    shared: bool = False

    def dispose(self) -> None:
        """Close every connection."""
        self.read.dispose()
        self.write.dispose()


def open_engines(url: str) -> Engines:
    """The engines of a database URL; what they raise holds no values, for it is logged.

    `sqlite:///path/to/file.db` (the folder is made), `sqlite://` (in memory) or `postgresql+psycopg://...`.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return _postgresql(parsed)
    if parsed.database in (None, "", ":memory:"):
        engine = create_engine(
            parsed, poolclass=StaticPool, connect_args={"check_same_thread": False}, hide_parameters=True
        )
        _set_up_sqlite(engine, begin="BEGIN IMMEDIATE", pragmas=("foreign_keys=ON",))
        return Engines(engine, engine, serial=True, shared=True)
    Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
    common = (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "temp_store=MEMORY",
    )
    read = create_engine(parsed, pool_size=16, max_overflow=48, hide_parameters=True)
    _set_up_sqlite(read, begin="BEGIN", pragmas=(*common, "query_only=ON"))
    write = create_engine(parsed, pool_size=1, max_overflow=1, hide_parameters=True)
    _set_up_sqlite(
        write, begin="BEGIN IMMEDIATE", pragmas=(*common, "cache_size=-65536", f"wal_autocheckpoint={CHECKPOINT_PAGES}")
    )
    return Engines(read, write, serial=True)


def _postgresql(url: URL) -> Engines:
    # Positional parameters, so that rows go to the driver as tuples everywhere.
    common: dict[str, Any] = {
        "hide_parameters": True,
        "paramstyle": "format",
        "pool_size": 8,
        "max_overflow": 24,
        "pool_timeout": CONNECT_TIMEOUT_S,
    }
    reading = create_engine(
        url,
        **common,
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
        connect_args=_connecting("optimizer-read"),
    )
    limits = f"-c lock_timeout={BUSY_TIMEOUT_MS} -c idle_in_transaction_session_timeout={IDLE_TIMEOUT_MS}"
    writing = create_engine(url, **common, connect_args=_connecting("optimizer-write") | {"options": limits})
    event.listen(writing, "begin", _begin_now)
    return Engines(reading, writing, serial=False)


def _begin_now(connection: Connection) -> None:
    """The driver begins with the first statement; what reads the clock after this is no older than its transaction."""
    connection.exec_driver_sql("SELECT 1")


def _connecting(name: str) -> dict[str, Any]:
    return {"application_name": name, "connect_timeout": CONNECT_TIMEOUT_S, "tcp_user_timeout": BUSY_TIMEOUT_MS}


def _set_up_sqlite(engine: Engine, *, begin: str, pragmas: tuple[str, ...]) -> None:
    def connected(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver begins no transaction by itself
        for pragma in pragmas:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

    def began(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", began)
