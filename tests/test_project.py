from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")


def required() -> set[str]:
    """Every package that pyproject.toml names."""
    listed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"], "setuptools"]
    return {re.split(r"[<>=;\[ ]", requirement, maxsplit=1)[0] for requirement in listed}


def test_every_dependency_is_pinned_and_its_purpose_is_stated() -> None:
    pinned = set(re.findall(r"^([a-z0-9-]+)==", CONSTRAINTS, flags=re.MULTILINE))
    described = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| ([^|]+) \|", described, flags=re.MULTILINE)
    stated = {name.strip() for cell in first_cells for name in cell.split(",")}
    assert {name.replace(".", "-") for name in required()} <= pinned
    assert required() <= stated


def test_the_constraints_hold_names_versions_and_hashes_only() -> None:
    lines = [line for line in CONSTRAINTS.splitlines() if line and not line.startswith("#")]
    form = re.compile(r"[a-z0-9-]+==[\w.]+( ; [a-z_]+ != \"[a-z0-9]+\")? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if not form.fullmatch(line)] == []
