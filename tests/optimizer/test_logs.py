from __future__ import annotations

import logging
import sys

import orjson
import pytest
import structlog

from optimizer import logs
from optimizer.errors import Unavailable

pytestmark = pytest.mark.usefixtures("logging_as_before")


def test_our_events_and_those_of_libraries_are_lines_of_json_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    structlog.get_logger("ours").info("touch_sent", channel="email", at=None)
    logging.getLogger("theirs").warning("disk %s full", "nearly")
    captured = capsys.readouterr()
    ours, theirs = map(orjson.loads, captured.err.splitlines())
    assert ours.pop("timestamp")
    assert theirs.pop("timestamp")
    assert ours == {"event": "touch_sent", "level": "info", "logger": "ours", "channel": "email", "at": None}
    assert theirs == {"event": "disk nearly full", "level": "warning", "logger": "theirs"}
    assert captured.out == ""


@pytest.mark.parametrize("ours", [True, False])
def test_an_exception_is_logged_with_its_traceback_in_the_same_line(
    capsys: pytest.CaptureFixture[str], *, ours: bool
) -> None:
    logs.configure("info")
    try:
        try:
            int("no luck")
        except ValueError as error:
            raise Unavailable("the disk is full") from error
    except Unavailable:
        (structlog.get_logger("any") if ours else logging.getLogger("any")).exception("failed")
    [line] = map(orjson.loads, capsys.readouterr().err.splitlines())
    assert "Traceback" in line["exception"]
    assert "ValueError" in line["exception"]
    assert line["exception"].endswith("Unavailable: the disk is full")


def test_what_is_less_important_than_the_level_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning")
    structlog.get_logger("ours").info("small")
    logging.getLogger("uvicorn.error").info("small")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_lines_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    logs.configure("info")
    structlog.get_logger("ours").info("touch_sent", channel="email")
    line = capsys.readouterr().err
    assert "touch_sent" in line
    assert not line.startswith("{")


@pytest.mark.parametrize("terminal", [True, False])
def test_values_stay_out_of_tracebacks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    logs.configure("info")
    address = "ana@example.com"
    try:
        int(address)
    except ValueError:
        structlog.get_logger("any").exception("failed")
    logged = capsys.readouterr().err
    assert "ValueError" in logged
    assert "test_logs.py" in logged
    assert address not in logged


def test_what_is_bound_to_a_request_is_on_every_line_of_libraries_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger("ours").info("small")
        logging.getLogger("theirs").warning("large")
    structlog.get_logger("ours").info("after")
    ids = [orjson.loads(line).get("request_id") for line in capsys.readouterr().err.splitlines()]
    assert ids == ["r-1", "r-1", None]
