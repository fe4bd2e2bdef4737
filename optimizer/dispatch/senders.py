"""Senders: each carries out the touches of a channel. For now there is one, a file of JSON lines for each channel."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import FileIO
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One touch as a sender gets it.

    Attributes:
        decision_id: also the key by which a provider recognises a repetition.
        customer_id, address: whom to reach; the address is None where none is stored for the channel.
        message, template, version: what to say, by reference.
        send_at: when it was due, ISO 8601 in UTC.
    """

    decision_id: str
    campaign_id: str
    customer_id: str
    address: str | None
    channel: str
    message: str
    template: str
    version: int
    send_at: str


class Sender(Protocol):
    """Carries out touches.

    After `send` returns, every one of them is with the provider. When it raises, none may be taken as sent.
    """

    def send(self, touches: Sequence[Outgoing]) -> None:
        """Send them all."""
        ...


class FileSender:
    """Appends each touch as a line of JSON to `<folder>/<channel>.jsonl`, on disk when it returns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, touches: Sequence[Outgoing]) -> None:
        """Append the touches, channel by channel."""
        by_channel: dict[str, list[Outgoing]] = {}
        for touch in touches:
            by_channel.setdefault(touch.channel, []).append(touch)
        self._folder.mkdir(parents=True, exist_ok=True)
        for channel, mine in by_channel.items():
            _append(self._folder / f"{channel}.jsonl", [orjson.dumps(asdict(touch)) for touch in mine])


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


def addresses_of(text: str) -> Mapping[str, str]:
    """A customer's stored addresses by channel."""
    addresses: Mapping[str, str] = orjson.loads(text)
    return addresses
