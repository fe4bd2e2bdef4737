"""Plain CSV and Parquet are read as the mapping says, the same from both, and wrong rows are told and put aside."""

from __future__ import annotations

import csv
import json
import math
import os
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from optimizer.clock import to_us
from optimizer.config import load_file
from optimizer.errors import ConfigError, InvalidInput
from optimizer.evaluation.log import Log, customer_keys
from simulator.logs import parts, plain
from simulator.logs.mapping import LogFormat
from simulator.logs.opening import open_log
from simulator.logs.plain import PlainCsv, PlainParquet
from simulator.logs.reading import Intake

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))

MAPPING: dict[str, Any] = {
    "version": 1,
    "customer_id": "who",
    "decision_id": "id",
    "time": "at",
    "position": "place",
    "context": {
        "age": {"column": "years", "type": "number"},
        "member": {"column": "member", "type": "boolean"},
        "city": {"column": "town", "type": "category"},
    },
    "arm": {"column": "sent", "values": {"Mail A": "a", "Mail B": "b", "nothing": "no_send"}},
    "propensity": "p",
    "reward": {"column": "cost", "scale": -1.0},
}
LAYOUT = LogFormat.model_validate(MAPPING)
HEADER = ["id", "who", "at", "place", "years", "member", "town", "sent", "p", "cost"]
GOOD = ["d1", "ann", "2026-01-12T15:00:00Z", "0", "31.5", "1", "Lima", "Mail A", "0.25", "-2"]
CELLS: dict[str, tuple[list[str], list[str]]] = {
    "id": (["d1", "é,\n"], [""]),
    "who": (["ann", 'b"ob'], [""]),
    "at": (
        ["2026-01-12T15:00:00Z", "2026-01-12 16:00:00.5+01:00", "2026-01-12", "1768230000.25"],
        ["", "today", "inf"],
    ),
    "place": (["0", "2", "1.0"], ["", "-1", "0.5", "nan", "x"]),
    "years": (["", "31.5", "-1e300", "nan", " 7 "], ["old", "inf", "1e999"]),
    "member": (["", "0", "1", "True", "false"], ["yes", "2", "nan"]),
    "town": (["", "Lima", "Mail A", "\u00fc"], []),
    "sent": (["Mail A", "Mail B", "nothing"], ["", "Mail C", "a", "no_send"]),
    "p": (["0.25", "1", "1e-9"], ["", "0", "1.01", "-0.5", "nan", "p"]),
    "cost": (["-2", "0.125", "1e10"], ["", "nan", "inf", "none"]),
}
"""Of each column: what it may hold, and what it may not."""


def value(column: str, cell: str) -> object:
    """What a good cell means, one at a time and by hand."""
    if column == "at":
        if cell[0:4] == "1768":
            return 1_768_230_000_250_000
        at = datetime.fromisoformat(cell)
        return to_us(at if at.tzinfo else at.replace(tzinfo=UTC))
    if column == "member":
        return {"": math.nan, "0": 0.0, "1": 1.0, "True": 1.0, "false": 0.0}[cell]
    if column in {"years", "p", "cost", "place"}:
        return float(cell or "nan")
    return cell or None


def written(path: Path, rows: list[list[str]], header: list[str] = HEADER) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read(log: PlainCsv | PlainParquet, intake: Intake) -> Log | None:
    chunks = list(log.chunks(intake))
    return Log.join(chunks) if chunks else None


def check(log: Log, rows: list[list[str]]) -> None:
    """A log says what these good rows do."""
    cells = {name: [row[i] for row in rows] for i, name in enumerate(HEADER)}
    column: dict[str, list[Any]] = {name: [value(name, cell) for cell in mine] for name, mine in cells.items()}
    assert [log.arms[k] for k in log.chosen] == [MAPPING["arm"]["values"][cell] for cell in cells["sent"]]
    for found, expected in (
        (log.propensity, column["p"]),
        (log.reward, [-each for each in column["cost"]]),
        (log.time_us, column["at"]),
        (log.position, column["place"]),
        (log.decision_ids, column["id"]),
        (log.customer, customer_keys(column["who"])),
        (log.context["age"], column["years"]),
        (log.context["member"], column["member"]),
        (log.context["city"], column["town"]),
    ):
        np.testing.assert_array_equal(found, expected)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[list[str]], list[str | None]]:
    """Rows, and the first column of each in which something is wrong."""
    rows, wrong = [], []
    for _ in range(draw(st.integers(0, 12))):
        bad = draw(st.sampled_from([None, None, None, *(name for name in HEADER if CELLS[name][1])]))
        rows.append([draw(st.sampled_from(CELLS[name][name == bad])) for name in HEADER])
        wrong.append(bad)
    return rows, wrong


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain")


