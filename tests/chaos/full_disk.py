"""The disk is full for a while, then there is room again: `python -m tests.chaos.full_disk`.

It needs the right to mount a small disk.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.chaos.scripts import run

if TYPE_CHECKING:
    from tests.chaos.service import Cluster


def fill(cluster: Cluster, seconds: float) -> dict[str, Any]:
    """There is no room on the disk of the database for so many seconds."""
    assert cluster.disk is not None
    cluster.disk.fill()
    time.sleep(seconds)
    cluster.disk.empty()
    return {"full for (s)": seconds}


def main() -> None:
    """Fill the disk for 20 seconds on each database."""
    run("Disk full", 20, fill, small=True)


if __name__ == "__main__":
    main()
