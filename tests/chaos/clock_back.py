"""The clock is set back by an hour under load, and put right again: `python -m tests.chaos.clock_back`.

Meanwhile every second process is killed and started, which then has never seen the time that the others saw.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from tests.chaos.scripts import run

if TYPE_CHECKING:
    from tests.chaos.service import Cluster

HOUR_S: Final = 3600


def set_back(cluster: Cluster, seconds: float) -> dict[str, Any]:
    """The machine's clock is an hour behind for so many seconds."""
    unlucky = cluster.processes[::2]
    cluster.set_clock(-HOUR_S)
    time.sleep(seconds / 2)
    for process in unlucky:
        process.kill()
        process.start()
    time.sleep(seconds / 2)
    cluster.set_clock(0)
    return {"set back by (s)": HOUR_S, "processes started meanwhile": len(unlucky)}


def main() -> None:
    """Set the clock back for 20 seconds on each database."""
    run("Clock set back", 20, set_back)


if __name__ == "__main__":
    main()
