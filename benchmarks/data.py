"""Where the real data sets lie, which are no part of the project."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path(__file__).parents[1]
CONFIGS = _ROOT / "configs"
_SHARED = Path(os.environ.get("SHARED_DATA", _ROOT.parent / "shared" / "data"))


def shared(name: str) -> Path:
    """The data set with this path; `FileNotFoundError` where it is absent."""
    path = _SHARED / name
    if not path.exists():
        raise FileNotFoundError(f"{name} is not there: set SHARED_DATA to the folder that has it")
    return path
