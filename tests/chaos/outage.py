"""PostgreSQL is stopped under load and started again: `python -m tests.chaos.outage`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.chaos.scripts import run

if TYPE_CHECKING:
    from tests.chaos.service import Cluster


def stop(cluster: Cluster, seconds: float) -> dict[str, Any]:
    """The database is away for so many seconds."""
    assert cluster.server is not None
    cluster.server.stop()
    time.sleep(seconds)
    cluster.server.start()
    return {"stopped for (s)": seconds}


def main() -> None:
    """Stop the database for 20 seconds."""
    run("PostgreSQL stopped", 20, stop, kinds=["postgresql"])


if __name__ == "__main__":
    main()
