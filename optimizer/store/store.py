"""The database as everything else sees it: functions of a connection, read anywhere, written in one place."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection

from optimizer.store.engines import open_engines
from optimizer.store.migrate import migrate
from optimizer.store.writer import Writer

T = TypeVar("T")

DEFAULT_TENANT = "default"


class Store:
    """An open database, migrated to the newest tables.

    >>> from optimizer.store import Store
    >>> with Store("sqlite://") as store:
    ...     store.read(lambda connection: connection.exec_driver_sql("select count(*) from decisions").scalar())
    0
    """

    def __init__(self, url: str, tenant: str = DEFAULT_TENANT) -> None:
        """Open `url` (see `open_engines`) and bring its tables up to date.

        `tenant` is what callers pass on to the query functions.
        """
        self.url = url
        self.tenant = tenant
        self._engines = open_engines(url)
        with self._engines.write.begin() as connection:
            migrate(connection)
        turn = threading.Lock()
        self._reading = turn if self._engines.shared else nullcontext()
        self._writer = Writer(self._engines.write, turn)

    def read(self, query: Callable[[Connection], T]) -> T:
        """Run `query` in the calling thread on one consistent snapshot of what is committed; it cannot write."""
        self._refuse_inside_a_change()
        with self._reading, self._engines.read.connect() as connection:
            return query(connection)

    def submit(self, change: Callable[[Connection], T]) -> Future[T]:
        """Queue `change` for the writer; its future resolves when it is on disk.

        Or with what `change` raised: then nothing of it remains. Changes run one after the other, each seeing those
        before it; `change` must neither commit nor roll back. Raises Unavailable after `close`; the future raises it
        where the database could not commit.
        """
        return self._writer.submit(change)

    def write(self, change: Callable[[Connection], T]) -> T:
        """Like `submit`, and wait."""
        self._refuse_inside_a_change()
        return self._writer.submit(change).result()

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
        if self._writer.is_current_thread():
            raise RuntimeError(
                "a change must use the connection it was given: "
                "reading or writing through the store inside it would wait for ever"
            )
