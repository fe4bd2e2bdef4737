"""The commands for touches, typed on a service whose sender gave one of them up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from optimizer.decisions import Decision, DecisionRequest
from optimizer.opening import opened
from optimizer.store import touches
from optimizer.store.touches import TouchChange
from tests.optimizer.commands.typing_in import run
from tests.optimizer.engine_example import only

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def letter(settings: Path) -> str:
    """The decision of a touch that has failed; another one is planned."""
    with opened(settings) as (_, engine):
        engine.load_campaign(only("email", features=[]))
        made = engine.decide([DecisionRequest("camp", f"c{i}", f"r{i}") for i in range(2)])
        assert isinstance(made[0], Decision)
        changes = [TouchChange(made[0].decision_id, "failed", engine.runtime.now_us(), "permanent_failure")]
        engine.runtime.store.write(lambda c: touches.transition(c, "default", changes))
        return made[0].decision_id


def test_dead_letters_are_listed_put_back_and_taken_back(settings: Path, letter: str) -> None:
    listed = run(settings, "touches", "list", "--state", "failed")
    assert listed.exit_code == 0, listed.output
    assert letter in listed.stdout
    assert "permanent_failure" in listed.stdout
    assert len(run(settings, "touches", "list").stdout.splitlines()) == len(listed.stdout.splitlines()) + 1
    again = run(settings, "touches", "retry", letter)
    assert again.stdout.startswith(f"{letter}: planned, until ")
    assert run(settings, "touches", "cancel", letter).stdout == f"{letter}: cancelled\n"
    refused = run(settings, "touches", "cancel", letter)
    assert (refused.exit_code, refused.stderr) == (
        1,
        f"touch {letter!r} is cancelled: only what is planned can be taken back\n",
    )


def test_what_became_of_the_decisions_is_shown_and_adds_up(settings: Path, letter: str) -> None:
    found = orjson.loads(run(settings, "reconcile", "camp", "--json").stdout)
    assert letter
    assert (found["decided"], found["planned"], found["failed"], found["not_sent"]) == (2, 1, 1, {})
    lines = dict(line.rsplit(maxsplit=1) for line in run(settings, "reconcile", "camp").stdout.splitlines())
    assert {name.strip(): n for name, n in lines.items() if n != "0"} == {"decided": "2", "planned": "1", "failed": "1"}
    assert "2" not in run(settings, "reconcile", "camp", "--from", "2100-01-01").stdout
    unknown = run(settings, "reconcile", "none")
    assert (unknown.exit_code, unknown.stderr) == (1, "there is no campaign 'none': load its file first\n")
