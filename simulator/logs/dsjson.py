"""Vowpal Wabbit's dsjson, read as a log: https://github.com/VowpalWabbit/vowpal_wabbit/wiki/Contextual-Bandit-algorithms.

The reward is the negated cost: `_original_label_cost`, where lines have it, else `_label_cost`. Arms are named by their
actions (`Actions`), the context's columns by their path (`JsonColumns`), slots by `position`. An export of the service
also names each decision's customer.
"""

from __future__ import annotations

import gzip
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from optimizer.errors import InvalidInput
from optimizer.evaluation.log import CHUNK, Log
from optimizer.row_files import RowProblem
from simulator.logs.dsjson_actions import Actions
from simulator.logs.dsjson_arrays import Arrays
from simulator.logs.dsjson_rows import BadLine, LineReader, Rows
from simulator.logs.json_columns import JsonColumns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from simulator.logs.reading import Intake

BATCH: Final = 250
"""Lines that are held at a time and whose rows become arrays together: few enough to stay in the processor's cache."""

CELLS: Final = 20_000_000
"""Rows times arms that a chunk may have: where arms are very many, it has fewer rows."""

_BUFFER: Final = 1 << 20
_BROKEN: Final = (OSError, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class DsjsonLog:
    """A file of dsjson, gzipped if its name ends in `.gz`."""

    path: Path

    def chunks(self, intake: Intake) -> Iterator[Log]:
        """See `LogReader`."""
        reading = _Reading(str(self.path), intake)
        held: list[Log] = []
        for log in reading.batches(self._lines()):
            held.append(log)
            rows = sum(map(len, held))
            if rows >= CHUNK or rows * len(log.arms) >= CELLS:
                whole = Log.join(held)
                yield _sparing(whole.take(slice(CHUNK)))
                held = [whole.take(slice(CHUNK, None))] if rows > CHUNK else []
        if held:
            yield _sparing(Log.join(held))

    def _lines(self) -> Iterator[list[bytes]]:
        done = 0
        try:
            with _opened(self.path) as file:
                while lines := list(islice(file, BATCH)):
                    done += len(lines)
                    yield lines
        except _BROKEN as error:
            raise InvalidInput(f"{self.path}: cannot be read beyond line {done}: {error}") from error


class _Reading:
    """One pass over a file."""

    def __init__(self, name: str, intake: Intake) -> None:
        self._name, self._intake = name, intake
        self._actions = Actions()
        self._reader = LineReader(self._actions)
        self._columns = JsonColumns()
        self._first = 1

    def batches(self, batches: Iterator[list[bytes]]) -> Iterator[Log]:
        """A log of what can be taken of each batch of lines, where anything can."""
        for lines in batches:
            rejected: dict[int, tuple[str, str]] = {}
            log = self._log(self._rows(lines, rejected), rejected)
            for number in sorted(rejected):
                problem = RowProblem(self._name, self._first + number, *rejected[number])
                self._intake.reject(problem, lines[number])
            self._first += len(lines)
            if log is not None and len(log):
                self._intake.taken += len(log)
                yield log

    def _rows(self, lines: list[bytes], rejected: dict[int, tuple[str, str]]) -> Rows:
        """What the lines say, one after the other."""
        rows, passed, read = Rows(), self._intake.passed, self._reader.read
        for number, line in enumerate(lines):
            try:
                other = read(number, line, rows)
            except BadLine as error:
                rejected[number] = error.args
            except orjson.JSONDecodeError as error:
                if line.strip():
                    rejected[number] = ("line", f"not JSON: {error}")
                else:
                    passed["blank line"] += 1
            else:
                if other is not None:
                    passed[other] += 1
        return rows

    def _log(self, rows: Rows, rejected: dict[int, tuple[str, str]]) -> Log | None:
        """What can be taken of the rows, all of them looked at together."""
        layout = self._reader.layout
        if layout is None or not len(rows):
            return None
        line_of = np.array(rows.line)
        arrays = Arrays(rows, layout, self._actions.arms)
        wrong = np.zeros(len(rows), np.bool_)
        for found, name, message in arrays.problems():
            wrong |= found
            for number in line_of[found].tolist():
                rejected.setdefault(number, (name, message))
        context, deep = self._context(rows.context)
        for number in line_of[deep].tolist():
            rejected.setdefault(number, ("c", "nested too deeply"))
        bad = np.isin(line_of, np.array(list(rejected), line_of.dtype))
        log = arrays.log(context)
        return log.take(~bad) if bad.any() else log

    def _context(self, objects: Sequence[dict[str, Any]]) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
        """The columns of the contexts, and which of these are nested too deeply to be read."""
        deep = np.zeros(len(objects), np.bool_)
        try:
            return self._columns.columns(objects), deep
        except RecursionError:
            for i, each in enumerate(objects):
                try:
                    JsonColumns().columns([each])
                except RecursionError:
                    deep[i] = True
            kept = [{} if bad else each for each, bad in zip(objects, deep.tolist(), strict=True)]
            return self._columns.columns(kept), deep


def _sparing(log: Log) -> Log:
    """Without saying which arms are allowed where all are."""
    return replace(log, allowed=None) if log.candidates.all() else log


@contextmanager
def _opened(path: Path) -> Iterator[Iterable[bytes]]:
    with path.open("rb", buffering=_BUFFER) as plain:
        if path.suffix == ".gz":
            with gzip.open(plain) as packed:
                yield packed
        else:
            yield plain
