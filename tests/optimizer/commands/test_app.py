from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from optimizer.campaign import CampaignFile
from optimizer.commands import build_app
from tests.optimizer.example import ATTRIBUTES, TEXT, WINBACK

if TYPE_CHECKING:
    from pathlib import Path

    import typer


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build_app([]), arguments)


def test_valid_files_are_counted_and_end_with_success() -> None:
    result = run("validate", str(WINBACK), str(ATTRIBUTES))
    assert (result.exit_code, result.stdout) == (0, "2 files checked: no problems found\n")


def test_every_problem_of_every_file_is_a_line_and_the_exit_code_is_1(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(TEXT.replace("  owner:", "  ownr:").replace("kind: squarecb", "kind: best"), encoding="utf-8")
    second.write_text(TEXT.replace("horizon: 48h", "horizon: 48"), encoding="utf-8")
    result = run("validate", str(first), str(second), "--attributes", str(ATTRIBUTES))
    assert result.exit_code == 1
    places = [line.split(": ")[:2] for line in result.stdout.splitlines()]
    assert places == [
        [f"{first}:8:3", "campaign.ownr"],
        [f"{first}:81:9", "policy.kind"],
        [f"{second}:74:14", "catalog.timing.horizon"],
    ]


def test_the_schema_is_printed_as_json() -> None:
    result = run("schema")
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed.pop("$schema") == "https://json-schema.org/draft/2020-12/schema"
    assert printed == CampaignFile.model_json_schema()


def register_greeting(app: typer.Typer) -> None:
    @app.command()
    def greet() -> None:
        """Say hello."""
        print("hello")  # noqa: T201 -- what the command is for


def test_another_package_adds_its_commands_by_an_entry_point() -> None:
    added = EntryPoint("greeting", f"{__name__}:register_greeting", "optimizer.commands")
    result = CliRunner().invoke(build_app([added]), ["greet"])
    assert (result.exit_code, result.stdout) == (0, "hello\n")


def test_a_package_whose_commands_cannot_be_loaded_is_an_error() -> None:
    broken = EntryPoint("broken", "optimizer.absent:register", "optimizer.commands")
    with pytest.raises(ModuleNotFoundError, match=r"optimizer\.absent"):
        build_app([broken])
