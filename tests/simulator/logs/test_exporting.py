"""The command `optimizer export` on the database of a service."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from optimizer.commands import build_app
from simulator.logs.opening import open_log
from simulator.logs.reading import Intake
from tests.optimizer.engine_example import Rig, campaign
from tests.simulator.factory import CONFIGS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Those of a service that has decided eight times; six decisions are closed."""
    url = f"sqlite:///{tmp_path}/it.db"
    with Rig(campaign(), url=url) as rig:
        for number in range(6):
            rig.ask(f"c{number}")
        rig.settle()
        rig.ask("c0")
        rig.ask("c1")
    path = tmp_path / "service.yaml"
    path.write_text(
        f"version: 1\ndatabase: {url}\nattributes_file: {CONFIGS / 'attributes.yaml'}\noutbox: {tmp_path}/outbox\n"
        f"secret_file: {tmp_path}/secret\n"
    )
    return path


def export(settings: Path, *arguments: str | Path) -> Result:
    package = EntryPoint("simulator", "simulator.commands:register", "optimizer.commands")
    typed = ["export", *map(str, arguments), "--config", str(settings)]
    return CliRunner().invoke(build_app([package]), typed)


def test_export_writes_the_log_and_its_card_and_says_what_it_holds(settings: Path, tmp_path: Path) -> None:
    out = tmp_path / "log.parquet"
    done = export(settings, "camp", "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout == (
        f"{out}: 8 decisions, 6 closed, 6 learned from; what is in it: {out}.card.md, {out}.card.json\n"
    )
    assert pq.read_metadata(out).num_rows == 8
    intake = Intake()
    assert sum(len(chunk) for chunk in open_log(out).chunks(intake)) == 6
    assert intake.passed == {"not closed yet": 2}


@pytest.mark.parametrize("kind", ["csv", "dsjson"])
def test_the_other_formats_are_named_by_the_option(settings: Path, tmp_path: Path, kind: str) -> None:
    done = export(settings, "camp", "--format", kind, "--out", tmp_path / f"log.{kind}")
    assert done.exit_code == 0, done.output
    assert len((tmp_path / f"log.{kind}").read_text().splitlines()) == {"csv": 9, "dsjson": 8}[kind]


def test_what_goes_wrong_is_a_message(settings: Path, tmp_path: Path) -> None:
    unknown = export(settings, "absent", "--out", tmp_path / "log.parquet")
    assert (unknown.exit_code, unknown.stderr) == (1, "there is no campaign 'absent': load its file first\n")
    out = tmp_path / "log.parquet"
    out.write_bytes(b"precious")
    refused = export(settings, "camp", "--out", out)
    assert (refused.exit_code, refused.stderr) == (
        1,
        f"{out} exists already: name another file, or say --overwrite\n",
    )
    assert out.read_bytes() == b"precious"
    assert export(settings, "camp", "--out", out, "--overwrite").exit_code == 0
    assert pq.read_metadata(out).num_rows == 8
