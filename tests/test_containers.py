"""The image and the composition, as far as they can be looked at without Docker."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from optimizer.commands import build_app
from optimizer.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
IMAGE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSITION: dict[str, Any] = YAML(typ="safe").load(ROOT / "compose.yaml")
SERVICES: dict[str, Any] = COMPOSITION["services"]
OURS = sorted(SERVICES.keys() - {"database"})


def test_the_composition_is_a_database_an_api_and_a_worker() -> None:
    assert set(SERVICES) == {"database", "api", "worker"}
    for name in OURS:
        assert SERVICES[name]["command"][-2:] == ["--role", name]
        assert SERVICES[name]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert all("healthcheck" in SERVICES[name] or "build" in SERVICES[name] for name in SERVICES)


@pytest.mark.parametrize("name", OURS)
def test_the_commands_exist_with_their_options(name: str) -> None:
    program, *arguments = SERVICES[name]["command"]
    app = build_app([EntryPoint("api", "api.commands:register", "optimizer.commands")])
    assert program == "optimizer"
    assert CliRunner().invoke(app, [*arguments, "--help"]).exit_code == 0


def test_every_variable_is_a_setting_of_the_service() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    used = set(re.findall(rf"\b{PREFIX}[A-Z_]+", IMAGE))
    used |= {key for name in OURS for key in SERVICES[name]["environment"] if key.startswith(PREFIX)}
    assert used == {"OPTIMIZER_DATABASE", "OPTIMIZER_SECRET_FILE", "OPTIMIZER_HOST"}
    assert used <= known


def test_no_password_is_in_the_files_and_every_secret_is_one_of_the_composition() -> None:
    for service in SERVICES.values():
        for key, value in service["environment"].items():
            assert key.endswith("FILE") or not re.search("password|secret", key, re.IGNORECASE), key
            assert not re.search(r"://[^/@]*:[^/@]*@", str(value)), "a password in a URL"
        assert set(service["secrets"]) <= set(COMPOSITION["secrets"])
    assert all(set(secret) == {"file"} for secret in COMPOSITION["secrets"].values())
    assert not re.search("password|SECRET", IMAGE)


def test_the_image_takes_checked_releases_and_runs_as_nobody_in_particular() -> None:
    assert "--require-hashes" in IMAGE
    assert IMAGE.rindex("\nUSER optimizer\n") > IMAGE.rindex("\nFROM ")
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", IMAGE, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines(), source
