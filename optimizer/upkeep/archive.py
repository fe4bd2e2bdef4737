"""Months of the logs as Parquet files, one for each table and month, with the columns of the tables.

A file is written under another name and gets its own when it is whole and has as many rows as the database. It is read
with any reader of Parquet; texts of JSON and instants (microseconds since the epoch, UTC) are as in the tables.
"""

from __future__ import annotations

import os
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Boolean, Float, Integer, LargeBinary
from sqlalchemy.types import BigInteger

from optimizer.errors import Conflict
from optimizer.store import retention
from optimizer.store.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Table

    from optimizer.store import Store
    from optimizer.store.partitions import Month

ROWS: Final = 10_000
"""How many rows are read at a time, and are in memory."""

_TYPES: Final = (
    (BigInteger, pa.int64()),
    (Integer, pa.int32()),
    (Float, pa.float64()),
    (LargeBinary, pa.binary()),
    (Boolean, pa.bool_()),
)


def schema_of(table: Table) -> pa.Schema:
    """The columns of a table as those of a Parquet file."""
    fields = []
    for column in table.columns:
        kind = next((arrow for sql, arrow in _TYPES if isinstance(column.type, sql)), pa.string())
        fields.append(pa.field(column.name, kind, nullable=bool(column.nullable)))
    return pa.schema(fields)


def path_of(folder: Path, name: str, month: Month) -> Path:
    """Where a month of a table is."""
    return folder / f"{name}-{month.year:04}-{month.month:02}.parquet"


def export(store: Store, folder: Path, month: Month, tell: Callable[[str, int], object]) -> int:
    """Write a month of every log into a folder; how many rows.

    A file that is there and ends with the same row is of this very log, and stays: rows may have been dropped since.
    Raises Conflict where one is of another log, or where the database changes meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return sum(_export(store, name, month, path_of(folder, name, month), tell) for name in retention.ID)


def _export(store: Store, name: str, month: Month, path: Path, tell: Callable[[str, int], object]) -> int:
    expected = store.read(partial(retention.count_rows, name=name, month=month))
    if path.exists():
        _check_own(store, name, month, path, expected)
        return expected
    draft = path.with_suffix(".part")
    written = 0
    schema = schema_of(metadata.tables[name])
    with closing(pq.ParquetWriter(draft, schema, compression="zstd")) as writer:
        for page in _pages(store, name, month):
            columns = zip(*page, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            written += len(page)
            tell(path.name, written)
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    found = pq.read_metadata(draft).num_rows
    if not found == written == store.read(partial(retention.count_rows, name=name, month=month)):
        draft.unlink()
        raise Conflict(f"{path.name} has {found:,} rows and the database {expected:,}: nothing was dropped; try again")
    draft.replace(path)
    return written


def _check_own(store: Store, name: str, month: Month, path: Path, expected: int) -> None:
    """A file that is there already has every row of the month that the database still has."""
    last = store.read(partial(retention.last_row, name=name, month=month))
    file = pq.ParquetFile(path)
    rows = file.metadata.num_rows
    end = file.read_row_group(file.num_row_groups - 1).to_pylist()[-1:] if rows else []
    table = metadata.tables[name]
    key = [column.name for column in table.primary_key.columns]
    if rows < expected or (last is not None and [[row[each] for each in key] for row in end] != [list(last)]):
        raise Conflict(
            f"{path} is there and is not this log's: nothing was dropped; name another folder, or move it away"
        )


def _pages(store: Store, name: str, month: Month) -> Iterator[Sequence[Sequence[Any]]]:
    last: Sequence[Any] | None = None
    while page := store.read(partial(retention.rows_after, name=name, month=month, last=last, limit=ROWS)):
        yield page
        last = page[-1]
