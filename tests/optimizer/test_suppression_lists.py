"""A list of whom not to reach: what is good is taken, and each row that is not is reported with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from optimizer.errors import InvalidInput
from optimizer.suppressing import Whom
from optimizer.suppression import Cause
from optimizer.suppression_lists import read_list

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, text: str | bytes) -> tuple[list[tuple[Whom, Cause]], list[str]]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    chunks = list(read_list(path, chunk_rows=2))
    problems = [str(problem).removeprefix(f"{path}:") for chunk in chunks for problem in chunk.problems]
    return [row for chunk in chunks for row in chunk.rows], problems


def test_columns_may_come_in_any_order_and_empty_cells_are_nothing(tmp_path: Path) -> None:
    rows, problems = read(
        tmp_path / "list.csv",
        "\ufeffchannel,address,customer_id,cause\n"
        "email,ana@example.com,,bounced\n\n,,bob,\nsms,+52 55 1234,,complained\n",
    )
    assert rows == [
        (Whom(address="ana@example.com", channel="email"), Cause.BOUNCED),
        (Whom("bob"), Cause.REQUESTED),
        (Whom(address="+52 55 1234", channel="sms"), Cause.COMPLAINED),
    ]
    assert problems == []


def test_each_bad_row_has_its_line_its_field_and_no_value(tmp_path: Path) -> None:
    rows, problems = read(
        tmp_path / "list.ndjson",
        '{"customer_id": "ana", "channel": null}\n'
        "nonsense\n"
        "\n"
        "[1]\n"
        '{"customer": "secret"}\n'
        '{"customer_id": 7}\n'
        '{"address": " "}\n'
        '{"customer_id": "a", "address": "secret"}\n'
        '{"customer_id": "a\\u0000secret"}\n'
        '{"address": "a", "channel": "e mail"}\n'
        '{"address": "a", "cause": "secret"}\n',
    )
    assert rows == [(Whom("ana"), Cause.REQUESTED)]
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["2", "line"],
        ["4", "line"],
        ["5", "customer"],
        ["6", "customer_id"],
        ["7", "address"],
        ["8", "line"],
        ["9", "customer_id"],
        ["10", "channel"],
        ["11", "cause"],
    ]
    assert "secret" not in "".join(problems)
    assert problems[2].endswith("not a part of a suppression; did you mean customer_id?")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.txt", "", "expected a file that ends in .csv, .ndjson, .jsonl"),
        ("list.csv", "adress,cause\n", "1: column 'adress' is not a part of a suppression; did you mean address"),
        ("list.csv", "cause\n", "there is neither a column 'customer_id' nor 'address'"),
        ("list.csv", "address,address\n", "column 'address' is there twice"),
        ("list.csv", "", "there is neither"),
        ("list.csv", b"address\n\xff\n", "not CSV in UTF-8"),
    ],
)
def test_a_file_that_is_no_list_is_refused_whole(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read(tmp_path / name, text)


def test_a_row_with_too_few_cells_is_rejected_alone(tmp_path: Path) -> None:
    rows, problems = read(tmp_path / "list.csv", "address,channel\nana\nbob,email\n")
    assert rows == [(Whom(address="bob", channel="email"), Cause.REQUESTED)]
    assert problems == ["2: line: expected 2 cells, got 1"]
