from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.optimizer.commands.typing_in import run
from tests.optimizer.example import WINBACK

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("logging_as_before")


def test_a_key_is_printed_alone_so_that_a_script_can_take_it(settings: Path) -> None:
    made = run(settings, "keys", "create", "--scope", "decide", "--scope", "events", "--campaign", "a")
    assert made.exit_code == 0
    key = made.stdout.strip()
    assert key.startswith("co_")
    assert "cannot be shown again" in made.stderr
    listed = run(settings, "keys", "list").stdout
    assert f"{key.split('_')[1]} │ active │ decide events │ a " in listed


def test_keys_are_rotated_with_overlap(settings: Path) -> None:
    old, _ = [run(settings, "keys", "create", "--scope", "read").stdout.strip() for _ in range(2)]
    ended = run(settings, "keys", "revoke", old.split("_")[1], "--after", "24h")
    assert ended.exit_code == 0
    assert f"{old.split('_')[1]}: active, ends " in ended.stdout
    assert run(settings, "keys", "revoke", old.split("_")[1]).stdout.partition(",")[0].endswith(": revoked")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "--scope", "read", "--expires", "soon"], "--expires: expected a duration such as 90s"),
        (["create", "--scope", "read", "--tenant", "a b"], "--tenant: expected a letter"),
        (["revoke", "unknown"], "there is no key 'unknown'; optimizer keys list shows those there are"),
    ],
)
def test_what_is_wrong_is_told(settings: Path, arguments: list[str], message: str) -> None:
    result = run(settings, "keys", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr


def test_the_commands_are_about_one_tenant(settings: Path) -> None:
    run(settings, "campaign", "load", str(WINBACK), "--tenant", "theirs")
    run(settings, "keys", "create", "--scope", "read", "--label", "theirs", "--tenant", "theirs")
    assert "winback-q1" in run(settings, "campaign", "list", "--tenant", "theirs").stdout
    assert "winback-q1" not in run(settings, "campaign", "list").stdout
    assert "theirs" in run(settings, "keys", "list", "--tenant", "theirs").stdout
    assert "theirs" not in run(settings, "keys", "list").stdout
