"""Many rows at once: what the query modules share, and the one place that knows each database's way of doing it.

SQLAlchemy writes the statements, once; then they go to the driver as text with its parameters. PostgreSQL takes new
rows by COPY, which is faster even for a single one, and where a row may be there already the columns of many rows as
arrays, so that a statement is the same text for one row and for thousands.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import orjson
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.types import Boolean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import BindParameter, Column, Connection, Delete, Dialect, Row, Select, Table, Update
    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.sql.dml import Insert


def insert_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows whose fields are the table's columns in order.

    Raises sqlalchemy's IntegrityError where a key is there already.
    """
    if connection.dialect.name == "postgresql":
        if rows:
            _copy(connection, table, rows)
    else:
        _insert_many(connection, table, rows, (), ())


def insert_missing(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], key: tuple[str, ...]) -> None:
    """Insert the rows whose `key` is not there yet and leave the others as they are."""
    _insert_many(connection, table, rows, key, ())


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
    if connection.dialect.name == "postgresql" and len(rows) > 1:
        # One statement may meet a key only once there. Equal order everywhere keeps two of them from a deadlock.
        places = [table.columns.keys().index(name) for name in key]
        last = {tuple(row[place] for place in places): row for row in rows}
        rows = [last[found] for found in sorted(last)]
    _insert_many(connection, table, rows, key, update)


def insert_new(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], key: tuple[str, ...]) -> set[str]:
    """Like `insert_missing`; the last column of `key` of every row that was inserted."""
    if not rows:
        return set()
    if connection.dialect.name == "postgresql":
        sql = _insert_sql(connection.dialect, table, key, (), key[-1])
        return set(connection.exec_driver_sql(sql, _arrays(rows)).scalars())
    names = table.columns.keys()
    statement = _insert(connection.dialect, table, key, ()).returning(table.columns[key[-1]])
    return set(connection.execute(statement, [dict(zip(names, row, strict=True)) for row in rows]).scalars())


def change_rows(
    connection: Connection, statement: Update | Delete, rows: Sequence[tuple[Any, ...]], parameters: tuple[str, ...]
) -> None:
    """Run an update or delete once for each row, whose fields are the statement's parameters of these names."""
    if rows:
        sql, names, _ = _text(connection.dialect, statement)
        places = [parameters.index(name) for name in names]
        connection.exec_driver_sql(sql, [tuple([row[place] for place in places]) for row in rows])


class one_of(ColumnElement[bool]):  # noqa: N801 - it reads as a function: where(one_of(column))
    """The condition that a column has one of the values that `select_in` looks for."""

    inherit_cache = False
    type = Boolean()

    def __init__(self, column: Column[Any]) -> None:
        self.column = column
        self.values: BindParameter[Any] = bindparam("values")

    def self_group(self, against: object = None) -> Self:  # noqa: ARG002 - as it is in every expression
        """The condition as it is: SQLite would not use an index for `... = 1`, which booleans are written as there."""
        return self


@compiles(one_of, "sqlite")
def _one_of_sqlite(element: one_of, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the compiler's
    column, values = compiler.process(element.column, **options), compiler.process(element.values, **options)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - written by the compiler


@compiles(one_of, "postgresql")
def _one_of_postgresql(element: one_of, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401 - the compiler's
    column, values = compiler.process(element.column, **options), compiler.process(element.values, **options)
    return f"{column} = ANY (CAST({values} AS VARCHAR[]))"


def select_in(
    connection: Connection, query: Select[*tuple[Any, ...]], values: Iterable[str], **parameters: str | int
) -> Iterator[Row[*tuple[Any, ...]]]:
    """The rows of a query with a condition `one_of`, for the distinct `values`; none where there are none.

    Queries are made once, when their module is imported: making one takes three times as long as running it.
    """
    distinct = list(dict.fromkeys(values))
    if not distinct:
        return iter(())
    sqlite_ = connection.dialect.name == "sqlite"
    return iter(run(connection, query, values=orjson.dumps(distinct).decode() if sqlite_ else distinct, **parameters))


def change_in(
    connection: Connection, statement: Update | Insert, values: Iterable[str], **parameters: str | int | None
) -> int:
    """Run a statement with a condition `one_of` for the distinct `values`; how many rows it changed."""
    distinct = list(dict.fromkeys(values))
    sql, names, constants = _text(connection.dialect, statement)
    sqlite_ = connection.dialect.name == "sqlite"
    given = {**constants, **parameters, "values": orjson.dumps(distinct).decode() if sqlite_ else distinct}
    return connection.exec_driver_sql(sql, tuple([given[name] for name in names])).rowcount


def run(connection: Connection, query: Select[*tuple[Any, ...]], **parameters: Any) -> Sequence[Row[*tuple[Any, ...]]]:  # noqa: ANN401
    """The rows of a query that was made once; booleans are what the driver makes of them (0 and 1 on SQLite)."""
    sql, names, constants = _text(connection.dialect, query)
    given = {**constants, **parameters}
    return connection.exec_driver_sql(sql, tuple([given[name] for name in names])).all()


def _insert_many(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], key: tuple[str, ...], update: tuple[str, ...]
) -> None:
    if rows:
        sql = _insert_sql(connection.dialect, table, key, update)
        arrays = connection.dialect.name == "postgresql"
        connection.exec_driver_sql(sql, _arrays(rows) if arrays else list(rows))


def _arrays(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple(map(list, zip(*rows, strict=True)))


def _copy(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    dialect = connection.dialect
    sql = f"COPY {table.name} ({', '.join(table.columns.keys())}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    error_root: Any = dialect.loaded_dbapi.Error
    try:
        with driver.cursor() as cursor, cursor.copy(sql) as copy:
            for row in rows:
                copy.write_row(row)
    except error_root as error:
        raise DBAPIError.instance(sql, None, error, error_root, dialect=dialect) from error


@lru_cache(maxsize=256)
def _insert_sql(
    dialect: Dialect, table: Table, key: tuple[str, ...], update: tuple[str, ...], returning: str | None = None
) -> str:
    """The statement as the driver takes it, with positional parameters in the order of the columns."""
    compiled = str(_insert(dialect, table, key, update).compile(dialect=dialect))
    if dialect.name != "postgresql":
        return compiled
    # The same with one array for each column in the place of one row's values.
    # As binary: the text of an array would have every quote of every JSON text escaped, one by one.
    types = [f"%b::{column.type.compile(dialect).split(' COLLATE')[0]}[]" for column in table.columns]
    head, _, tail = compiled.partition(" VALUES (")
    conflict = tail[tail.index(" ON CONFLICT") :] if " ON CONFLICT" in tail else ""
    asked = f" RETURNING {returning}" if returning else ""
    return f"{head} SELECT * FROM unnest({', '.join(types)}){conflict}{asked}"  # noqa: S608 - names of our own


@lru_cache(maxsize=256)
def _text(
    dialect: Dialect, statement: Select[*tuple[Any, ...]] | Update | Delete | Insert
) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """The statement as the driver takes it, the names of its parameters in their order, and its constants by name."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), tuple(compiled.positiontup or ()), dict(compiled.params)


def _insert(dialect: Dialect, table: Table, key: tuple[str, ...], update: tuple[str, ...]) -> Insert:
    """An insert of whole rows; on a conflict in `key` (if given) it replaces the columns `update`, if any."""
    statement = postgresql.insert(table) if dialect.name == "postgresql" else sqlite.insert(table)
    if update:
        return statement.on_conflict_do_update(
            index_elements=list(key), set_={name: statement.excluded[name] for name in update}
        )
    return statement.on_conflict_do_nothing(index_elements=list(key)) if key else statement
