from __future__ import annotations

import io
from threading import Event
from typing import TYPE_CHECKING

import orjson
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from structlog.contextvars import bound_contextvars, get_contextvars

from api.ndjson import CHUNK_ROWS, MAX_ROW_BYTES, Rows
from optimizer.errors import InvalidInput, OptimizerError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Number(BaseModel):
    n: int


def double(numbers: Sequence[Number]) -> list[int | OptimizerError]:
    return [2 * number.n if number.n >= 0 else InvalidInput("negative") for number in numbers]


ROWS = Rows(Number, double, lambda row, twice: {"row": row, "twice": twice})
GOOD, REFUSED, MALFORMED, WRONG, EMPTY = b'{"n": 7}', b'{"n": -1}', b'{"n": ', b'{"m": 1}', b"  "


@given(
    lines=st.lists(st.sampled_from([GOOD, REFUSED, MALFORMED, WRONG, EMPTY])),
    ends=st.booleans(),
    newline=st.sampled_from([b"\n", b"\r\n"]),
)
def test_each_row_that_is_not_empty_is_answered_once_and_in_order(
    *, lines: list[bytes], ends: bool, newline: bytes
) -> None:
    body = newline.join(lines) + (newline if ends else b"")
    found = [orjson.loads(line) for line in b"".join(ROWS.stream(io.BytesIO(body))).splitlines()]
    asked = [(row, line) for row, line in enumerate(lines, 1) if line != EMPTY]
    assert [answer["row"] for answer in found] == [row for row, _ in asked]
    assert [answer.get("twice") for answer in found] == [14 if line == GOOD else None for _, line in asked]


def test_rows_are_handed_on_and_answered_a_chunk_at_a_time_while_the_next_one_is_at_work() -> None:
    sizes: list[int] = []
    started, answered = Event(), Event()

    def act(numbers: Sequence[Number]) -> list[int]:
        sizes.append(len(numbers))
        if len(sizes) == 2:
            started.set()
            assert answered.wait(10)
        return [number.n for number in numbers]

    rows = Rows(Number, act, lambda row, twice: {"row": row, "twice": twice})
    chunks = rows.stream(io.BytesIO(b'{"n": 1}\n' * (CHUNK_ROWS + 5)))
    assert len(next(chunks).splitlines()) == CHUNK_ROWS
    assert started.wait(10)
    answered.set()
    assert len(next(chunks).splitlines()) == 5
    assert sizes == [CHUNK_ROWS, 5]


def test_what_is_bound_to_the_log_is_so_beside_as_well() -> None:
    def act(numbers: Sequence[Number]) -> list[int]:
        return [len(get_contextvars()["request_id"])] * len(numbers)

    rows = Rows(Number, act, lambda row, length: {"row": row, "length": length})
    with bound_contextvars(request_id="abc"):
        assert b"".join(rows.stream(io.BytesIO(b'{"n": 1}'))) == b'{"row":1,"length":3}\n'


def test_a_row_that_is_too_long_is_refused_and_the_next_one_is_read() -> None:
    body = b'{"n": 1}\n{"x": "' + b"y" * (3 * MAX_ROW_BYTES) + b'"}\n{"n": 2}\n'
    found = [orjson.loads(line) for line in b"".join(ROWS.stream(io.BytesIO(body))).splitlines()]
    assert [(answer["row"], answer.get("twice")) for answer in found] == [(1, 2), (2, None), (3, 4)]
    assert found[1]["error"]["status"] == 413


def test_an_error_of_all_rows_is_told_for_each_of_them() -> None:
    def act(_: Sequence[Number]) -> list[int]:
        raise InvalidInput("nothing today")

    rows = Rows(Number, act, lambda row, twice: {"row": row, "twice": twice})
    found = [orjson.loads(line) for line in b"".join(rows.stream(io.BytesIO(b'{"n": 1}\n{"n": 2}'))).splitlines()]
    assert [(answer["row"], answer["error"]["detail"]) for answer in found] == [
        (1, "nothing today"),
        (2, "nothing today"),
    ]
