"""The keys as this process knows them: never older than a second, and read without making anybody wait."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from optimizer.errors import Unavailable
from optimizer.keys import KeyRing

if TYPE_CHECKING:
    from collections.abc import Callable

    from optimizer.runtime import Runtime

STALE_S: Final = 1.0
"""A key that was revoked so long ago opens nothing."""

_RENEW_S: Final = 0.5
_WAIT_S: Final = 3.0

_log = structlog.get_logger(__name__)


class Locks:
    """Reads the keys again once they are half a second old, beside the requests; past `STALE_S` requests wait for it.

    Used in one event loop.
    """

    def __init__(self, runtime: Runtime, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._runtime = runtime
        self._monotonic = monotonic
        self._ring: KeyRing | None = None
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def ring(self) -> KeyRing:
        """The keys. Raises Unavailable where they cannot be read."""
        now_at = self._monotonic()
        if now_at - self._read_at > _RENEW_S:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            if now_at - self._read_at > STALE_S:
                await asyncio.wait([self._reading], timeout=_WAIT_S)
                if now_at - self._read_at > STALE_S:
                    raise Unavailable("the keys of the callers cannot be read at the moment; try again")
        assert self._ring is not None  # noqa: S101 - it was read, or this was raised
        return self._ring

    async def settled(self) -> None:
        """Wait for what is being read."""
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def _read(self) -> None:
        begun_at = self._monotonic()
        try:
            self._ring = await asyncio.get_running_loop().run_in_executor(None, KeyRing.read, self._runtime)
            self._read_at = begun_at
        except Exception as error:  # noqa: BLE001 - who waits is told; the next request tries again
            _log.warning("keys_unreadable", error=type(error).__name__)
        finally:
            self._reading = None
