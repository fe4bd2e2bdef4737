"""Cells of rows as arrays: those of CSV, which are texts, and those of Parquet, which have types.

A missing cell is an empty text or a null, and NaN where numbers are wanted. What a cell cannot be read as is marked,
never guessed.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cached_property
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from optimizer.clock import to_us
from optimizer.errors import InvalidInput
from optimizer.row_files import RowProblem
from simulator.logs.csv_records import is_utf8

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from simulator.logs.csv_records import Records
    from simulator.logs.reading import Intake

_TRUTH: Final = {"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}
_SECOND_US: Final = 1_000_000


class Numbers(NamedTuple):
    """A column of numbers: float64 (n,), NaN where missing or wrong; and bool (n,), where a cell is no finite one."""

    values: NDArray[np.float64]
    wrong: NDArray[np.bool_]


class Levels(NamedTuple):
    """A column of texts: which of the texts each row has, (n,) indices; None is a missing one."""

    codes: NDArray[np.intp]
    texts: Sequence[str | None]

    def each(self) -> NDArray[np.object_]:
        """(n,) the text of every row, or None."""
        return np.array([*self.texts, None], object)[self.codes]


class Cells(Protocol):
    """Some rows of a file."""

    def __len__(self) -> int:
        """How many."""

    def numbers(self, column: str) -> Numbers:
        """The cells of a column as numbers."""

    def booleans(self, column: str) -> Numbers:
        """As 0.0 and 1.0."""

    def instants(self, column: str) -> Numbers:
        """As UTC microseconds."""

    def levels(self, column: str) -> Levels:
        """As texts."""

    def shown(self, column: str, row: int) -> str:
        """One cell, as a message shows it."""

    def unreadable(self) -> Mapping[int, str]:
        """The rows that are wrong as a whole, and why."""

    def reject(self, intake: Intake, row: int, column: str, message: str) -> None:
        """Put one row aside."""


class TextCells:
    """Records of CSV."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._place = {name: i for i, name in enumerate(records.header)}

    def __len__(self) -> int:
        return len(self._records)

    @cached_property
    def _columns(self) -> Sequence[Sequence[str]]:
        return list(zip(*self._records.rows, strict=True))

    def _texts(self, column: str) -> Sequence[str]:
        return self._columns[self._place[column]]

    def numbers(self, column: str) -> Numbers:
        """See `Cells`."""
        return _numbers(self._texts(column), float)

    def booleans(self, column: str) -> Numbers:
        """See `Cells`."""
        return _numbers(self._texts(column), _boolean)

    def instants(self, column: str) -> Numbers:
        """See `Cells`."""
        return _numbers(self._texts(column), _instant)

    def levels(self, column: str) -> Levels:
        """See `Cells`."""
        return _levels(self._texts(column))

    def shown(self, column: str, row: int) -> str:
        """See `Cells`."""
        return _short(self._texts(column)[row])

    def unreadable(self) -> Mapping[int, str]:
        """See `Cells`."""
        if is_utf8(self._records.texts):
            return {}
        return {i: "not UTF-8" for i, text in enumerate(self._records.texts) if not is_utf8([text])}

    def reject(self, intake: Intake, row: int, column: str, message: str) -> None:
        """See `Cells`."""
        self._records.reject(intake, row, column, message)


