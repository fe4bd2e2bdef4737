"""What is waited for, and given up when it does not come in time.

A timer for each request would cost more than finding out who it is from. So there is one for all of them, which looks
now and then, and only while somebody is waited for.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

NEVER: Final = float("inf")


class Waiting(Protocol):
    """Something that is waited for until `due_at`, by the clock of the event loop."""

    due_at: float

    def give_up(self) -> None:
        """Its time is over; called once, unless `due_at` is set anew."""
        ...


class Deadlines:
    """Gives up whoever is late, by `tick_s` at most."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self._waiting: set[Waiting] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, waiting: Waiting) -> None:
        """Begin to wait."""
        self._waiting.add(waiting)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(self._tick_s, self._look, loop)

    def discard(self, waiting: Waiting) -> None:
        """Wait no longer."""
        self._waiting.discard(waiting)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not loop:
            return
        if not self._waiting:
            self._loop = None
            return
        now = loop.time()
        for waiting in [each for each in self._waiting if each.due_at < now]:
            waiting.due_at = NEVER
            waiting.give_up()
        loop.call_later(self._tick_s, self._look, loop)
