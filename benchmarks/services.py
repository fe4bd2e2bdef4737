"""The services that are measured, as processes; all are served in the same way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvicorn

from benchmarks.load import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastapi import FastAPI

_ROOT: Final = Path(__file__).parents[1]
_START_S: Final = 60.0
_OPTIMIZER: Final = """
from importlib.metadata import EntryPoint
from optimizer.commands import build_app
build_app([EntryPoint("api", "api.commands:register", "optimizer.commands")])()
"""
"""The command `optimizer` of this checkout, installed or not."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service's process and the port at which it answers; the log has what it said."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path


def run(app: FastAPI, port: int) -> None:
    """Serve a peer's application as `optimizer serve` serves its own."""
    uvicorn.run(
        app,
        host=HOST,
        port=port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=2048,
    )


def optimizer(*arguments: str) -> list[str]:
    """What is typed for a command of ours."""
    return [sys.executable, "-c", _OPTIMIZER, *arguments]


def peer(module: str, *arguments: str) -> list[str]:
    """The same for a service that is kept here; its port comes last."""
    return [sys.executable, "-m", module, *arguments]


@contextmanager
def running(command: Sequence[str], folder: Path) -> Iterator[Running]:
    """The service that a command starts, once it answers; ended by SIGTERM at the end.

    The port is the command's last argument and is added here. Raises RuntimeError with the end of its log where it does
    not start, or ends with an error.
    """
    port = _free_port()
    log = folder / f"service-{port}.log"
    with log.open("wb") as file, started([*command, str(port)], file.fileno()) as process:
        try:
            _await(process, port, log)
            yield Running(process, port, log)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(_START_S)
    if code not in {0, -signal.SIGTERM}:
        raise RuntimeError(f"{' '.join(command[-4:])} ended with {code}: {tail(log)}")


@contextmanager
def started(command: Sequence[str], log: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process of this checkout, killed at the end if it still runs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPTIMIZER_")}
    environment["PYTHONPATH"] = str(_ROOT)
    process = subprocess.Popen(  # noqa: S603 -- nothing from outside
        command, cwd=_ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=log
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def tail(log: Path, lines: int = 20) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the service did not start: {tail(log)}")
        try:
            socket.create_connection((HOST, port), 1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the service did not answer in {_START_S:.0f} s: {tail(log)}")


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
