from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from optimizer.config import check_files, load_settings
from optimizer.errors import ConfigError, InvalidInput
from optimizer.secret import Secret
from optimizer.settings import Settings
from tests.optimizer.example import ATTRIBUTES, CONFIGS, WINBACK


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "service.yaml"
    path.write_text(f"version: 1\nattributes_file: {ATTRIBUTES}\ncampaigns: [{WINBACK}]\nport: 9000\n")
    return path


def test_the_settings_that_are_shipped_spell_out_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    shipped = load_settings(Path("configs/service.yaml"))
    assert shipped == Settings(version=1, campaigns=(Path("configs/winback.yaml"),))
    text = (CONFIGS / "service.yaml").read_text(encoding="utf-8")
    assert all(f"\n{name}: " in text for name in Settings.model_fields)


def test_an_environment_variable_stands_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTIMIZER_PUBLISH_EVERY", "5m")
    monkeypatch.setenv("OPTIMIZER_CAMPAIGNS", "[]")
    monkeypatch.setenv("OPTIMIZER_PORT", "0")
    monkeypatch.setenv("OPTIMIZER_RATE_LIMIT", "7")
    monkeypatch.setenv("OPTIMIZER_CORS_ORIGINS", '["https://console.example"]')
    settings = load_settings(file)
    assert (settings.publish_every, settings.campaigns, settings.port) == (timedelta(minutes=5), (), 0)
    assert (settings.rate_limit, settings.cors_origins) == (7, ("https://console.example",))
    assert settings.attributes_file == ATTRIBUTES


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "OPTIMIZER_PROT",
            "1",
            "environment variable OPTIMIZER_PROT: there is no such setting; did you mean OPTIMIZER_PORT?",
        ),
        ("OPTIMIZER_PORT", "http", "environment variable OPTIMIZER_PORT: .*integer"),
        ("OPTIMIZER_RATE_LIMIT", "0", "environment variable OPTIMIZER_RATE_LIMIT: .*greater than or equal to 1"),
        ("OPTIMIZER_CORS_ORIGINS", '["*"]', "environment variable OPTIMIZER_CORS_ORIGINS: .*pattern"),
        ("OPTIMIZER_CAMPAIGNS", "a.yaml", "environment variable: .*campaigns.*JSON"),
        ("OPTIMIZER_DATABASE", "mysql://", "environment variable OPTIMIZER_DATABASE: .*allowed: sqlite:///PATH"),
    ],
)
def test_a_variable_that_cannot_be_used_is_refused_by_name(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidInput, match=message):
        load_settings(file)


def test_everything_wrong_in_the_file_is_found_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    path.write_text("version: 1\ndatabase: optimizer.db\nport: true\nprt: 1\npublish_every: 0s\nlog_level: loud\n")
    problems = [str(problem).removeprefix(f"{path}:") for problem in check_files([path])]
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["2:11", "database"],
        ["3:7", "port"],
        ["4:1", "prt"],
        ["5:16", "publish_every"],
        ["6:12", "log_level"],
    ]
    assert problems[2].startswith("4:1: prt: unknown field; did you mean port?")


def test_a_file_that_is_named_but_does_not_exist_is_a_problem_at_its_name(file: Path) -> None:
    file.write_text(file.read_text().replace(str(WINBACK), "lost.yaml"))
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    assert str(caught.value) == f"{file}:3:13: campaigns[0]: there is nothing at lost.yaml"


def test_the_secret_comes_from_the_environment_or_else_from_its_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(file.read_text() + f"secret_file: {tmp_path}/secret\n")
    kept = load_settings(file).load_secret()
    assert Secret.from_file(tmp_path / "secret").digest("p", "x") == kept.digest("p", "x")
    monkeypatch.setenv("OPTIMIZER_SECRET", "s" * 32)
    settings = load_settings(file)
    assert settings.load_secret().digest("p", "x") == Secret(b"s" * 32).digest("p", "x")
    assert "s" * 32 not in repr(settings)
    monkeypatch.setenv("OPTIMIZER_SECRET", "z" * 31)
    with pytest.raises(InvalidInput, match=r"OPTIMIZER_SECRET: .*at least 32") as caught:
        load_settings(file)
    assert "z" * 31 not in str(caught.value)
