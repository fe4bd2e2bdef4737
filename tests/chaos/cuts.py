"""All connections to PostgreSQL are cut under load, again and again: `python -m tests.chaos.cuts`."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from tests.chaos.scripts import run

if TYPE_CHECKING:
    from tests.chaos.service import Cluster


def cut(cluster: Cluster, seconds: float) -> dict[str, Any]:
    """Every connection of the service is ended at random moments, about twice a second."""
    assert cluster.server is not None
    chance, times, connections = random.Random(1), 0, 0
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        time.sleep(chance.uniform(0, 1))
        connections += cluster.server.cut(cluster.place.database)
        times += 1
    return {"times cut": times, "connections cut": connections}


def main() -> None:
    """Cut connections for a minute."""
    run("Connections cut", 60, cut, kinds=["postgresql"])


if __name__ == "__main__":
    main()
