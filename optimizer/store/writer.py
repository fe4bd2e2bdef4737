"""One thread that writes, many changes a commit.

Making a commit durable costs a wait for the disk, whatever its size. So everything that waits in the queue goes into
one transaction, each change in a savepoint of its own: one that fails takes back only itself. A future resolves after
the commit, hence what it promises is on disk.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from optimizer.errors import Unavailable

T = TypeVar("T")

MAX_BATCH = 256
"""How many changes one commit may hold, so that the first of them does not wait for long."""


@dataclass(frozen=True, slots=True)
class _Job:
    change: Callable[[Connection], Any]
    future: Future[Any]


class Writer:
    """Runs changes one after the other on one connection, in the order in which they were submitted.

    `turn` is held while a transaction is open; a database in memory, whose readers share the connection, uses it to
    keep them out.
    """

    def __init__(self, engine: Engine, turn: threading.Lock) -> None:
        self._engine = engine
        self._turn = turn
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, change: Callable[[Connection], T]) -> Future[T]:
        """Queue a change; its future resolves with what it returned once that is committed, or with what it raised.

        The change must not commit or roll back, and sees those queued before it. Raises Unavailable after `close`.
        """
        future: Future[T] = Future()
        with self._closing:
            if self._closed:
                raise Unavailable("the store is closed: nothing can be written any more")
            self._jobs.put(_Job(change, future))
        return future

    def is_current_thread(self) -> bool:
        """Whether the caller runs inside a change; waiting for the writer there would wait for ever."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Finish what is queued, then stop. A second call does nothing."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        more = True
        while more:
            more, jobs = self._next_batch()
            if jobs:
                self._commit(jobs)

    def _next_batch(self) -> tuple[bool, list[_Job]]:
        """Whether to go on after this batch, and everything that waits, up to `MAX_BATCH`; waits for the first."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            if job.future.set_running_or_notify_cancel():
                jobs.append(job)
            if len(jobs) >= MAX_BATCH:
                return True, jobs
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return True, jobs
        return False, jobs

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            with self._turn, self._engine.begin() as connection:
                outcomes = [_attempt(connection, job) for job in jobs]
        except Exception as error:  # noqa: BLE001 - the thread must go on
            # The transaction as a whole did not happen: no job of it did, whatever its own outcome was.
            failure = Unavailable(f"the database could not commit: {error}")
            failure.__cause__ = error
            for job in jobs:
                job.future.set_exception(failure)
            return
        for outcome in outcomes:
            outcome()


def _attempt(connection: Connection, job: _Job) -> Callable[[], None]:
    """Run one job in its savepoint; the answer tells its future, after the commit."""
    connection.exec_driver_sql("SAVEPOINT job")
    try:
        result = job.change(connection)
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever submitted the change, the thread goes on
        raised = error
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT job")
        connection.exec_driver_sql("RELEASE SAVEPOINT job")
        return lambda: job.future.set_exception(raised)
    connection.exec_driver_sql("RELEASE SAVEPOINT job")
    return lambda: job.future.set_result(result)
