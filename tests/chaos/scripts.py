"""What the scripts share: their command line, their folders and how counts are printed."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tests import databases
from tests.chaos.postgres import postgres
from tests.chaos.service import cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def run(
    what: str,
    seconds: float,
    fault: Callable[..., dict[str, Any]],
    *,
    kinds: Iterable[str] = databases.KINDS,
    small: bool = False,
) -> None:
    """Do a fault on each kind of database for so many seconds, or as the command line says, and print the counts.

    PostgreSQL is as durable as in production. The database is on a `small` disk if that is asked for.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--seconds", type=float, default=seconds, help="how long it lasts (default: %(default)g)")
    given = parser.parse_args().seconds
    for kind in kinds:
        serving = postgres(durable=True) if kind == "postgresql" else nullcontext()
        with serving as server, TemporaryDirectory(prefix="optimizer-chaos-") as folder:
            Path(folder).chmod(0o755)
            with cluster(Path(folder), server, small=small) as service:
                show(service.live_through({f"{what}, {given:g} s, {kind}": partial(fault, seconds=given)}))


def show(counted: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what was counted."""
    for title, found in counted.items():
        print(title)  # noqa: T201 - what a script is for
        for name, value in found.items():
            print(f"  {name:<60} {value}")  # noqa: T201
    print(flush=True)  # noqa: T201
