"""What every reader of a log is, and what it does with rows that it cannot take.

A row that cannot be taken is reported with its file, line and cause, written as it stands into a reject file, counted,
and left out; `strict` makes the first one an error. What is no mistake but no decision either (a blank line, a reward
without a decision) is counted by its kind.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from optimizer.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from optimizer.evaluation.log import Log
    from optimizer.row_files import RowProblem

SHOWN: Final = 20
"""How many problems are kept to be shown; all of them are counted, and all rows are in the reject file."""


@dataclass(slots=True)
class Intake:
    """Counts what a reader took and what it did not.

    Args:
        rejects: the file for rows that could not be taken, made when the first one comes; None: they are only counted.
        strict: whether the first of them is an error.
    """

    rejects: Path | None = None
    strict: bool = False
    taken: int = 0
    rejected: int = 0
    passed: Counter[str] = field(default_factory=Counter)
    """Rows that are no decisions to be judged, by kind, such as "blank line"."""
    problems: list[RowProblem] = field(default_factory=list)
    """The first `SHOWN`."""
    _file: BinaryIO | None = None

    def reject(self, problem: RowProblem, row: bytes) -> None:
        """Put a row aside, as it stands in its file. Raises `InvalidInput` if strict."""
        if self.strict:
            raise InvalidInput(f"{problem} (strict: nothing more is read)")
        self.rejected += 1
        if len(self.problems) < SHOWN:
            self.problems.append(problem)
        if self.rejects is not None:
            if self._file is None:
                self._file = self.rejects.open("wb")
            self._file.write(row.rstrip(b"\r\n") + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class LogReader(Protocol):
    """One log, to be read as often as needed."""

    def chunks(self, intake: Intake) -> Iterator[Log]:
        """Its decisions in its order, `CHUNK` at a time.

        Raises `InvalidInput` where the file as a whole cannot be read, perhaps after some chunks.
        """
