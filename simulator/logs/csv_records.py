"""The records of a CSV file, each with the line on which it begins and as it stands in the file.

A record that is not CSV is put aside and the next line begins a new one: a quote that is never closed costs its own
line, not the rest of the file.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TextIO

from optimizer.errors import InvalidInput
from optimizer.row_files import RowProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from simulator.logs.reading import Intake

_BROKEN: Final = (OSError, EOFError, zlib.error)
_ENCODING: Final = "utf-8-sig"
_ERRORS: Final = "surrogateescape"  # bytes that are not UTF-8 come out as they went in


@dataclass(slots=True)
class Records:
    """Some records of one file.

    Attributes:
        path: the file.
        header: the names of its columns.
        rows: the cells of each record, as many as the header has.
        lines: the line on which each begins.
        texts: each as it stands in the file.
    """

    path: Path
    header: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def reject(self, intake: Intake, place: int, name: str, message: str) -> None:
        """Put one of them aside."""
        intake.reject(RowProblem(str(self.path), self.lines[place], name, message), as_bytes(self.texts[place]))


def records(path: Path, columns: Sequence[str], intake: Intake, size: int) -> Iterator[Records]:
    """All records of a file, so many at a time; what is none is put aside, blank lines are counted.

    Args:
        path: in UTF-8, gzipped if its name ends in `.gz`, with a header.
        columns: what the header must name, each once.
        intake: counts.
        size: how many records at a time.

    Raises `InvalidInput` for a column that is missing, and where the file cannot be read to its end.
    """
    with _opened(path) as file:
        lines = _Lines(file)
        reader = csv.reader(lines, strict=True)
        header = _header(path, reader)
        _check(path, header, columns)
        found = Records(path, header)
        while True:
            lines.begin()
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                message = f"not CSV: {error}; is a quote not closed, or not doubled?"
                intake.reject(RowProblem(str(path), lines.first, "line", message), as_bytes(lines.taken[0]))
                lines.again()
                continue
            if len(cells) == len(header):
                found.rows.append(cells)
                found.lines.append(lines.first)
                found.texts.append(lines.text)
                if len(found) == size:
                    yield found
                    found = Records(path, header)
            elif not cells:
                intake.passed["blank line"] += 1
            else:
                message = f"the row has {len(cells)} cells, the header {len(header)}"
                intake.reject(RowProblem(str(path), lines.first, "line", message), as_bytes(lines.text))
        if len(found):
            yield found


def header_of(path: Path) -> Sequence[str]:
    """The names of a file's columns. Raises `InvalidInput` where it cannot be read."""
    with _opened(path) as file:
        return _header(path, csv.reader(file, strict=True))


def as_bytes(text: str) -> bytes:
    """Text of a file as it stands there."""
    return text.encode("utf-8", _ERRORS)


def is_utf8(texts: Sequence[str]) -> bool:
    """Whether none of these texts of a file holds bytes that are not UTF-8."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


class _Lines:
    """The lines of a file, some of which can be taken back.

    Attributes:
        first: the line on which the present record begins, from 1.
        taken: the lines that have gone into it.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._back: deque[str] = deque()
        self._next = 1
        self.first = 1
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._file)
        self.taken.append(line)
        self._next += 1
        return line

    @property
    def text(self) -> str:
        """The present record as it stands."""
        return self.taken[0] if len(self.taken) == 1 else "".join(self.taken)

    def begin(self) -> None:
        """What comes now belongs to the next record."""
        self.first = self._next
        self.taken = []

    def again(self) -> None:
        """All lines of the present record but its first come once more."""
        self._back.extendleft(reversed(self.taken[1:]))
        self._next = self.first + 1


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The text of a file; what is wrong with it while it is read is `InvalidInput`."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding=_ENCODING, errors=_ERRORS, newline="") as file:
                yield file
        else:
            with path.open(encoding=_ENCODING, errors=_ERRORS, newline="") as file:
                yield file
    except _BROKEN as error:
        raise InvalidInput(f"{path}: cannot be read to its end: {error}") from error


def _header(path: Path, reader: Iterator[Sequence[str]]) -> Sequence[str]:
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise InvalidInput(f"{path}:1: the header is not CSV: {error}") from error
    if not is_utf8(header):
        raise InvalidInput(f"{path}:1: the header is not in UTF-8: convert the file")
    if not header:
        raise InvalidInput(f"{path}:1: no header: the first line must name the columns")
    return header


def _check(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    absent = [column for column in columns if column not in header]
    if absent:
        raise InvalidInput(f"{path}:1: no column {', '.join(absent)}; there are {', '.join(header)}")
    doubled = [column for column in columns if list(header).count(column) > 1]
    if doubled:
        raise InvalidInput(f"{path}:1: more than one column {', '.join(doubled)}: rename one")
