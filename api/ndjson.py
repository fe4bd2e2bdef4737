"""NDJSON in and out: a line of answer for each line of the body, in its order, so that nothing is lost.

A line that cannot be used is answered with its problem and does not hold up the others. Rows are the lines of the body
counted from 1; empty lines count, but are not answered. A body of any length needs the memory of a few chunks.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import orjson
import structlog
from pydantic import BaseModel, Field, ValidationError

from api import problems
from api.plain import written
from api.problems import FieldError, Problem
from optimizer.errors import OptimizerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

MEDIA_TYPE: Final = "application/x-ndjson"
MEDIA_TYPES: Final = frozenset({MEDIA_TYPE, "application/ndjson", "application/jsonl", "application/x-jsonlines"})
MAX_ROW_BYTES: Final = 1 << 20
CHUNK_ROWS: Final = 2000
"""How many rows are handed on at once: enough for the kernel and the group commit, few enough to answer soon."""

Row = TypeVar("Row", bound=BaseModel)
Result = TypeVar("Result")

Found: TypeAlias = "Sequence[tuple[int, Row | Problem]]"
"""Numbered rows, each as it has to be or with what is wrong with it."""

ROW: Final = "The line of the body, or the place in the array, counted from 1."

_log = structlog.get_logger(__name__)


class Rejected(BaseModel):
    """The answer to a row that was not taken."""

    row: int = Field(description=ROW)
    error: Problem = Field(description="Why it was not taken.")


class Rows(Generic[Row, Result]):
    """Answers many rows, each with what came of it or with its problem.

    `model` is what a row has to be. `act` does what is asked for many rows at once and returns for each, in order, a
    result, an error or a problem. `answer` makes the line of answer of a row's number and result, as plain values.
    """

    def __init__(
        self,
        model: type[Row],
        act: Callable[[Sequence[Row]], Sequence[Result | OptimizerError | Problem]],
        answer: Callable[[int, Result], Mapping[str, Any]],
    ) -> None:
        self._model = model
        self._act = act
        self._answer = answer

    def lines(self, rows: Iterable[tuple[int, object]]) -> list[bytes]:
        """The answers to numbered rows, each a decoded JSON value or the problem already found with it."""
        found = self._found(rows)
        return self._lines(found, self._results(found))

    def stream(self, file: IO[bytes]) -> Iterator[bytes]:
        """The answers to a body of NDJSON, in chunks of whole lines.

        While a chunk is at the database the next one is read, and the one before is answered.
        """
        rows = _decoded(file)
        with ThreadPoolExecutor(1) as beside:
            before: tuple[Found[Row], Future[Sequence[Result | Problem]]] | None = None
            while chunk := list(islice(rows, CHUNK_ROWS)):
                found = self._found(chunk)
                results = beside.submit(copy_context().run, self._results, found)
                if before is not None:
                    yield self._chunk(*before)
                before = found, results
            if before is not None:
                yield self._chunk(*before)

    def _chunk(self, found: Found[Row], results: Future[Sequence[Result | Problem]]) -> bytes:
        return b"".join(line + b"\n" for line in self._lines(found, results.result()))

    def _found(self, rows: Iterable[tuple[int, object]]) -> Found[Row]:
        return [(number, self._checked(value)) for number, value in rows]

    def _checked(self, value: object) -> Row | Problem:
        if isinstance(value, Problem):
            return value
        try:
            return self._model.model_validate(value)
        except ValidationError as error:
            return problems.refused(error)

    def _results(self, found: Found[Row]) -> Sequence[Result | Problem]:
        """What came of the rows that are good, in order."""
        asked = [row for _, row in found if not isinstance(row, Problem)]
        if not asked:
            return []
        try:
            results = self._act(asked)
        except OptimizerError as error:
            return [problems.of_error(error)] * len(asked)
        except Exception:  # noqa: BLE001 -- logged, and told to the caller
            # The status has been sent already: the failure can only be told row by row.
            _log.exception("rows_failed", rows=len(asked))
            return [problems.internal()] * len(asked)
        return [problems.of_error(result) if isinstance(result, OptimizerError) else result for result in results]

    def _lines(self, found: Found[Row], results: Sequence[Result | Problem]) -> list[bytes]:
        left = iter(results)
        return [self._line(number, row if isinstance(row, Problem) else next(left)) for number, row in found]

    def _line(self, number: int, result: Result | Problem) -> bytes:
        if isinstance(result, Problem):
            return Rejected(row=number, error=result).model_dump_json().encode()
        return written(self._answer(number, result))


def _decoded(file: IO[bytes]) -> Iterator[tuple[int, object]]:
    """Each line that is not empty, with its number, as its JSON value or the problem with it."""
    for number, line in _numbered(file):
        if line is None:
            yield number, problems.problem(413, f"The row is larger than {MAX_ROW_BYTES >> 20} MiB.")
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            value = problems.invalid([FieldError(path="", message=f"JSON decode error: {error}")])
        yield number, value


def _numbered(file: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Each line that is not empty, with its number; None for one that is too long, which is skipped unread."""
    number = 0
    while line := file.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) <= MAX_ROW_BYTES or line.endswith(b"\n"):
            if line.strip():
                yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_ROW_BYTES)
        yield number, None
