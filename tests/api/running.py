"""Real processes: the service as it is started, and the commands that are typed beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import httpx2
import orjson
from sqlalchemy import create_engine

from tests import databases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).parents[2]
_COMMAND: Final = """
from importlib.metadata import EntryPoint
from optimizer.commands import build_app
build_app([EntryPoint("api", "api.commands:register", "optimizer.commands")])()
"""
"""The command `optimizer` with the service's commands, installed or not."""

NOW: Final = """\
version: 1
campaign: {id: now, name: Sends at once, starts_at: 2020-01-01T00:00:00Z}
features: [{name: plan, bucket: customer, type: category}]
catalog:
  messages:
    - {id: warm, creatives: {email: {template: warm, version: 1}}}
    - {id: direct, creatives: {email: {template: direct, version: 1}}}
  channels: [{id: email, cost: 0.0}]
  no_send: false
reward:
  lateness: 0s
  events: [{name: clicked, value: 1, window: 1s}]
"""


def sends_later() -> str:
    """A campaign whose touches are not due for an hour at least."""
    hour = (datetime.now(UTC) + timedelta(hours=2)).hour
    return f"""\
version: 1
campaign:
  id: later
  name: Sends later
  starts_at: 2020-01-01T00:00:00Z
  timezone: {{fallback: UTC, if_missing: use_fallback}}
catalog:
  messages: [{{id: warm, creatives: {{push: {{template: warm, version: 1}}}}}}]
  channels: [{{id: push, cost: 0.0}}]
  timing: {{horizon: 12h, slots: [{{id: soon, days: all, from: "{hour:02}:00", to: "{hour:02}:59"}}]}}
  no_send: false
reward:
  events: [{{name: clicked, value: 1, window: 1d}}]
"""


@dataclass(frozen=True)
class Place:
    """A folder with a service's settings, campaigns and outbox, and its database.

    `prelude` is Python that each process runs before anything else.
    """

    folder: Path
    database: str
    prelude: str = ""

    @classmethod
    def make(cls, folder: Path, *, database: str | None = None, prelude: str = "", **campaigns: str) -> Place:
        """Write the settings, and a file for each campaign; without a database, a new one of the test's kind."""
        (folder / "campaigns").mkdir()
        database = database or databases.empty_url(folder)
        for name, text in campaigns.items():
            (folder / "campaigns" / f"{name}.yaml").write_text(text, encoding="utf-8")
        settings = f"""\
version: 1
database: {database}
attributes_file: {ROOT}/configs/attributes.yaml
campaigns: [{folder}/campaigns]
outbox: {folder}/outbox
secret_file: {folder}/secret
port: 0
publish_every: 1s
"""
        (folder / "service.yaml").write_text(settings, encoding="utf-8")
        return cls(folder, database, prelude)

    def optimizer(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command on this service's database, and wait for it."""
        return subprocess.run(
            self.command(*arguments), env=_environment(), capture_output=True, text=True, timeout=60, check=False
        )

    def command(self, *arguments: str) -> list[str]:
        """What to type for a command on this service's database."""
        code = self.prelude + _COMMAND
        return [sys.executable, "-c", code, *arguments, "--config", str(self.folder / "service.yaml")]

    def started(self, *arguments: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
        """The same, without waiting; what it says on stderr goes to `log`."""
        return subprocess.Popen(self.command(*arguments), env=_environment(), stdout=subprocess.DEVNULL, stderr=log)

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the database, or a change to it, from outside."""
        engine = create_engine(self.database)
        with engine.begin() as connection:
            found = databases.execute(connection, statement, *values)
        engine.dispose()
        return [tuple(row) for row in found]

    def outbox(self, channel: str) -> list[dict[str, Any]]:
        """The touches that were sent on a channel."""
        path = self.folder / "outbox" / f"{channel}.jsonl"
        return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    @contextmanager
    def service(self, *options: str) -> Iterator[Service]:
        """The service, running; it is killed at the end if it still does."""
        log = self.folder / f"log-{len(list(self.folder.glob('log-*')))}"
        with log.open("wb") as file, self.started("serve", *options, log=file) as process:
            try:
                service = Service(self, process, log)
                with httpx2.Client(base_url=f"http://127.0.0.1:{service.port()}", timeout=30) as service.client:
                    yield service
            finally:
                process.kill()


class Service:
    """A running service and a client of it."""

    client: httpx2.Client

    def __init__(self, place: Place, process: subprocess.Popen[bytes], log: Path) -> None:
        self.place = place
        self.process = process
        self._log = log

    def port(self) -> int:
        """Where it answers, once it does."""
        until(lambda: self.logged("service_started") or self.process.poll() is not None)
        assert self.process.poll() is None, self._log.read_text()
        port: int = self.logged("service_started")[0]["port"]
        return port

    def log(self) -> str:
        """Everything that it has said."""
        return self._log.read_text(encoding="utf-8")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """What it has logged of one kind."""
        whole = self._log.read_bytes().rpartition(b"\n")[0]
        lines = [orjson.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        return [line for line in lines if line["event"] == event]

    def end(self, signal: int) -> int:
        """Send a signal that ends it, and wait; the exit code."""
        self.process.send_signal(signal)
        return self.process.wait(timeout=30)

    def post(self, path: str, body: object, expected: int = 200) -> Any:  # noqa: ANN401 -- JSON
        """Send JSON; the answer as JSON."""
        response = self.client.post(path, json=body)
        assert response.status_code == expected, response.text
        return response.json()

    def get(self, path: str) -> Any:  # noqa: ANN401 -- JSON
        """The answer as JSON."""
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return response.json()

    def decide(self, request_id: str, customer_id: str = "c-1", campaign_id: str = "now") -> dict[str, Any]:
        """One decision."""
        body = {"campaign_id": campaign_id, "customer_id": customer_id, "request_id": request_id}
        decision: dict[str, Any] = self.post("/v1/decisions", body)
        return decision


def until(found: Callable[[], Any], timeout_s: float = 20) -> Any:  # noqa: ANN401 -- whatever was looked for
    """What `found` returns, as soon as that is something."""
    end = time.monotonic() + timeout_s
    while not (result := found()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return result


def rows(*bodies: object) -> bytes:
    """NDJSON."""
    return b"".join(orjson.dumps(body) + b"\n" for body in bodies)


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("OPTIMIZER_")}
    return {**own, "PYTHONPATH": str(ROOT)}
