"""The blocks of `docs/offline-evaluation.md` are run as they stand, in one shell, on the public data sets."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
PAGE = (ROOT / "docs/offline-evaluation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?")

pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the shared data is not there: set SHARED_DATA")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the page's commands printed, and the folder in which they ran."""
    folder = tmp_path_factory.mktemp("evaluation") / "work"
    shutil.copytree(ROOT / "configs", folder / "configs")
    script = "set -euo pipefail\n" + "\n".join(text for language, text in BLOCKS if language == "bash")
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    done = subprocess.run(
        ["bash", "-c", script.replace("../shared/data", str(SHARED))],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, folder / "var"


def judged(folder: Path, name: str) -> dict[str, Any]:
    body = json.loads((folder / name / "comparison.json").read_bytes())
    return {each["name"]: each for each in body["policies"]}


def by(policy: dict[str, Any], estimator: str) -> float:
    return float(next(each["value"] for each in policy["estimates"] if each["estimator"] == estimator))


def test_the_page_shows_what_its_commands_print_but_for_the_digits(session: tuple[str, Path]) -> None:
    printed, _ = session
    lines = {NUMBER.sub("#", line.rstrip()) for line in printed.splitlines()}
    shown = [text for language, text in BLOCKS if not language]
    assert len(shown) == 5
    for text in shown:
        for line in text.splitlines():
            assert NUMBER.sub("#", line.rstrip()) in lines, f"{line!r} is not among:\n{printed}"


def test_what_the_pages_python_imports_is_there() -> None:
    found = 0
    for tree in (ast.parse(text) for language, text in BLOCKS if language == "python"):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                module = importlib.import_module(node.module)
                found += len(node.names)
                assert all(hasattr(module, each.name) for each in node.names), ast.unparse(node)
    assert found > 30


def test_the_constant_arms_of_hillstrom_are_worth_what_is_published(session: tuple[str, Path]) -> None:
    found = judged(session[1], "hillstrom")
    published = {"always mens": 0.182757, "always womens": 0.151400, "always no_send": 0.106167}
    for name, visits in published.items():
        assert by(found[name], "snips") == pytest.approx(visits, abs=5e-7)
        first = found[name]["estimates"][0]
        assert first["low"] < visits < first["high"]


def test_no_lift_is_claimed_for_personalising_hillstrom(session: tuple[str, Path]) -> None:
    folder = session[1]
    found = judged(folder, "hillstrom")
    personal, mens = found["hillstrom"]["estimates"][0], found["always mens"]["estimates"][0]
    assert personal["low"] < mens["value"]
    body = json.loads((folder / "hillstrom" / "comparison.json").read_bytes())
    step = next(each for each in body["steps"] if {each["better"], each["worse"]} == {"hillstrom", "always mens"})
    assert step["lift"]["low"] < 0.0 < step["lift"]["high"]
    assert "not told apart from" in (folder / "hillstrom" / "report.html").read_text(encoding="utf-8")


def test_the_published_figures_of_the_open_bandit_come_out_of_the_command(session: tuple[str, Path]) -> None:
    found = judged(session[1], "bandit")
    assert len(found) == 83
    thompson = found["bts_action_dist_all"]
    first = thompson["estimates"][0]
    assert by(thompson, "ips") == pytest.approx(0.004553, abs=5e-7)
    assert by(thompson, "snips") == pytest.approx(0.004776, abs=5e-7)
    assert first["mean_weight"] == pytest.approx(0.9533, abs=5e-5)
    assert (thompson["rank"], round(first["effective"], 1), round(first["largest_weight"], 2)) == (30, 1639.5, 19.6)
    assert by(found["logged"], "ips") == pytest.approx(0.0038)
    assert thompson["verdict"] == "not known"
    # That of vw-estimators.
    assert thompson["over_time"][-1]["always"]["high"] == pytest.approx(0.1412, abs=5e-5)


def test_what_the_page_says_of_the_files_holds(session: tuple[str, Path]) -> None:
    body = json.loads((session[1] / "hillstrom" / "comparison.json").read_bytes())
    policy = body["policies"][0]
    names = [*body, *body["log"], *body["audit"], *body["method"], *policy, *policy["lift"], *policy["over_time"][0]]
    names += [*body["audit"]["worst"][0], *body["steps"][0], *judged(session[1], "hillstrom")["hillstrom"]["learning"]]
    schema = PAGE[PAGE.index("| field | what |") : PAGE.index("Numbers that do not exist are null")]
    missing = [name for name in names if name not in schema]
    assert not missing
    assert (session[1] / "small" / "rejects.csv").read_text(encoding="utf-8") == "1,2) $100 - $200,142.44\n"
