"""Lists of whom not to reach, as files: each row checked, and reported with its place where it cannot be taken.

A row is a `customer_id` or an `address`, and if need be a `channel` (by default every one) and a `cause` (by default
`requested`). In CSV these are the columns, in any order, and an empty cell is as if it were not there; a line of NDJSON
is an object of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from optimizer.attributes import FieldProblem, did_you_mean
from optimizer.errors import InvalidInput
from optimizer.row_files import RowProblem, csv_rows, ndjson_rows
from optimizer.suppressing import Whom
from optimizer.suppression import EVERY, Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_FIELDS: Final = ("customer_id", "address", "channel", "cause")

_Row = tuple[int, "object | FieldProblem"]
"""A line of a file, and what it holds, or why it holds nothing."""


@dataclass(frozen=True, slots=True)
class ListChunk:
    """Some rows of a list: whom to suppress and why, and what is wrong with the rows that were rejected."""

    rows: tuple[tuple[Whom, Cause], ...]
    problems: tuple[RowProblem, ...]


def read_list(path: Path, chunk_rows: int = 5000) -> Iterator[ListChunk]:
    """The rows of a `.csv` or `.ndjson` (`.jsonl`) file, `chunk_rows` at a time.

    Raises InvalidInput where the file cannot be read on, perhaps after some chunks.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(f"{path}: expected a file that ends in {', '.join(_READERS)}")
    read = reader(path)
    while chunk := list(islice(read, chunk_rows)):
        found = [(line, value if isinstance(value, FieldProblem) else _check(value)) for line, value in chunk]
        problems = [
            RowProblem(str(path), line, each.field, each.message)
            for line, each in found
            if isinstance(each, FieldProblem)
        ]
        yield ListChunk(
            tuple(each for _, each in found if not isinstance(each, FieldProblem)),
            tuple(problems),
        )


def _check(value: object) -> tuple[Whom, Cause] | FieldProblem:
    """What a row says, or the first thing that is wrong with it, without any value."""
    if not isinstance(value, dict):
        return FieldProblem("line", f"expected an object, got {type(value).__name__}")
    row: Mapping[str, Any] = {name: each for name, each in value.items() if each is not None}
    for name, each in row.items():
        if name not in _FIELDS:
            return FieldProblem(str(name), f"not a part of a suppression{did_you_mean(str(name), _FIELDS)}")
        if not isinstance(each, str):
            return FieldProblem(name, "expected a text")
    cause = row.get("cause", Cause.REQUESTED)
    if cause not in set(Cause):
        return FieldProblem("cause", f"expected one of {', '.join(Cause)}")
    try:
        whom = Whom(row.get("customer_id"), row.get("address"), row.get("channel", EVERY))
    except InvalidInput as error:
        field, _, message = error.message.rpartition(": ")
        return FieldProblem(field or "line", message)
    return whom, Cause(cause)


def _read_csv(path: Path) -> Iterator[_Row]:
    for line, cells in csv_rows(path, _check_header):
        yield line, cells if isinstance(cells, FieldProblem) else {name: cell for name, cell in cells.items() if cell}


def _check_header(path: Path, names: Sequence[str]) -> None:
    """Raise InvalidInput with everything that is wrong with the columns."""
    wrong = [
        f"column {name!r} is not a part of a suppression{did_you_mean(name, _FIELDS)}"
        for name in names
        if name not in _FIELDS
    ]
    wrong += [f"column {name!r} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if not {"customer_id", "address"} & set(names):
        wrong.append("there is neither a column 'customer_id' nor 'address'")
    if wrong:
        raise InvalidInput("\n".join(f"{path}:1: {message}" for message in wrong))


_READERS: Final[Mapping[str, Callable[[Path], Iterator[_Row]]]] = {
    ".csv": _read_csv,
    ".ndjson": ndjson_rows,
    ".jsonl": ndjson_rows,
}
