"""The file sender: touches as JSON lines in a folder, for whoever reads them there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson
from pydantic import Field

from optimizer.dispatch.kinds import ChannelSettings, Kit
from optimizer.dispatch.senders.base import SENT, Outcome, Outgoing, Result
from optimizer.ids import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from io import FileIO
    from pathlib import Path

_FIELDS: Final = tuple(name for name in Outgoing.__slots__ if name not in {"attributes", "offer"})
"""What a line says: the reference of the message, not what it is made of."""
_START: Final = b'{"decision_id":"'
_GONE: Final = Outcome(Result.UNKNOWN, "the file is not there: it may have been taken away")
_ABSENT: Final = Outcome(Result.TEMPORARY, "it is not in the file")


class FileSettings(ChannelSettings):
    """Into the folder `outbox`, a file of JSON lines for each channel."""

    kind: Literal["file"] = Field(description="file.")

    def make(self, kit: Kit) -> FileSender:
        """The sender of the channel."""
        return FileSender(kit.outbox)


class FileSender:
    """Appends each touch as a line of JSON to `<folder>/<channel>.jsonl`, on disk when it returns.

    Those of tenants other than the operator's go to `<folder>/tenants/<tenant>/<channel>.jsonl`. Whoever reads a file
    leaves it where it is, at least while the service runs: it is also what tells whether a touch was sent.
    """

    batch: int = 5_000
    needs_address: bool = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Append the touches, file by file."""
        for path, mine in self._files(touches).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _append(path, [orjson.dumps(_line(touch)) for touch in mine])
        return [SENT] * len(touches)

    def ask(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Which of them stand in their files. A part of a line, which its writer came to no end with, is none."""
        found: dict[str, Outcome] = {}
        for path, mine in self._files(touches).items():
            wanted = {touch.decision_id for touch in mine}
            try:
                with path.open("rb") as file:
                    written = _written(file, wanted)
            except FileNotFoundError:
                found |= dict.fromkeys(wanted, _GONE)
            else:
                found |= {decision_id: SENT if decision_id in written else _ABSENT for decision_id in wanted}
        return [found[touch.decision_id] for touch in touches]

    def _files(self, touches: Sequence[Outgoing]) -> dict[Path, list[Outgoing]]:
        files: dict[tuple[str, str], list[Outgoing]] = {}
        for touch in touches:
            files.setdefault((touch.tenant, touch.channel), []).append(touch)
        return {self._path(*place): mine for place, mine in files.items()}

    def _path(self, tenant: str, channel: str) -> Path:
        folder = self._folder if tenant == DEFAULT_TENANT else self._folder / "tenants" / tenant
        return folder / f"{channel}.jsonl"


def _line(touch: Outgoing) -> dict[str, Any]:
    return {name: getattr(touch, name) for name in _FIELDS}


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


def _written(lines: Iterable[bytes], wanted: set[str]) -> set[str]:
    """Those of these ids that a whole line is about; whether it ends in a newline does not matter, the next adds it."""
    found = set()
    for line in lines:
        decision_id = line[len(_START) : line.find(b'"', len(_START))].decode(errors="replace")
        if decision_id in wanted and line.startswith(_START) and _whole(line):
            found.add(decision_id)
    return found


def _whole(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True
