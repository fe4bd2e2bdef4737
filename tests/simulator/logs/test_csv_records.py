"""Records of CSV are those of Python's csv module, with the right lines; what is none costs only itself."""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.errors import InvalidInput
from simulator.logs.csv_records import records
from simulator.logs.reading import Intake

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CELL = st.text(st.sampled_from("abc,\"'\n\r;é€ 1."), max_size=6)
ROWS = st.lists(st.tuples(CELL, CELL, CELL), max_size=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csv")


def read(path: Path, intake: Intake, size: int = 1000) -> list[tuple[int, Sequence[str], str]]:
    return [
        each
        for found in records(path, ["x"], intake, size)
        for each in zip(found.lines, found.rows, found.texts, strict=True)
    ]


@given(ROWS, st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["utf-8", "utf-8-sig"]), st.integers(1, 5))
def test_rows_and_their_lines_are_those_that_were_written(
    folder: Path, rows: list[tuple[str, str, str]], end: str, encoding: str, size: int
) -> None:
    # Quoting as little as it can, the writer forgets line ends other than its own.
    class Own(csv.excel):
        lineterminator = end
        quoting = csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL

    expected, texts, line = [], [], 2
    for row in rows:
        text = io.StringIO()
        csv.writer(text, Own).writerow(row)
        expected.append((line, list(row)))
        texts.append(text.getvalue())
        line += len(text.getvalue().replace("\r\n", "\n").replace("\r", "\n").split("\n")) - 1
    path = folder / "log.csv"
    body = f"x,y,z{end}{''.join(texts)}".encode(encoding)
    path.write_bytes(body)
    intake = Intake(strict=True)
    found = read(path, intake, size)
    assert [(line, list(cells)) for line, cells, _ in found] == expected
    assert [text for _, _, text in found] == texts
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert [list(cells) for _, cells, _ in found] == list(csv.reader(file))[1:]


@given(st.lists(st.sampled_from(['a,"b', 'a,"b"', "a,b", "", '"a"b,c', "a", "a,b,c", ',"', "\xff,1"]), max_size=12))
def test_every_line_of_garbage_is_taken_put_aside_or_counted(folder: Path, lines: list[str]) -> None:
    path = folder / "garbage.csv"
    path.write_bytes("\n".join(["x,y", *lines]).encode("latin-1") + b"\n")
    intake = Intake(rejects=folder / "rejected")
    (folder / "rejected").unlink(missing_ok=True)
    with intake:
        found = read(path, intake)
    taken = sum(text.count("\n") for _, _, text in found)
    put_aside = (folder / "rejected").read_bytes().count(b"\n") if intake.rejected else 0
    assert taken + put_aside + intake.passed["blank line"] == len(lines)
    assert all(len(cells) == 2 for _, cells, _ in found)
    for line, _, text in found:
        assert lines[line - 2] == text.split("\n")[0].encode("utf-8", "surrogateescape").decode("latin-1")


def test_a_quote_that_is_not_closed_costs_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    body = "".join(f"{i},fine\n" for i in range(5_000))
    path.write_text(f'x,y\n1,"open\n{body}2,"also open\n3,"closed"\n')
    intake = Intake(rejects=tmp_path / "rejected")
    with intake:
        found = read(path, intake)
    assert len(found) == 5_001
    assert [problem.line for problem in intake.problems] == [2, 5_003]
    assert (tmp_path / "rejected").read_text() == '1,"open\n2,"also open\n'
    assert (found[0][0], found[-1][0]) == (3, 5_004)


def test_a_row_with_other_cells_than_the_header_is_told_with_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text('x,y\n"two\nlines",1\n"two\nlines"\n\n1,2\n')
    intake = Intake(rejects=tmp_path / "rejected")
    with intake:
        assert [line for line, _, _ in read(path, intake)] == [2, 7]
    assert [str(problem) for problem in intake.problems] == [f"{path}:4: line: the row has 1 cells, the header 2"]
    assert (tmp_path / "rejected").read_text() == '"two\nlines"\n'
    assert intake.passed == {"blank line": 1}
    with pytest.raises(InvalidInput, match=r"log\.csv:4: .*\(strict"):
        read(path, Intake(strict=True))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no header"),
        (b"a,b\n1,2\n", "no column x; there are a, b"),
        (b"x,x\n1,2\n", "more than one column x"),
        (b"x,\xff\n1,2\n", "not in UTF-8"),
        (b'x,"y\n1,2\n', "the header is not CSV"),
    ],
)
def test_a_header_that_cannot_be_is_told(tmp_path: Path, body: bytes, told: str) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(body)
    with pytest.raises(InvalidInput, match=rf"log\.csv:1: .*{told}"):
        read(path, Intake())


def test_a_gzipped_file_that_ends_too_early_is_told_after_what_it_had(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    body = gzip.compress("".join(["x,y\n", *(f"{i},{i * i}\n" for i in range(50_000))]).encode())
    path.write_bytes(body)
    assert len(read(path, Intake())) == 50_000
    path.write_bytes(body[: len(body) // 2])
    found = records(path, ["x"], Intake(), 100)
    assert len(next(found)) == 100
    with pytest.raises(InvalidInput, match=r"log\.csv\.gz: cannot be read to its end"):
        list(found)
    path.write_bytes(b"no gzip")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read(path, Intake())
