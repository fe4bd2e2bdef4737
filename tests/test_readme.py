"""The README's commands are run as they stand, in one shell, against a real service."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README[README.index("## A first campaign") :], re.DOTALL | re.MULTILINE)
COMMANDS = [text for language, text in BLOCKS if language == "bash"]

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the README's commands need curl")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the README's commands printed in an empty folder, and the folder they made."""
    folder = tmp_path_factory.mktemp("readme")
    script = "set -euo pipefail\n" + "\n".join(COMMANDS)
    script = script.replace("8080", str(free_port())).replace(". .venv/bin/activate", "")
    bin_folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": bin_folder + os.pathsep + os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, folder / "first"


def test_the_readme_shows_what_its_commands_print(session: tuple[str, Path]) -> None:
    printed, _ = session
    shown = [text for language, text in BLOCKS if not language and "optimizer simulate" not in text]
    assert len(shown) == 3
    for text in shown:
        for line in text.strip().splitlines():
            pattern = re.sub(r"[0-9a-f]{12}|\d{4}-\d\d-\d\d", lambda _: "\0", line)
            known = re.escape(pattern).replace("\0", "[0-9a-f-]+")
            assert re.search(rf"^{known}$", printed, re.MULTILINE), f"{line!r} is not among:\n{printed}"


def test_the_first_decision_and_event_are_answered_as_shown(session: tuple[str, Path]) -> None:
    printed, folder = session
    decision = orjson.loads((folder / "decision.json").read_bytes())
    shown, receipt = (orjson.loads(text) for language, text in BLOCKS if language == "json")
    assert decision.keys() == shown.keys()
    assert decision["customer_id"] == shown["customer_id"] == "eva"
    explained = orjson.loads((folder / "explained.json").read_bytes())
    assert len(explained["candidates"]) + len(explained["removed"]) == 2 * 2 * 2 + 1
    assert orjson.dumps(receipt).decode() in printed


def test_a_first_decision_leaves_a_trace_that_verifies(session: tuple[str, Path]) -> None:
    printed, _ = session
    assert "4 decisions verified, 0 of them differ" in printed