class TypedCells:
    """Rows of a Parquet file.

    Args:
        url: the file.
        first: the number of the first of these rows in it.
        table: the rows.
    """

    def __init__(self, url: str, first: int, table: pa.Table) -> None:
        self._url = url
        self._first = first
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def _column(self, name: str) -> Any:  # noqa: ANN401 - pyarrow has no types
        column = self._table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        kind = column.type
        plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, _is_text)
        if any(is_one(kind) for is_one in (*plain, pa.types.is_timestamp, pa.types.is_date, pa.types.is_null)):
            return column
        raise InvalidInput(f"{self._url}: column {name} is {kind}: expected numbers, truth values, texts or times")

    def numbers(self, column: str) -> Numbers:
        """See `Cells`."""
        return self._numbers(column, float)

    def booleans(self, column: str) -> Numbers:
        """See `Cells`."""
        values, wrong = self._numbers(column, _boolean)
        other = ~np.isnan(values) & (values != 0.0) & (values != 1.0)
        return Numbers(values, wrong | other)

    def instants(self, column: str) -> Numbers:
        """See `Cells`."""
        found = self._column(column)
        if pa.types.is_timestamp(found.type) or pa.types.is_date(found.type):
            whole = found.cast(pa.timestamp("us", getattr(found.type, "tz", None)), safe=False).cast(pa.int64())
            return _finite(whole.cast(pa.float64(), safe=False))
        if _is_text(found.type):
            return _numbers(_as_texts(found), _instant)
        values, wrong = self._numbers(column, _instant)
        return Numbers(np.rint(values * _SECOND_US), wrong)

    def levels(self, column: str) -> Levels:
        """See `Cells`."""
        encoded = self._column(column).cast(pa.string()).combine_chunks().dictionary_encode()
        texts = [text or None for text in encoded.dictionary.to_pylist()]
        codes = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
        return Levels(codes.astype(np.intp), [*texts, None])

    def _numbers(self, name: str, read: Callable[[str], float]) -> Numbers:
        column = self._column(name)
        if _is_text(column.type):
            return _numbers(_as_texts(column), read)
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            raise InvalidInput(f"{self._url}: column {name} is {column.type}: expected numbers")
        return _finite(column.cast(pa.float64(), safe=False))

    def shown(self, column: str, row: int) -> str:
        """See `Cells`."""
        return _short(self._table.column(column)[row].as_py())

    @staticmethod
    def unreadable() -> Mapping[int, str]:
        """See `Cells`."""
        return {}

    def reject(self, intake: Intake, row: int, column: str, message: str) -> None:
        """See `Cells`; what was read of the row goes as JSON."""
        (values,) = self._table.slice(row, 1).to_pylist()
        text = json.dumps(values, default=str, ensure_ascii=False)
        intake.reject(RowProblem(self._url, self._first + row, column, message), text.encode())


def _numbers(texts: Sequence[str], read: Callable[[str], float]) -> Numbers:
    try:
        values = np.fromiter(map(read, texts), np.float64, len(texts))
        wrong = np.isinf(values)
    except (ValueError, OverflowError):
        values, wrong = np.full(len(texts), nan), np.zeros(len(texts), np.bool_)
        for i, text in enumerate(texts):
            if text:
                try:
                    values[i] = read(text)
                    wrong[i] = np.isinf(values[i])
                except (ValueError, OverflowError):
                    wrong[i] = True
    values[wrong] = nan
    return Numbers(values, wrong)


def _finite(column: Any) -> Numbers:  # noqa: ANN401 - pyarrow has no types
    values = np.array(column.to_numpy(), np.float64)  # a copy: arrow's own memory is not to be written
    wrong = np.isinf(values)
    values[wrong] = nan
    return Numbers(values, wrong)


def _levels(texts: Sequence[str]) -> Levels:
    known: dict[str, int] = {}
    codes = np.fromiter((known.setdefault(text, len(known)) for text in texts), np.intp, len(texts))
    return Levels(codes, [text or None for text in known])


def _boolean(text: str) -> float:
    return _TRUTH[text] if text in _TRUTH else _truth(text.lower())


def _truth(text: str) -> float:
    if text not in _TRUTH:
        raise ValueError(text)
    return _TRUTH[text]


def _instant(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        return float(to_us(at if at.tzinfo else at.replace(tzinfo=UTC)))
    if not isfinite(seconds):
        raise ValueError(text)
    return float(round(seconds * _SECOND_US))


def _as_texts(column: Any) -> Sequence[str]:  # noqa: ANN401 - pyarrow has no types
    return column.fill_null("").to_pylist()  # type: ignore[no-any-return]


def _is_text(kind: Any) -> bool:  # noqa: ANN401 - pyarrow has no types
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."  # noqa: PLR2004 - about half a line
