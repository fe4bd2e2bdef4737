"""A log is opened by its name and its columns, and what cannot be opened is told with what to do."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from optimizer.errors import ConfigError, InvalidInput
from optimizer.evaluation.log import Log
from simulator.logs.dsjson import DsjsonLog
from simulator.logs.open_bandit import OpenBanditLog
from simulator.logs.opening import open_log
from simulator.logs.plain import PlainCsv, PlainParquet
from simulator.logs.reading import Intake

MAPPING = "version: 1\ncontext: {}\narm: {column: item}\npropensity: 0.5\nreward: {column: click}\n"


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.yaml"
    path.write_text(MAPPING)
    return path


@pytest.mark.parametrize("ending", ["json", "dsjson", "jsonl", "ndjson", "dsjson.gz", "json.gz"])
def test_json_is_dsjson_whatever_it_is_called(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"log.{ending}"
    path.write_bytes(b"")
    assert isinstance(open_log(path), DsjsonLog)


def test_csv_with_a_mapping_is_plain_and_without_one_the_open_bandit_dataset(tmp_path: Path, mapping: Path) -> None:
    plain, bandit = tmp_path / "plain.csv", tmp_path / "bandit.csv"
    plain.write_text("item,click\na,1\n")
    bandit.write_text(",timestamp,item_id,position,click,propensity_score\n")
    assert isinstance(open_log(plain, mapping), PlainCsv)
    assert isinstance(open_log(bandit), OpenBanditLog)
    with pytest.raises(InvalidInput, match=r"plain\.csv:1: not the header .* mapping .*: item, click"):
        open_log(plain)


def test_parquet_with_a_mapping_is_plain_and_without_one_has_to_be_an_export(tmp_path: Path, mapping: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "day=2").mkdir(parents=True)
    pl.DataFrame({"item": ["a"], "click": [1]}).write_parquet(folder / "one.parquet")
    pl.DataFrame({"item": ["b"], "click": [0]}).write_parquet(folder / "day=2" / "two.parquet")
    (folder / "_SUCCESS").write_text("")
    assert isinstance(open_log(folder / "one.parquet", mapping), PlainParquet)
    log = Log.join(list(open_log(folder, mapping).chunks(Intake())))
    assert [log.arms[k] for k in log.chosen] == ["b", "a"]
    assert len(Log.join(list(open_log(f"file://{folder}/one.parquet", mapping).chunks(Intake())))) == 1
    with pytest.raises(InvalidInput, match=r"one\.parquet: not a log that `optimizer export` wrote.*: item, click"):
        open_log(folder / "one.parquet")


def test_a_path_that_has_lost_a_slash_of_its_address_is_understood(tmp_path: Path, mapping: Path) -> None:
    pl.DataFrame({"item": ["a"], "click": [1]}).write_parquet(tmp_path / "one.parquet")
    address = Path(f"file://{tmp_path}/one.parquet")
    assert str(address).startswith("file:/")
    assert len(Log.join(list(open_log(address, mapping).chunks(Intake())))) == 1


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("absent.csv", None, "there is nothing"),
        ("log.txt", b"", r"expected \.parquet, \.csv .* rename it"),
        ("log.parquet.gz", b"", r"expected \.parquet"),
        ("log.parquet", b"no parquet", "not a Parquet file"),
        ("log.csv", b"", "no header"),
    ],
)
def test_what_cannot_be_opened_is_told(tmp_path: Path, name: str, body: bytes | None, told: str) -> None:
    if body is not None:
        (tmp_path / name).write_bytes(body)
    with pytest.raises(InvalidInput, match=rf"{name}:.* ?{told}"):
        open_log(tmp_path / name)


def test_a_column_that_is_missing_is_told_before_anything_is_read(tmp_path: Path, mapping: Path) -> None:
    pl.DataFrame({"item": ["a"]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(InvalidInput, match=r"log\.parquet: no column click; there are item"):
        open_log(tmp_path / "log.parquet", mapping)


def test_a_folder_without_parquet_and_an_unknown_address_are_told(tmp_path: Path, mapping: Path) -> None:
    with pytest.raises(InvalidInput, match=r"a folder without \.parquet files"):
        open_log(tmp_path, mapping)
    with pytest.raises(InvalidInput, match="nowhere://logs: cannot be reached"):
        open_log("nowhere://logs", mapping)


def test_dsjson_takes_no_mapping_and_a_broken_mapping_is_told(tmp_path: Path, mapping: Path) -> None:
    (tmp_path / "log.json").write_bytes(b"")
    with pytest.raises(InvalidInput, match="needs no mapping"):
        open_log(tmp_path / "log.json", mapping)
    mapping.write_text(MAPPING.replace("click", "click, more: 1"))
    with pytest.raises(ConfigError, match=r"mapping\.yaml:5"):
        open_log(tmp_path / "log.json", mapping)
