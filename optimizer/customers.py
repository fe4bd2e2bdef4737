"""Customers as they arrive: one at a time as JSON, or in CSV, NDJSON and Parquet files, each row checked and reported.

A customer in JSON is `{"customer_id": ..., "attributes": {...}, "timezone": ..., "addresses": {...}, "consents":
{...}}`, and so is a line of an NDJSON file. CSV and Parquet files have the columns `customer_id`, `timezone`,
`address.<channel>` and `consent.<name>`; every other column is an attribute. In CSV an empty cell is a missing value, a
boolean is `true` or `false` (also `1`, `0`, `yes`, `no`), and the texts of a multi-category are separated by `|`.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from optimizer.attributes import Attributes, AttributeType, FieldProblem, did_you_mean
from optimizer.errors import InvalidInput
from optimizer.limits import MAX_ID, flaw, is_id
from optimizer.row_files import RowProblem, csv_rows, ndjson_rows
from optimizer.scalars import ZONES
from optimizer.store.customers import Customer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_PARTS: Final = ("customer_id", "attributes", "timezone", "addresses", "consents")
_ADDRESS: Final = "address."
_CONSENT: Final = "consent."
_BOOLEANS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

_Row = tuple[int, "object | FieldProblem"]
"""A line of a file, and the customer it holds as JSON, or why it holds none."""


@dataclass(frozen=True, slots=True)
class CustomerChunk:
    """Some rows of a file: the customers that are good, and the problems of the rows that were rejected."""

    customers: tuple[Customer, ...]
    problems: tuple[RowProblem, ...]
    rejected: int
    """How many rows the problems are about."""


def check_customer(body: object, attributes: Attributes) -> tuple[Customer | None, list[FieldProblem]]:
    """The customer that a JSON value describes, or None and everything that is wrong with it, without any value."""
    if not isinstance(body, dict):
        return None, [FieldProblem("customer", f"expected an object, got {type(body).__name__}")]
    problems = [
        FieldProblem(str(name), f"not a part of a customer{did_you_mean(str(name), _PARTS)}")
        for name in body
        if name not in _PARTS
    ]
    customer_id = body.get("customer_id")
    if not isinstance(customer_id, str) or not is_id(customer_id):
        expected = f"expected a text of 1 to {MAX_ID} characters, none of them a control character"
        problems.append(FieldProblem("customer_id", expected))
    timezone = body.get("timezone")
    if timezone is not None and not (isinstance(timezone, str) and timezone in ZONES):
        problems.append(FieldProblem("timezone", "expected an IANA time zone such as Europe/Paris"))
    clean, wrong = attributes.validate_row(_part(body, "attributes", problems))
    problems += [FieldProblem(f"attributes.{problem.field}", problem.message) for problem in wrong]
    addresses = _typed(body, "addresses", str, "a text", problems)
    consents = _typed(body, "consents", bool, "true or false", problems)
    if problems:
        return None, problems
    return Customer(str(customer_id), clean, timezone, addresses, consents), []


def read_customers(path: Path, attributes: Attributes, chunk_rows: int = 5000) -> Iterator[CustomerChunk]:
    """The customers of a `.csv`, `.ndjson` (`.jsonl`) or `.parquet` file, `chunk_rows` rows at a time.

    A customer id that a good row of the file had already makes a later row a rejected one. Raises InvalidInput where
    the file cannot be read on, perhaps after some chunks: its kind, its header, or bytes that are not UTF-8 text.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(f"{path}: expected a file that ends in {', '.join(_READERS)}")
    rows = reader(path, attributes)
    lines: dict[str, int] = {}
    while chunk := list(islice(rows, chunk_rows)):
        yield _check_chunk(str(path), chunk, attributes, lines)


def _check_chunk(file: str, rows: Sequence[_Row], attributes: Attributes, lines: dict[str, int]) -> CustomerChunk:
    customers: list[Customer] = []
    problems: list[RowProblem] = []
    for line, body in rows:
        customer, wrong = (None, [body]) if isinstance(body, FieldProblem) else check_customer(body, attributes)
        if customer is not None:
            first = lines.setdefault(customer.customer_id, line)
            if first == line:
                customers.append(customer)
            else:
                wrong = [
                    FieldProblem("customer_id", f"{customer.customer_id!r} is the customer of line {first} already")
                ]
        problems += [RowProblem(file, line, problem.field, problem.message) for problem in wrong]
    return CustomerChunk(tuple(customers), tuple(problems), len(rows) - len(customers))


