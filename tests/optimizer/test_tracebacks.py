from __future__ import annotations

import smtplib
import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from optimizer.errors import InvalidInput, Unavailable
from optimizer.tracebacks import WITHHELD, formatted, told

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS = "ana@example.com"


def raised(act: Callable[[], object]) -> str:
    try:
        act()
    except BaseException:  # noqa: BLE001 - any
        kind, error, trace = sys.exc_info()
        assert kind is not None
        assert error is not None
        return formatted((kind, error, trace))
    raise AssertionError("it raises nothing")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (Unavailable("the database is away"), "Unavailable: the database is away"),
        (InvalidInput(f"attributes.mail: {ADDRESS}"), f"InvalidInput: {WITHHELD}"),
        (ValueError(ADDRESS), f"ValueError: {WITHHELD}"),
        (KeyError(), "KeyError: "),
        (OSError(28, "No space left on device", "/var/db"), "OSError: No space left on device /var/db"),
        (smtplib.SMTPRecipientsRefused({ADDRESS: (550, b"unknown")}), f"SMTPRecipientsRefused: {WITHHELD}"),
        (OperationalError("insert", {"a": ADDRESS}, sqlite3.OperationalError("disk is full\n" + ADDRESS)), None),
        (IntegrityError("insert", {"a": ADDRESS}, sqlite3.IntegrityError(ADDRESS)), f"IntegrityError: {WITHHELD}"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_message_is_shown_where_it_cannot_hold_a_customer_s_data(error: Exception, shown: str | None) -> None:
    assert told(error) == (shown or "OperationalError: disk is full")


def test_what_led_to_an_error_is_shown_before_it_with_its_place() -> None:
    def fail() -> None:
        try:
            int(ADDRESS[:3])
        except ValueError as error:
            raise Unavailable("later") from error

    shown = raised(fail)
    assert "That led to:" in shown
    assert shown.count("test_tracebacks.py") == 3
    assert shown.index("ValueError") < shown.index("Unavailable: later")
    assert ADDRESS[:3] + "'" not in shown


def test_every_error_of_a_group_is_shown() -> None:
    def fail() -> None:
        raise ExceptionGroup(f"two of {ADDRESS[:3]}", [ValueError(ADDRESS), Unavailable("the second")])

    shown = raised(fail)
    assert shown.count("In the group:") == 2
    assert "Unavailable: the second" in shown
    assert "ExceptionGroup: " + WITHHELD in shown


def test_an_error_that_is_its_own_cause_ends() -> None:
    def fail() -> None:
        error = ValueError("a")
        error.__context__ = KeyError("b")
        error.__context__.__context__ = error
        raise error

    assert raised(fail).count("KeyError") == 1
