"""The file sender: touches as JSON lines in a folder, for whoever picks them up there."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson

from optimizer.dispatch.senders.base import SENT, Outcome, Outgoing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import FileIO
    from pathlib import Path


class FileSender:
    """Appends each touch as a line of JSON to `<folder>/<channel>.jsonl`, on disk when it returns."""

    batch: int = 5_000
    needs_address: bool = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Append the touches, channel by channel."""
        by_channel: dict[str, list[Outgoing]] = {}
        for touch in touches:
            by_channel.setdefault(touch.channel, []).append(touch)
        self._folder.mkdir(parents=True, exist_ok=True)
        for channel, mine in by_channel.items():
            _append(self._folder / f"{channel}.jsonl", [orjson.dumps(_line(touch)) for touch in mine])
        return [SENT] * len(touches)


def _line(touch: Outgoing) -> dict[str, Any]:
    line = asdict(touch)
    del line["attributes"]
    return line


def _append(path: Path, lines: Sequence[bytes]) -> None:
    """Append lines, on disk when this returns; what is raised may leave some of them, and a part of one."""
    with path.open("a+b", buffering=0) as file:
        left = memoryview(b"".join(line + b"\n" for line in lines))
        if file.seek(0, os.SEEK_END) and not _ends_a_line(file):
            # Its writer came to no end, for want of room or life: what it left is no part of ours.
            file.write(b"\n")
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())


def _ends_a_line(file: FileIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