@given(tables())
def test_good_rows_are_taken_and_the_others_told_with_line_and_column(
    folder: Path, table: tuple[list[list[str]], list[str | None]]
) -> None:
    rows, wrong = table
    path = written(folder / "log.csv", rows)
    rejects = folder / "rejected"
    rejects.unlink(missing_ok=True)
    with Intake(rejects=rejects) as intake:
        log = read(PlainCsv(path, LAYOUT), intake)
    good = [row for row, bad in zip(rows, wrong, strict=True) if bad is None]
    assert (intake.taken, intake.rejected) == (len(good), len(rows) - len(good))
    if log is None:
        assert not good
    else:
        check(log, good)
    first, places = 2, []
    for row, bad in zip(rows, wrong, strict=True):
        if bad is not None:
            places.append((first, bad))
        first += 1 + sum(cell.count("\n") for cell in row)
    assert [(problem.line, problem.field) for problem in intake.problems] == places
    if places:
        with rejects.open(encoding="utf-8", newline="") as file:
            assert list(csv.reader(file)) == [row for row, bad in zip(rows, wrong, strict=True) if bad is not None]


@given(tables())
def test_texts_in_parquet_are_read_as_those_in_csv(
    folder: Path, table: tuple[list[list[str]], list[str | None]]
) -> None:
    rows, wrong = table
    path = folder / "log.parquet"
    columns = {name: [row[i] or None for row in rows] for i, name in enumerate(HEADER)}
    pq.write_table(pa.table(columns, schema=pa.schema([(name, pa.string()) for name in HEADER])), path)
    intake = Intake()
    log = read(PlainParquet([str(path)], LAYOUT), intake)
    good = [row for row, bad in zip(rows, wrong, strict=True) if bad is None]
    assert (intake.taken, intake.rejected) == (len(good), len(rows) - len(good))
    if log is not None:
        check(log, good)
    assert [(p.line, p.field) for p in intake.problems] == [(i, bad) for i, bad in enumerate(wrong, 1) if bad]


TYPED = pl.DataFrame(
    {
        "id": ["d1", "d2", "d3", "d4", "d5"],
        "who": [7, 8, 7, 9, 7],
        "at": [datetime(2026, 1, 12, 15, tzinfo=UTC)] * 5,
        "place": pl.Series([0, 1, 2, 0, 1], dtype=pl.UInt8),
        "years": [31.5, None, math.nan, 1.0, 2.0],
        "member": [True, None, False, True, False],
        "town": pl.Series(["Lima", None, "Quito", "Lima", "Lima"], dtype=pl.Categorical),
        "sent": pl.Series(["Mail A", "Mail B", "nothing", "Mail C", None], dtype=pl.Categorical),
        "p": pl.Series([0.25, 1.0, 0.5, 0.5, 0.5], dtype=pl.Float32),
        "cost": [-2, 0, 1, 1, 1],
    }
)


def test_typed_columns_of_parquet_are_read(tmp_path: Path) -> None:
    TYPED.write_parquet(tmp_path / "log.parquet")
    with Intake(rejects=tmp_path / "rejected") as intake:
        log = read(PlainParquet([str(tmp_path / "log.parquet")], LAYOUT), intake)
    assert log is not None
    assert log.arms == ("a", "b", "no_send")
    assert log.chosen.tolist() == [0, 1, 2]
    assert log.propensity.tolist() == [0.25, 1.0, 0.5]
    assert log.reward.tolist() == [2.0, 0.0, -1.0]
    assert log.time_us is not None
    assert log.time_us.tolist() == [1_768_230_000_000_000] * 3
    assert log.customer is not None
    assert log.customer.tolist() == customer_keys(["7", "8", "7"]).tolist()
    np.testing.assert_array_equal(log.context["age"], [31.5, np.nan, np.nan])
    np.testing.assert_array_equal(log.context["member"], [1.0, np.nan, 0.0])
    assert log.context["city"].tolist() == ["Lima", None, "Quito"]
    assert [str(problem).split(": ", 1)[1] for problem in intake.problems] == [
        "sent: expected one of Mail A, Mail B, nothing, got 'Mail C'",
        "sent: expected one of Mail A, Mail B, nothing, got None",
    ]
    assert [problem.line for problem in intake.problems] == [4, 5]
    rejected = [json.loads(line) for line in (tmp_path / "rejected").read_text().splitlines()]
    assert [(row["id"], row["who"], row["cost"]) for row in rejected] == [("d4", 9, 1), ("d5", 7, 1)]


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("p", [[0.5]] * 5, "column p is .*list"),
        ("p", [datetime(2026, 1, 1, tzinfo=UTC)] * 5, "column p is timestamp.*expected numbers"),
        ("sent", [{"x": 1}] * 5, "column sent is struct"),
    ],
)
def test_a_column_that_cannot_be_read_at_all_is_told(
    tmp_path: Path, column: str, values: list[object], told: str
) -> None:
    TYPED.with_columns(pl.Series(column, values)).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(InvalidInput, match=rf"log\.parquet: {told}"):
        read(PlainParquet([str(tmp_path / "log.parquet")], LAYOUT), Intake())


