"""Lines of dsjson to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from optimizer.evaluation.log import Log
from simulator.logs.dsjson import DsjsonLog
from simulator.logs.reading import Intake

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def line(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    """A decision among three arms, the second drawn, which cost -1; fields that are None are left out."""
    value = {
        "_label_cost": -1.0,
        "_label_probability": 0.5,
        "_label_Action": 2,
        "_labelIndex": 1,
        "Timestamp": "2026-01-31T12:00:00.1234567Z",
        "Version": "1",
        "EventId": "e0",
        "a": [2, 1, 3],
        "c": {"User": {"age": 30, "plan": "gold"}, "_multi": [{"_tag": name} for name in ("x", "y", "z")]},
        "p": [0.5, 0.25, 0.25],
        "VWState": {"m": "N/A"},
    }
    return {name: each for name, each in (value | changes).items() if each is not None}


def written(path: Path, lines: Iterable[object]) -> Path:
    """A file of them; bytes as they are, anything else as JSON."""
    path.write_bytes(b"".join((each if isinstance(each, bytes) else orjson.dumps(each)) + b"\n" for each in lines))
    return path


def read(path: Path, intake: Intake | None = None) -> Log:
    """The whole log."""
    return Log.join(list(DsjsonLog(path).chunks(intake if intake is not None else Intake(strict=True))))
