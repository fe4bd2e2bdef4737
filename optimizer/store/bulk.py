"""Many rows at once: what the query modules share, and the one place that writes a database's own form of an upsert."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Column, ColumnElement, Connection, Delete, Dialect, Row, Select, Table, Update
    from sqlalchemy.sql.dml import Insert

T = TypeVar("T")

CHUNK: Final = 1000
"""How many values one IN list holds; every database takes so many."""


def insert_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows whose fields are the table's columns in order.

    Raises sqlalchemy's IntegrityError where a key is there already.
    """
    _many(connection, _insert_sql(connection.dialect, table, (), ()), rows)


def insert_missing(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], key: tuple[str, ...]) -> None:
    """Insert the rows whose `key` is not there yet and leave the others as they are."""
    _many(connection, _insert_sql(connection.dialect, table, key, ()), rows)


def upsert_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[tuple[Any, ...]],
    key: tuple[str, ...],
    update: tuple[str, ...],
) -> None:
    """Insert rows; where the `key` is there already, replace the columns named in `update`.

    A later row wins over an earlier one.
    """
    _many(connection, _insert_sql(connection.dialect, table, key, update), rows)


def change_rows(
    connection: Connection, statement: Update | Delete, rows: Sequence[tuple[Any, ...]], parameters: tuple[str, ...]
) -> None:
    """Run an update or delete once for each row, whose fields are the statement's parameters of these names."""
    sql, places = _positional(connection.dialect, statement, parameters)
    _many(connection, sql, [tuple([row[place] for place in places]) for row in rows])


def insert_new(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], key: tuple[str, ...]) -> set[str]:
    """Like `insert_missing`; the last column of `key` of every row that was inserted."""
    if not rows:
        return set()
    names = table.columns.keys()
    statement = _insert(connection.dialect, table, key, ()).returning(table.columns[key[-1]])
    values = [dict(zip(names, row, strict=True)) for row in rows]
    return set(connection.execute(statement, values).scalars())


def one_of(column: Column[Any]) -> ColumnElement[bool]:
    """The condition that a column has one of the values that `select_in` looks for."""
    return column.in_(bindparam("values", expanding=True))


def select_in(
    connection: Connection, query: Select[*tuple[Any, ...]], values: Iterable[str], **parameters: str | int
) -> Iterator[Row[*tuple[Any, ...]]]:
    """The rows of a query with a condition `one_of`, over all chunks of the distinct `values`.

    Queries are made once, when their module is imported: making one takes three times as long as running it.
    """
    distinct = iter(dict.fromkeys(values))
    while chunk := list(islice(distinct, CHUNK)):
        yield from connection.execute(query, {**parameters, "values": chunk})


def _many(connection: Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        connection.exec_driver_sql(sql, list(rows))


@lru_cache(maxsize=256)
def _insert_sql(dialect: Dialect, table: Table, key: tuple[str, ...], update: tuple[str, ...]) -> str:
    """The statement as the driver takes it, with positional parameters in the order of the columns."""
    return str(_insert(dialect, table, key, update).compile(dialect=dialect))


@lru_cache(maxsize=64)
def _positional(
    dialect: Dialect, statement: Update | Delete, parameters: tuple[str, ...]
) -> tuple[str, tuple[int, ...]]:
    """The statement as the driver takes it, and where in a row each of its parameters is found."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), tuple(parameters.index(name) for name in compiled.positiontup or ())


def _insert(dialect: Dialect, table: Table, key: tuple[str, ...], update: tuple[str, ...]) -> Insert:
    """An insert of whole rows; on a conflict in `key` (if given) it replaces the columns `update`, if any."""
    statement = postgresql.insert(table) if dialect.name == "postgresql" else sqlite.insert(table)
    if update:
        return statement.on_conflict_do_update(
            index_elements=list(key), set_={name: statement.excluded[name] for name in update}
        )
    return statement.on_conflict_do_nothing(index_elements=list(key)) if key else statement