def _part(body: Mapping[str, Any], name: str, problems: list[FieldProblem]) -> Mapping[str, Any]:
    """The object under that name, empty where it is absent, null or of no use."""
    part = body.get(name)
    if part is None:
        return {}
    if isinstance(part, dict):
        wrong = flaw(part)
        if wrong is None:
            return part
        problems.append(FieldProblem(name, wrong))
        return {}
    problems.append(FieldProblem(name, "expected an object"))
    return {}


def _typed(
    body: Mapping[str, Any], name: str, kind: type, expected: str, problems: list[FieldProblem]
) -> dict[str, Any]:
    """The entries of an object whose values are all of one type; null is left out."""
    entries = {key: value for key, value in _part(body, name, problems).items() if value is not None}
    for key, value in entries.items():
        if not isinstance(value, kind):
            problems.append(FieldProblem(f"{name}.{key}", f"expected {expected}"))
    return entries


def _read_ndjson(path: Path, _attributes: Attributes) -> Iterator[_Row]:
    return ndjson_rows(path)


def _read_csv(path: Path, attributes: Attributes) -> Iterator[_Row]:
    types: dict[str, AttributeType] = {}
    for line, cells in csv_rows(path, partial(_check_header, attributes=attributes)):
        if isinstance(cells, FieldProblem):
            yield line, cells
            continue
        types = types or {name: _column_type(name, attributes) for name in cells}
        yield line, _nested({name: _from_text(cell, types[name]) for name, cell in cells.items()})


def _read_parquet(path: Path, attributes: Attributes) -> Iterator[_Row]:
    try:
        with pq.ParquetFile(path) as file:
            _check_header(path, file.schema_arrow.names, attributes)
            number = 0
            for batch in file.iter_batches(batch_size=5000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, _nested({name: _plain(name, value) for name, value in row.items()})
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"{path}: not a Parquet file: {error}") from error


_READERS: Final[Mapping[str, Callable[[Path, Attributes], Iterator[_Row]]]] = {
    ".csv": _read_csv,
    ".ndjson": _read_ndjson,
    ".jsonl": _read_ndjson,
    ".parquet": _read_parquet,
}


def _check_header(path: Path, names: Sequence[str], attributes: Attributes) -> None:
    """Raise InvalidInput with everything that is wrong with the columns."""
    known = ("customer_id", "timezone", *attributes.types)
    wrong = [
        f"column {name!r} is neither a part of a customer nor a declared attribute{did_you_mean(name, known)}"
        for name in names
        if name not in known and not name.startswith((_ADDRESS, _CONSENT))
    ]
    wrong += [f"column {name!r} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if "customer_id" not in names:
        wrong.append("there is no column 'customer_id'")
    if wrong:
        raise InvalidInput("\n".join(f"{path}:1: {message}" for message in wrong))


def _nested(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of columns in the form of JSON."""
    body: dict[str, Any] = {"attributes": {}, "addresses": {}, "consents": {}}
    for name, value in row.items():
        if name in {"customer_id", "timezone"}:
            body[name] = value
        elif name.startswith(_ADDRESS):
            body["addresses"][name.removeprefix(_ADDRESS)] = value
        elif name.startswith(_CONSENT):
            body["consents"][name.removeprefix(_CONSENT)] = value
        else:
            body["attributes"][name] = value
    return body


def _column_type(name: str, attributes: Attributes) -> AttributeType:
    if name.startswith(_CONSENT):
        return AttributeType.BOOLEAN
    return attributes.types.get(name, AttributeType.CATEGORY)


def _from_text(cell: str, kind: AttributeType) -> object:
    """A cell as its column's type; a text that is no such value stays a text, to be reported."""
    if not cell:
        return None
    if kind is AttributeType.BOOLEAN:
        return _BOOLEANS.get(cell.lower(), cell)
    if kind is AttributeType.MULTI_CATEGORY:
        return cell.split("|")
    if kind is AttributeType.NUMBER:
        with suppress(ValueError):
            return float(cell)
    return cell


def _plain(name: str, value: object) -> object:
    """A Parquet value as JSON has it: not-a-number is missing, and an id may be a whole number."""
    if name == "customer_id" and isinstance(value, int):
        return str(value)
    return None if isinstance(value, float) and math.isnan(value) else value
