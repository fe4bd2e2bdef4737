"""The thread that writes, and gathers what waits: many callers' items in one call, one transaction, one commit.

Making a commit durable costs a wait for the disk, whatever its size, and a statement costs a way to the database and
back, whatever the number of its rows. So the items that wait for the same work are given to it together. Every future
resolves after the commit, hence what it promises is on disk.

Where the database takes several transactions at a time there are two threads, by turns: while one waits until what it
did is written, the other begins with all that has come meanwhile.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine

from optimizer import metrics
from optimizer.errors import Unavailable
from optimizer.store import transactions

T = TypeVar("T")
R = TypeVar("R")

Work: TypeAlias = Callable[[Connection, Sequence[T]], Sequence[R]]
"""Does something for many items in one transaction; a result for each, in order."""

MAX_JOBS = 256
"""How many callers' items one transaction may hold, so that the first of them does not wait for long."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work[Any, Any]
    items: Sequence[Any]
    future: Future[Any]
    queued_s: float


class Writer:
    """Does work, what was submitted first before what was submitted later for the same work.

    `turns` is how many threads there are. `turn` is held while a transaction is open; a database in memory, whose
    readers share the connection, uses it to keep them out.
    """

    def __init__(self, engine: Engine, turn: AbstractContextManager[Any], turns: int) -> None:
        self._engine = engine
        self._turn = turn
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._first_s: float | None = None
        self._closed = False
        self._closing = threading.Lock()
        self._working = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, name=f"store-writer-{n}", daemon=True) for n in range(turns)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many callers wait, about."""
        return self._jobs.qsize()

    @property
    def oldest_s(self) -> float:
        """How long whoever waits longest has waited, those included whose work is being done; 0 if nobody waits."""
        first_s = self._first_s
        return 0.0 if first_s is None else time.monotonic() - first_s

    def gather(self, work: Work[T, R], items: Sequence[T]) -> Future[Sequence[R]]:
        """Queue items for `work`; the future resolves with their results once they are committed, or with an error.

        Callers who wait for the same work at the same time share one call of it. Where that raises, each caller's items
        are tried alone: one caller's error is no other's. Raises Unavailable after `close`.
        """
        future: Future[Sequence[R]] = Future()
        with self._closing:
            self.refuse_if_closed()
            self._jobs.put(_Job(work, items, future, time.monotonic()))
        return future

    def is_current_thread(self) -> bool:
        """Whether the caller runs inside a change; waiting for the writer there would wait for ever."""
        return threading.current_thread() in self._threads

    def refuse_if_closed(self) -> None:
        """Raises Unavailable after `close`."""
        if self._closed:
            raise Unavailable("the store is closed: nothing can be written any more")

    def close(self) -> None:
        """Finish what is queued, then stop. A second call does nothing."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        more = True
        while more:
            turn = _Turn(self._working)
            more, jobs = self._next()
            together: dict[Work[Any, Any], list[_Job]] = {}
            for job in jobs:
                together.setdefault(job.work, []).append(job)
            *before, last = together.values() if together else ([],)
            for group in before:
                self._do(group)
            if last:
                self._do(last, turn.end)
            turn.end()
        self._jobs.put(None)  # for the other thread

    def _next(self) -> tuple[bool, list[_Job]]:
        """Whether to go on after this, and everything that waits, up to `MAX_JOBS`; waits for the first."""
        jobs: list[_Job] = []
        self._first_s = None
        job = self._jobs.get()
        self._first_s = None if job is None else job.queued_s
        while job is not None:
            if job.future.set_running_or_notify_cancel():
                jobs.append(job)
            if len(jobs) >= MAX_JOBS:
                return True, jobs
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return True, jobs
        return False, jobs

    def _do(self, jobs: Sequence[_Job], pass_on: Callable[[], object] = bool) -> None:
        items = [item for job in jobs for item in job.items]
        metrics.COMMIT_CHANGES.observe(len(jobs))
        try:
            with self._turn:
                results = iter(transactions.write(self._engine, lambda c: jobs[0].work(c, items), pass_on))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits, the thread goes on
            if len(jobs) == 1 or isinstance(error, Unavailable):
                for job in jobs:
                    job.future.set_exception(error)
            else:
                for job in jobs:
                    self._do([job])
            return
        for job in jobs:
            job.future.set_result(list(islice(results, len(job.items))))


class _Turn:
    """The turn of one thread; the next one's begins while this one waits until what it did is written."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._mine = lock.acquire()

    def end(self) -> None:
        """Let the next thread begin. A second call does nothing."""
        if self._mine:
            self._mine = False
            self._lock.release()
