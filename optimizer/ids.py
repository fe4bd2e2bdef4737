"""Identifiers: time-ordered UUIDs (RFC 9562) from an injected source of random bytes."""

from __future__ import annotations

import os
import re
import threading
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

DEFAULT_TENANT: Final = "default"
"""Whose data it is where nobody says otherwise."""

_MS_US: Final = 1000
_TAIL_BITS: Final = 74
_TAIL_LIMIT: Final = 1 << _TAIL_BITS
_STEP_BYTES: Final = 4
_VERSION_7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7")


class IdSource:
    """Makes UUIDs as canonical lower-case text of 36 characters. Safe to share between threads.

    `random(n)` returns n random bytes; a seeded one makes the same ids in every run.
    """

    def __init__(self, random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random
        self._lock = threading.Lock()
        self._last_ms = -1
        self._last_tail = 0

    def uuid7(self, now_us: int) -> str:
        """A version 7 UUID for this instant, greater than every one made before it."""
        return self.uuid7s(now_us, 1)[0]

    def uuid7s(self, now_us: int, n: int) -> list[str]:
        """`n` version 7 UUIDs, strictly increasing, all greater than those made before.

        Within one millisecond (or when time steps back) the 74 random bits are counted up by random steps: RFC 9562,
        6.2, method 2.
        """
        with self._lock:
            steps = self._steps(n)
            ms = now_us // _MS_US
            if ms <= self._last_ms and self._last_tail + sum(steps) < _TAIL_LIMIT:
                ms, first = self._last_ms, self._last_tail
            else:
                ms = max(ms, self._last_ms + 1)
                # The top bit starts at zero, so that half the range is left to count up in.
                first = int.from_bytes(self._random(10), "big") >> 7
            tails = list(accumulate(steps, initial=first))[1:]
            if tails:
                self._last_ms, self._last_tail = ms, tails[-1]
        head = f"{ms >> 16 & 0xFFFFFFFF:08x}-{ms & 0xFFFF:04x}-7"
        return [
            f"{head}{tail >> 62:03x}-{tail >> 48 & 0x3FFF | 0x8000:04x}-{tail & 0xFFFFFFFFFFFF:012x}" for tail in tails
        ]

    def uuid4(self) -> str:
        """A random (version 4) UUID, which tells nothing, not even when it was made."""
        with self._lock:
            value = int.from_bytes(self._random(16), "big")
        value = value & ~(0xF000 << 64) & ~(0xC000 << 48) | 0x4000 << 64 | 0x8000 << 48
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _steps(self, n: int) -> list[int]:
        """`n` random increments of at least one."""
        drawn = np.frombuffer(self._random(_STEP_BYTES * n), dtype=">u4").astype(np.int64) + 1
        steps: list[int] = drawn.tolist()
        return steps


def made_us(row_id: str) -> int | None:
    """When a version 7 UUID was made, to the millisecond; None for any other text."""
    if not _VERSION_7.match(row_id):
        return None
    return int(row_id[:8] + row_id[9:13], 16) * _MS_US


def words(ids: Sequence[str]) -> NDArray[np.uint64]:
    """The 128 bits of each UUID as two words, high first: uint64 (n, 2). For keyed hashing in bulk."""
    raw = bytes.fromhex("".join(ids).replace("-", ""))
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64).reshape(len(ids), 2)
