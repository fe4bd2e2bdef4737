"""When the jobs of a process are done: each in a thread of its own, again and again.

Intervals are those of a clock that nobody sets: a timer that goes by the time of day does nothing for an hour where
that is set back by one.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

from optimizer import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.engine import Job

_log = structlog.get_logger(__name__)


class Timer:
    """Does each job at once, and again after its interval, never twice at a time.

    It keeps nothing: the tables say what is to be done. Times that a job has missed are left out. What a job raises is
    logged and counted, and it is tried again at its next time.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(job,), name=f"job-{job.name}", daemon=True) for job in jobs
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Begin no job any more, and wait for those that run."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, job: Job) -> None:
        every_s = job.every.total_seconds()
        due_s = time.monotonic()
        while not self._ending.is_set():
            attempt(job)
            missed = (time.monotonic() - due_s) // every_s
            due_s += every_s * (missed + 1)
            self._ending.wait(due_s - time.monotonic())


def attempt(job: Job) -> None:
    """Do a job once; what it raises is logged and counted."""
    try:
        job.run()
    except Exception:  # noqa: BLE001 -- whatever it was, the job is tried again at its next time
        metrics.JOB_FAILURES.labels(job.name).inc()
        _log.exception("job_failed", job=job.name)
