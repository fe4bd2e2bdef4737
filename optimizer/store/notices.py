"""Telling other processes at once that something has changed; who is not told finds out by looking, a little later.

PostgreSQL delivers a notice when the transaction that sent it has been committed. SQLite has no notices.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import NullPool, create_engine, make_url

from optimizer.store.engines import CONNECT_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

_CHANNEL: Final = "optimizer"
_WAIT_S: Final = 0.5
"""How long the thread waits for a notice until it looks whether it is to end."""

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
# A connection that was cut somewhere on its way is noticed after this many seconds without an answer, and a few more.
_KEEPALIVE: Final = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}

_log = structlog.get_logger()


def notify(connection: Connection) -> None:
    """Tell every process that listens, once this transaction has been committed."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"NOTIFY {_CHANNEL}")


class Listener:
    """A thread that calls `heard` when there was a notice, and when one may have been missed.

    It has a connection of its own and makes a new one where that is lost, after pauses that become longer. What `heard`
    raises is logged. On SQLite it does nothing.
    """

    def __init__(self, url: str, heard: Callable[[], object]) -> None:
        self._url = make_url(url)
        self._heard = heard
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-listener", daemon=True)
        if self._url.get_backend_name() == "postgresql":
            self._thread.start()

    def close(self) -> None:
        """End, within about half a second. A second call does nothing."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        options = {"application_name": "optimizer-listen", "connect_timeout": CONNECT_TIMEOUT_S} | _KEEPALIVE
        engine = create_engine(self._url, isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args=options)
        pause_s = _FIRST_PAUSE_S
        while not self._ending.is_set():
            try:
                with engine.connect() as connection:
                    connection.exec_driver_sql(f"LISTEN {_CHANNEL}")
                    pause_s = _FIRST_PAUSE_S
                    self._tell()
                    self._listen(connection.connection.driver_connection)
            except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again
                _log.warning("listener_cut_off", error=str(error).partition("\n")[0], again_in_s=pause_s)
                self._ending.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _listen(self, driver: Any) -> None:  # noqa: ANN401 - psycopg's connection, which need not be installed
        while not self._ending.is_set():
            # All notices that came in one go are one call.
            if list(driver.notifies(timeout=_WAIT_S, stop_after=1)):
                self._tell()

    def _tell(self) -> None:
        try:
            self._heard()
        except Exception:  # noqa: BLE001 - the next notice, or the next look, does better
            _log.exception("notice_failed")
