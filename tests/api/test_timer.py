"""The timer does each job again and again, whatever the job does and whatever is done to the clock."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

import structlog

from api.timer import Timer
from optimizer.engine import Job
from tests.api.running import until

if TYPE_CHECKING:
    from datetime import tzinfo

    import pytest


def test_a_job_that_fails_is_logged_and_is_done_again() -> None:
    """What it raises reaches neither the timer nor the other jobs."""
    calls = []

    def fail() -> None:
        calls.append("failing")
        raise RuntimeError("no luck")

    second = timedelta(seconds=0.1)
    timer = Timer([Job("failing", second, fail), Job("other", second, lambda: calls.append("other"))])
    with structlog.testing.capture_logs() as logged:
        timer.start()
        until(lambda: calls.count("failing") > 1 and calls.count("other") > 1)
        timer.close()
    assert {(line["event"], line["log_level"], line["job"]) for line in logged} == {("job_failed", "error", "failing")}


def test_a_job_that_takes_longer_than_its_interval_is_never_done_twice_at_a_time() -> None:
    at_once, most, done = 0, 0, 0

    def slow() -> None:
        nonlocal at_once, most, done
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.15)
        at_once -= 1
        done += 1

    timer = Timer([Job("slow", timedelta(seconds=0.05), slow)])
    timer.start()
    until(lambda: done > 2)
    timer.close()
    assert most == 1


def test_times_that_were_missed_are_left_out() -> None:
    start, began = time.monotonic(), list[float]()

    def first_is_slow() -> None:
        began.append(time.monotonic())
        time.sleep(0.5 if len(began) == 1 else 0)

    timer = Timer([Job("slow at first", timedelta(seconds=0.2), first_is_slow)])
    timer.start()
    until(lambda: len(began) > 2)
    timer.close()
    assert began[1] - start > 0.55, "at its third time, the two before are over"
    assert began[2] - began[1] > 0.05, "they are not made up for"


def test_the_end_waits_for_a_job_that_runs_and_begins_no_other() -> None:
    began, done = threading.Event(), []

    def work() -> None:
        began.set()
        time.sleep(0.2)
        done.append(time.monotonic())

    timer = Timer([Job("work", timedelta(seconds=0.01), work)])
    timer.start()
    assert began.wait(10)
    timer.close()
    assert len(done) == 1


def test_jobs_go_on_at_their_intervals_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    set_back, right = [timedelta()], time.time

    class TimeOfDay(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - set_back[0]

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", TimeOfDay)
    monkeypatch.setattr("api.timer.datetime", TimeOfDay)
    monkeypatch.setattr("time.time", lambda: right() - set_back[0].total_seconds())
    done: list[float] = []
    timer = Timer([Job("work", timedelta(seconds=0.1), lambda: done.append(time.monotonic()))])
    timer.start()
    until(lambda: len(done) > 2)
    set_back[0] = timedelta(hours=1)
    before = len(done)
    until(lambda: len(done) > before + 3, timeout_s=5)
    timer.close()
