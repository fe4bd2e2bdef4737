from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.optimizer.commands.typing_in import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("logging_as_before")


def test_who_is_added_is_suppressed_until_removed(settings: Path) -> None:
    added = run(settings, "suppressions", "add", "--customer", "ana", "--channel", "email", "--cause", "complained")
    assert added.exit_code == 0
    assert added.stdout.startswith("the customer is suppressed on email: complained, ")
    run(settings, "suppressions", "add", "--address", "Ana@Example.com")
    assert run(settings, "suppressions", "check", "--customer", "ana").stdout == added.stdout
    found = run(settings, "suppressions", "check", "--address", " ana@example.com").stdout
    assert found.startswith("the address is suppressed on every channel: requested, ")
    for whom in (["--customer", "ana"], ["--address", "ana@example.com"]):
        assert run(settings, "suppressions", "remove", *whom).stdout == "not suppressed\n"
        assert run(settings, "suppressions", "check", *whom).stdout == "not suppressed\n"


def test_a_list_is_loaded_and_each_bad_row_is_reported_with_its_place(settings: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("address,customer_id,cause\nana@example.com,,unsubscribed\n,,\n,bob,\n,eve,bored\n")
    result = run(settings, "suppressions", "load", file)
    assert result.exit_code == 1
    assert result.stdout == "2 suppressed, 2 rejected\n"
    assert result.stderr.splitlines() == [
        f"{file}:3: line: give either customer_id or address",
        f"{file}:5: cause: expected one of no_consent, unsubscribed, complained, bounced, requested",
    ]
    assert "suppressed on every channel" in run(settings, "suppressions", "check", "--customer", "bob").stdout
    assert "unsubscribed" in run(settings, "suppressions", "check", "--address", "ana@example.com").stdout
    assert run(settings, "suppressions", "check", "--customer", "eve").stdout == "not suppressed\n"


def test_whom_it_is_about_has_to_be_said(settings: Path) -> None:
    for arguments in ([], ["--customer", "a", "--address", "b"]):
        result = run(settings, "suppressions", "add", *arguments)
        assert result.exit_code == 1
        assert "give either customer_id or address" in result.stderr
