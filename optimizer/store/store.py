"""The database as everything else sees it: functions of a connection, read anywhere, written in transactions."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection, make_url

from optimizer.store import transactions
from optimizer.store.engines import open_engines
from optimizer.store.migrate import migrate
from optimizer.store.writer import Work, Writer

T = TypeVar("T")
R = TypeVar("R")


class Store:
    """An open database, migrated to the newest tables.

    >>> from optimizer.store import Store
    >>> with Store("sqlite://") as store:
    ...     store.read(lambda connection: connection.exec_driver_sql("select count(*) from decisions").scalar())
    0
    """

    def __init__(self, url: str) -> None:
        """Open `url` (see `open_engines`) and bring its tables up to date. Raises Unavailable."""
        self.url = url
        self._engines = open_engines(url)
        transactions.write(self._engines.write, migrate)
        turn = threading.Lock()
        self._reading = turn if self._engines.shared else nullcontext()
        if self._engines.serial:
            self._writer = Writer(self._engines.write, turn, turns=1)
        else:
            self._writer = Writer(self._engines.write, nullcontext(), turns=2)
        self._inside = threading.local()

    def read(self, query: Callable[[Connection], T]) -> T:
        """Run `query` in the calling thread on one consistent snapshot of what is committed; it cannot write.

        Raises Unavailable where the database cannot be used; so do all of these.
        """
        self._refuse_inside_a_change()
        with self._reading:
            return transactions.read(self._engines.read, query)

    def write(self, change: Callable[[Connection], T]) -> T:
        """Run `change` as one transaction; on disk when this returns, and nothing of it remains where it raises.

        `change` must neither commit nor roll back, and may be run again where the transaction lost against another.
        """
        self._refuse_inside_a_change()
        if not self._engines.serial:
            self._writer.refuse_if_closed()
            self._inside.change = True
            try:
                return transactions.write(self._engines.write, change)
            finally:
                self._inside.change = False
        [result] = self._writer.gather(lambda connection, _: [change(connection)], [None]).result()
        return result

    def gather(self, work: Work[T, R], items: Sequence[T]) -> Future[Sequence[R]]:
        """Queue items for `work`, which is given those of every caller who waits in one call and one transaction.

        The future resolves with the results of these items when they are on disk. What holds for `write` holds for
        `work`; where it raises, each caller's items are tried alone.
        """
        return self._writer.gather(work, items)

    @property
    def name(self) -> str:
        """The database's URL as it may be shown, without a password."""
        return make_url(self.url).render_as_string()

    @property
    def waiting(self) -> int:
        """How many callers wait for the writer, about."""
        return self._writer.waiting

    @property
    def oldest_s(self) -> float:
        """How long the first of them has waited, those included whose work is being done."""
        return self._writer.oldest_s

    def close(self) -> None:
        """Write what is queued and close every connection. A second call does nothing."""
        self._writer.close()
        self._engines.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _refuse_inside_a_change(self) -> None:
        if self._writer.is_current_thread() or getattr(self._inside, "change", False):
            raise RuntimeError(
                "a change must use the connection it was given: "
                "reading or writing through the store inside it would wait for ever"
            )