def test_arms_without_a_mapping_are_the_values_numbered_alike_in_all_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = LogFormat.model_validate(
        {"version": 1, "context": {}, "arm": {"column": "item"}, "propensity": 0.25, "reward": {"column": "click"}}
    )
    items = ["10", "9", "b", "9", "a", "10", "2"]
    frame = pl.DataFrame({"item": items, "click": range(7)})
    frame.write_parquet(tmp_path / "1.parquet", row_group_size=2)
    frame.with_columns(item=pl.lit("11")).write_parquet(tmp_path / "2.parquet")
    monkeypatch.setattr(parts, "CHUNK", 3)
    log = PlainParquet([str(tmp_path / "1.parquet"), str(tmp_path / "2.parquet")], bare)
    found = [part.read() for part in log.parts()]
    assert [len(each) for each in found] == [2, 2, 3, 7]
    assert {each.arms for each in found} == {("2", "9", "10", "11", "a", "b")}
    whole = read(log, Intake())
    assert whole is not None
    assert [whole.arms[k] for k in whole.chosen] == [*items, *["11"] * 7]
    assert whole.reward.tolist() == [0, 1, 2, 3, 4, 5, 6] * 2
    monkeypatch.setattr(plain, "CHUNK", 3)
    frame.write_csv(tmp_path / "log.csv")
    met = read(PlainCsv(tmp_path / "log.csv", bare), Intake())
    assert met is not None
    assert met.arms == ("10", "9", "b", "a", "2")
    assert [met.arms[k] for k in met.chosen] == items


def test_a_part_read_alone_says_what_is_wrong_in_it(tmp_path: Path) -> None:
    TYPED.write_parquet(tmp_path / "log.parquet", row_group_size=2)
    (part,) = PlainParquet([str(tmp_path / "log.parquet")], LAYOUT).parts()
    with pytest.raises(InvalidInput, match=r"log\.parquet:4: sent: expected one of"):
        part.read()
    assert len(part.read(Intake())) == 3


def test_a_row_that_is_not_utf8_is_put_aside_as_it_stands(tmp_path: Path) -> None:
    path = written(tmp_path / "log.csv", [GOOD, GOOD, GOOD])
    body = path.read_bytes().split(b"\r\n")
    body[2] = body[2].replace(b"Lima", b"Lim\xe1")
    path.write_bytes(b"\r\n".join(body))
    with Intake(rejects=tmp_path / "rejected") as intake:
        log = read(PlainCsv(path, LAYOUT), intake)
    assert log is not None
    assert len(log) == 2
    assert [str(problem) for problem in intake.problems] == [f"{path}:3: line: not UTF-8"]
    assert (tmp_path / "rejected").read_bytes() == body[2] + b"\n"


def test_strict_stops_at_the_first_wrong_row(tmp_path: Path) -> None:
    path = written(tmp_path / "log.csv", [GOOD, [*GOOD[:8], "2", "1"], GOOD])
    with pytest.raises(InvalidInput, match=r"log\.csv:3: p: expected a probability above 0, and 1 at most, got '2'"):
        read(PlainCsv(path, LAYOUT), Intake(strict=True))


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "CHUNK", 500)
    peaks = []
    for rows in (1_000, 10_000):
        path = written(tmp_path / f"{rows}.csv", [GOOD] * rows)
        tracemalloc.start()
        assert sum(len(chunk) for chunk in PlainCsv(path, LAYOUT).chunks(Intake())) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"propensity": 0.0}, "above 0, and 1 at most"),
        ({"propensity": 1.5}, "above 0, and 1 at most"),
        ({"propensity": True}, "expected a column's name"),
        ({"reward": {"column": "cost", "times": 2}}, "times"),
        ({"arm": {"column": "sent", "values": {}}}, "values"),
        ({"context": {"1st": {"column": "years", "type": "number"}}}, "1st"),
        ({"context": {"age": {"column": "years", "type": "text"}}}, "number"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        LogFormat.model_validate({**MAPPING, **change})


def test_what_is_wrong_in_a_mapping_file_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text("version: 1\ncontext: {}\narm: {column: item}\npropensity: 2\nreward: {column: click, skale: 1}\n")
    with pytest.raises(ConfigError) as raised:
        load_file(path, LogFormat)
    assert [(p.line, p.path) for p in raised.value.problems] == [(4, "propensity"), (5, "reward.skale")]
    assert "above 0, and 1 at most" in raised.value.problems[0].message
    assert "did you mean scale?" in raised.value.problems[1].message


@pytest.mark.skipif(not (SHARED / "hillstrom.csv.gz").exists(), reason="hillstrom.csv.gz is not there: set SHARED_DATA")
def test_hillstrom_is_read_with_its_published_rates() -> None:
    log = open_log(SHARED / "hillstrom.csv.gz", ROOT / "configs" / "worlds" / "hillstrom.yaml")
    with Intake(strict=True) as intake:
        whole = Log.join(list(log.chunks(intake)))
    assert intake.taken == len(whole) == 64_000
    rates = {arm: whole.reward[whole.chosen == k].mean() for k, arm in enumerate(whole.arms)}
    assert rates == pytest.approx({"mens": 0.182757, "womens": 0.151400, "no_send": 0.106167}, abs=1e-6)
    assert set(whole.propensity.tolist()) == {1 / 3}
    assert whole.context["zip_code"][:3].tolist() == ["Surburban", "Rural", "Surburban"]
