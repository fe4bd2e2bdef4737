"""Files of rows, read a row at a time: CSV and NDJSON, each row with the line on which it begins."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from optimizer.attributes import FieldProblem
from optimizer.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why a row of a file was rejected. `line` counts from 1; in a Parquet file it is the number of the row."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.message}"


def ndjson_rows(path: Path) -> Iterator[tuple[int, object | FieldProblem]]:
    """Each line that is not blank: its number, and its value or why it has none."""
    with path.open("rb") as file:
        for line, text in enumerate(file, start=1):
            if text.strip():
                try:
                    yield line, orjson.loads(text)
                except orjson.JSONDecodeError as error:
                    yield line, FieldProblem("line", f"not JSON: {error}")


def csv_rows(
    path: Path, check_header: Callable[[Path, Sequence[str]], None]
) -> Iterator[tuple[int, dict[str, str] | FieldProblem]]:
    """Each row that is not empty: the line it begins on, and its cells by column or why it has none.

    `check_header` raises InvalidInput where it is given columns that cannot be taken, one that is there twice among
    them. Raises InvalidInput where the file is not CSV in UTF-8, perhaps after some rows.
    """
    line = 1
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            check_header(path, header)
            line = reader.line_num + 1
            for cells in reader:
                if len(cells) == len(header):
                    yield line, dict(zip(header, cells, strict=True))
                elif cells:
                    yield line, FieldProblem("line", f"expected {len(header)} cells, got {len(cells)}")
                line = reader.line_num + 1
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidInput(f"{path}:{line}: not CSV in UTF-8: {error}") from error
