"""The command, as it is typed."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import orjson
import pytest
from rich.console import Console

from optimizer.commands.doctor import table
from optimizer.doctor import Finding, Level
from tests.optimizer.commands.typing_in import run
from tests.optimizer.example import messages_only

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("logging_as_before")


def test_before_the_first_start_nothing_is_failing_and_nothing_is_made(settings: Path) -> None:
    result = run(settings, "doctor")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].startswith("warning: database: there is no ")
    assert sorted(path.name for path in settings.parent.iterdir()) == ["service.yaml"]


def test_each_thing_is_a_line_with_what_to_do_and_the_exit_code_tells_whether_something_is_failing(
    settings: Path,
) -> None:
    campaign = settings.parent / "c.yaml"
    campaign.write_text(messages_only().replace(", ends_at: 2026-01-07T00:00:00Z", ""))
    assert run(settings, "campaign", "load", str(campaign)).exit_code == 0
    result = run(settings, "doctor")
    assert result.exit_code == 0
    assert "\nwarning: leases: no worker is running -> start a worker" in result.stdout
    (settings.parent / "secret").chmod(0o644)
    result = run(settings, "doctor")
    assert result.exit_code == 1
    assert f"failing: secret: {settings.parent}/secret can be used by others (mode 0644) -> chmod 600" in result.stdout


def test_json_has_an_object_for_each_thing(settings: Path) -> None:
    result = run(settings, "doctor", "--json")
    found = orjson.loads(result.stdout)
    assert {tuple(each) for each in found} == {("check", "level", "what", "advice")}
    assert [each["check"] for each in found][:3] == ["time zones", "outbox", "outbox disk"]


def test_a_terminal_gets_a_table() -> None:
    found = [Finding("disk", Level.WARNING, "[1.0 GiB] free", "free space")]
    console = Console(width=80, record=True, file=StringIO())
    console.print(table(found))
    assert "│ warning │ disk │ [1.0 GiB] free │ free space │" in console.export_text()
