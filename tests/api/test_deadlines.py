from __future__ import annotations

import asyncio

from api.deadlines import NEVER, Deadlines


class Waiting:
    """Counts how often it is given up."""

    def __init__(self, due_at: float) -> None:
        self.due_at = due_at
        self.given_up = 0
        self._again = asyncio.Event()

    def give_up(self) -> None:
        self.given_up += 1
        self._again.set()

    async def until_given_up(self, times: int) -> None:
        """Return when it was given up so often."""
        async with asyncio.timeout(10):
            while self.given_up < times:
                self._again.clear()
                await self._again.wait()


def test_whoever_is_late_is_given_up_once_and_nobody_else_is() -> None:
    async def use() -> None:
        deadlines = Deadlines(0.01)
        now = asyncio.get_running_loop().time()
        late, patient, gone = Waiting(now + 60), Waiting(NEVER), Waiting(now + 60)
        for waiting in (late, patient, gone):
            deadlines.add(waiting)
        deadlines.discard(gone)
        await asyncio.sleep(0.05)
        assert late.given_up == 0
        late.due_at = gone.due_at = now
        await late.until_given_up(1)
        await asyncio.sleep(0.05)
        assert (late.given_up, patient.given_up, gone.given_up) == (1, 0, 0)
        late.due_at = now
        await late.until_given_up(2)

    asyncio.run(use())


def test_it_looks_again_after_a_time_in_which_nobody_was_waited_for_and_in_another_loop() -> None:
    deadlines = Deadlines(0.01)

    async def use() -> None:
        for _ in range(2):
            late = Waiting(0)
            deadlines.add(late)
            await late.until_given_up(1)
            deadlines.discard(late)
            await asyncio.sleep(0.05)

    asyncio.run(use())
    asyncio.run(use())
