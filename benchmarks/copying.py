"""The same rows once more, by a bare COPY: the fastest that PostgreSQL takes rows in over one connection."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from benchmarks import postgres
from optimizer.store import Store
from optimizer.store.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from benchmarks.postgres import Server

_BLOCK: Final = 1 << 20
_PARTITIONS: Final = (
    "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = %s::regclass"
)


@dataclass(frozen=True, slots=True)
class Copied:
    """How long a COPY of some rows took: into tables with their keys and indexes, and into tables without any."""

    rows: Mapping[str, int]
    seconds: float
    bare_seconds: float


def counted(url: str) -> Counter[str]:
    """How many rows each of our tables has."""
    with psycopg.connect(postgres.plain(url)) as connection:
        found = {}
        for table in metadata.tables:
            row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
            found[table] = row[0] if row else 0
        return Counter(found)


def copied(server: Server, url: str, tables: Iterable[str], folder: Path) -> Copied:
    """Copy all rows of these tables of a database into empty ones of the same definitions."""
    files, rows = {}, {}
    with psycopg.connect(postgres.plain(url)) as source:
        for table in tables:
            files[table] = folder / f"{table}.copy"
            query = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT (FORMAT binary)").format(sql.Identifier(table))
            with files[table].open("wb") as file, source.cursor() as cursor:
                with cursor.copy(query) as out:
                    for block in out:
                        file.write(block)
                rows[table] = cursor.rowcount
    target = server.database()
    with closing(Store(target)), psycopg.connect(postgres.plain(target), autocommit=True) as connection:
        _divide(url, connection, files)
        seconds = _timed(server, connection, files, "")
        for table in files:
            create = sql.SQL("CREATE TABLE {} (LIKE {})")
            connection.execute(create.format(sql.Identifier(f"bare_{table}"), sql.Identifier(table)))
        bare_seconds = _timed(server, connection, files, "bare_")
    server.drop(target)
    for path in files.values():
        path.unlink()
    return Copied(rows, seconds, bare_seconds)


def _divide(url: str, connection: psycopg.Connection, tables: Iterable[str]) -> None:
    """Make the partitions that the tables of the other database have."""
    with psycopg.connect(postgres.plain(url)) as source:
        for table in tables:
            for name, bounds in source.execute(_PARTITIONS, (table,)).fetchall():
                create = sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} {}")
                connection.execute(create.format(sql.Identifier(name), sql.Identifier(table), sql.SQL(bounds)))


def _timed(server: Server, connection: psycopg.Connection, files: Mapping[str, Path], prefix: str) -> float:
    """How long it takes to copy all the files in, a transaction each."""
    server.settle()
    start = perf_counter()
    for table, path in files.items():
        query = sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(sql.Identifier(prefix + table))
        with path.open("rb") as file, connection.cursor() as cursor, cursor.copy(query) as into:
            while block := file.read(_BLOCK):
                into.write(block)
    return perf_counter() - start
