"""Processes of the service that start in a moment: forked from one that has loaded the code, and done nothing else.

To load it takes two seconds of a processor, and a test that starts fifty processes has better things to do.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import orjson

from tests.api.running import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Nursery:
    """Starts processes, each of which is told apart by its number."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._orders: IO[bytes] = process.stdin
        self._answers: IO[bytes] = process.stdout

    def start(self, command: Sequence[str], log: Path) -> int:
        """Start what `Place.command` says: the number of the process, whose words on stderr go to `log`."""
        _python, _c, code, *arguments = command
        log.touch()
        self._orders.write(orjson.dumps({"code": code, "arguments": arguments, "log": str(log)}) + b"\n")
        self._orders.flush()
        return int(self._answers.readline())


def alive(number: int) -> bool:
    """Whether a process still runs."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def kill(number: int) -> None:
    """End a process at once, whatever it is at, and wait until it is gone."""
    if alive(number):
        os.kill(number, signal.SIGKILL)
    while alive(number):
        time.sleep(0.001)


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery. It is for those who started processes to end them."""
    command = [sys.executable, "-m", "tests.chaos.nursery"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("OPTIMIZER_")}
    with subprocess.Popen(command, cwd=ROOT, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Nursery(process)
        finally:
            process.kill()


def main() -> None:
    """Load the code, then start what is asked for until nobody asks any more."""
    for name in ("api.commands", "optimizer.dispatch.senders.webhook", "sqlalchemy.dialects.postgresql.psycopg"):
        importlib.import_module(name)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that end leave nothing behind
    for line in sys.stdin.buffer:
        order = orjson.loads(line)
        number = os.fork()
        if not number:
            _become(order)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


def _become(order: dict[str, Any]) -> None:
    """Do what is ordered, in this process, and end with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open(order["log"], os.O_WRONLY)
    for mine, own in ((nothing, 0), (nothing, 1), (log, 2)):
        os.dup2(mine, own)
    sys.argv = ["optimizer", *order["arguments"]]
    code = 1
    try:
        exec(order["code"], {"__name__": "__main__"})  # noqa: S102 - what `python -c` would do
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
