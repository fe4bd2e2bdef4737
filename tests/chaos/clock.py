"""The time of day as a process sees it on a machine whose clock is set: moved by the seconds that a file says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from optimizer import clock


def follow(path: str) -> None:
    """From now on this process reads the file whenever it asks the machine for the time."""
    file = Path(path)

    class Moved(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = UTC) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=float(file.read_text(encoding="utf-8")))

    # Nothing else asks the machine what time it is.
    clock.__dict__["datetime"] = Moved
