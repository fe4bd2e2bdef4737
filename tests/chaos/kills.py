"""Processes killed at random moments under load, and started again: `python -m tests.chaos.kills`."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from tests.chaos.scripts import run

if TYPE_CHECKING:
    from tests.chaos.service import Cluster


def kill(cluster: Cluster, seconds: float) -> dict[str, Any]:
    """One process after the other is ended in whatever it is at."""
    chance, killed = random.Random(1), 0
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s or killed == 0:
        unlucky = chance.choice(cluster.processes)
        time.sleep(chance.uniform(0, 1.5))
        unlucky.kill()
        time.sleep(chance.uniform(0, 0.3))
        unlucky.start()
        killed += 1
    return {"processes killed": killed}


def main() -> None:
    """Kill for a minute on each database."""
    run("SIGKILL of processes", 60, kill)


if __name__ == "__main__":
    main()
