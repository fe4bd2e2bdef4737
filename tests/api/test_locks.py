from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from api.locks import Locks
from optimizer.errors import Unavailable
from optimizer.keys import Keys, Scope

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from sqlalchemy import Connection

    from optimizer.engine import Engine

    T = TypeVar("T")


class Stopwatch:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_that_was_revoked_a_second_ago_opens_nothing(engine: Engine) -> None:
    runtime, watch = engine.runtime, Stopwatch()
    key = Keys(runtime).create([Scope.READ])

    async def use() -> None:
        locks = Locks(runtime, watch)
        assert (await locks.ring()).caller(key, runtime) is not None
        Keys(runtime).revoke(key.split("_")[1])
        watch.now = 0.4
        assert (await locks.ring()).caller(key, runtime) is not None, "nothing is read within half a second"
        watch.now = 1.01
        assert (await locks.ring()).caller(key, runtime) is None

    asyncio.run(use())


def test_the_keys_are_read_again_beside_the_requests_before_they_are_old(engine: Engine) -> None:
    runtime, watch = engine.runtime, Stopwatch()

    async def use() -> None:
        locks = Locks(runtime, watch)
        first = await locks.ring()
        watch.now = 0.9
        assert await locks.ring() is first, "nobody waits"
        await locks.settled()
        watch.now = 1.3
        assert await locks.ring() is not first
        await locks.settled()

    asyncio.run(use())


def test_where_the_keys_cannot_be_read_nobody_gets_in_until_they_can(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, watch = engine.runtime, Stopwatch()
    read = runtime.store.read

    def fails(_query: Callable[[Connection], T]) -> T:
        raise Unavailable("the database is gone")

    async def use() -> None:
        locks = Locks(runtime, watch)
        await locks.ring()
        monkeypatch.setattr(runtime.store, "read", fails)
        watch.now = 0.9
        await locks.ring()
        await locks.settled()
        watch.now = 1.5
        with pytest.raises(Unavailable, match="keys of the callers"):
            await locks.ring()
        monkeypatch.setattr(runtime.store, "read", read)
        await locks.ring()

    asyncio.run(use())
