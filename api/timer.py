"""When the jobs of a process are done: each in a thread, again and again, by APScheduler.

It goes by the time of day, and would do nothing for an hour where that is set back by one. So the time of day is
watched by a clock that nobody sets, and after a step every job is due.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from optimizer import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.engine import Job

LOOK_S: Final = 0.5
"""Time between two looks at the clock; a smaller step than this delays nothing that matters."""

_log = structlog.get_logger(__name__)


class Timer:
    """Does each job at once, and again after its interval, never twice at a time.

    It keeps nothing: the tables say what is to be done. Times that a job has missed are left out. What a job raises is
    logged and counted, and it is tried again at its next time.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(len(jobs))},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        for job in jobs:
            seconds, now = job.every.total_seconds(), datetime.now(UTC)
            self._scheduler.add_job(partial(attempt, job), "interval", seconds=seconds, id=job.name, next_run_time=now)
        self._ending = threading.Event()
        self._watch = threading.Thread(target=self._watch_clock, name="clock-watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()
        self._watch.start()

    def close(self) -> None:
        """Begin no job any more, and wait for those that run."""
        self._ending.set()
        self._watch.join()
        self._scheduler.shutdown(wait=True)

    def _watch_clock(self) -> None:
        ahead_s = time.time() - time.monotonic()
        while not self._ending.wait(LOOK_S):
            before_s, ahead_s = ahead_s, time.time() - time.monotonic()
            if abs(ahead_s - before_s) > LOOK_S:
                _log.warning("clock_was_set", by_s=round(ahead_s - before_s, 3))
                for job in self._scheduler.get_jobs():
                    job.modify(next_run_time=datetime.now(UTC))


def attempt(job: Job) -> None:
    """Do a job once; what it raises is logged and counted."""
    try:
        job.run()
    except Exception:  # noqa: BLE001 -- whatever it was, the job is tried again at its next time
        metrics.JOB_FAILURES.labels(job.name).inc()
        _log.exception("job_failed", job=job.name)
