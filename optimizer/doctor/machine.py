"""The machine that a service runs on: time zones, disk, the files that it writes, its secret."""

from __future__ import annotations

import os
import shutil
import stat
import zoneinfo
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from optimizer.doctor.findings import Finding, failing, ok, warning

FREE_FAILING_BYTES: Final = 256 << 20
FREE_WARNING_BYTES: Final = 2 << 30
"""Less than this, and the disk is about to be full."""

# Paraguay stayed on summer time for good in 2024 (tzdata 2025a), which older data does not know.
_RECENT_ZONE: Final = "America/Asuncion"
_RECENT_DAY: Final = datetime(2026, 7, 1)  # noqa: DTZ001 - local, as a zone is asked
_RECENT_OFFSET: Final = timedelta(hours=-3)
_OTHERS: Final = 0o077
_GIB: Final = 1 << 30


def zones() -> Finding:
    """Whether local times of recipients can be told, by rules that are recent."""
    check, install = "time zones", "install the newest zone data, the system's or: pip install --upgrade tzdata"
    try:
        zone = ZoneInfo(_RECENT_ZONE)
    except ZoneInfoNotFoundError:
        return failing(check, "there is no time zone data: nobody's local time is known", install)
    # Where the system has a database it is the one that is used.
    systems = next((folder for folder in zoneinfo.TZPATH if (Path(folder) / _RECENT_ZONE).exists()), None)
    source = f"{systems}, the system's" if systems else f"the package tzdata {version('tzdata')}"
    if zone.utcoffset(_RECENT_DAY) != _RECENT_OFFSET:
        return warning(check, f"rules from before 2025 ({source}): some local times are an hour off", install)
    return ok(check, f"{len(available_timezones())} zones, {source}")


def disk(check: str, folder: Path, failing_bytes: int = FREE_FAILING_BYTES) -> Finding:
    """Whether there is room left where this folder is, or will be."""
    there = _existing(folder)
    free = shutil.disk_usage(there).free
    what = f"{free / _GIB:.1f} GiB free for {folder}"
    if free < failing_bytes:
        return failing(check, what, "free space now: without it no decision and no event can be taken")
    if free < FREE_WARNING_BYTES:
        return warning(check, what, "free space, or drop old months: optimizer retention")
    return ok(check, what)


def writable(check: str, folder: Path) -> Finding:
    """Whether files can be made in a folder, or the folder itself where it is not there yet."""
    there = _existing(folder)
    if not os.access(there, os.W_OK | os.X_OK):
        return failing(check, f"{there} cannot be written", "let the service's user write there, or name another place")
    return ok(check, f"{folder} can be written" if there == folder else f"{folder} will be made")


def secret_file(path: Path) -> Finding:
    """Whether the secret is there, and nobody else's to read."""
    check = "secret"
    if not path.exists():
        return warning(
            check,
            f"there is no {path} yet: the first start makes it",
            "keep a copy of it with the backups; every process of a service needs the same one",
        )
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        return failing(check, f"{path} can be used by others (mode {mode:04o})", f"chmod 600 {path}")
    if not os.access(path, os.R_OK):
        return failing(check, f"{path} cannot be read", "let the service's user read it")
    return ok(check, f"{path} is its owner's alone")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    folder = folder.absolute()
    return next(there for there in (folder, *folder.parents) if there.exists())
