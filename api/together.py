"""Questions that come at the same time are put to the engine together, and its thread wakes the event loop once.

To hand each over by itself, and to be woken for each, costs as much as a decision does among others.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from optimizer.errors import OptimizerError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from optimizer.decisions import Decision, DecisionRequest
    from optimizer.engine import Engine

Answer: TypeAlias = "Decision | OptimizerError"
_Asked: TypeAlias = "tuple[DecisionRequest, asyncio.Future[Answer]]"


class Together:
    """Gathers what is asked in one turn of the event loop. Used in one event loop."""

    def __init__(self) -> None:
        self._asked: dict[Engine, list[_Asked]] = {}

    def decide(self, engine: Engine, request: DecisionRequest) -> asyncio.Future[Answer]:
        """The decision, once it is on disk, or why there is none."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._ask, loop)
        self._asked.setdefault(engine, []).append((request, answer))
        return answer

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        asked, self._asked = self._asked, {}
        for engine, group in asked.items():
            _put(loop, engine, group)


def _put(loop: asyncio.AbstractEventLoop, engine: Engine, group: Sequence[_Asked]) -> None:
    def done(deciding: Future[Sequence[Answer]]) -> None:
        loop.call_soon_threadsafe(_tell, loop, engine, group, deciding)

    try:
        engine.deciding([request for request, _ in group], apart=True).add_done_callback(done)
    except Exception as error:  # noqa: BLE001 - whoever waits is told
        _fail(group, error)


def _tell(
    loop: asyncio.AbstractEventLoop, engine: Engine, group: Sequence[_Asked], deciding: Future[Sequence[Answer]]
) -> None:
    error = deciding.exception()
    if error is None:
        for (_, answer), found in zip(group, deciding.result(), strict=True):
            if not answer.done():
                answer.set_result(found)
    elif len(group) == 1 or isinstance(error, Unavailable):
        _fail(group, error)
    else:
        # One that fails is no reason for the others to.
        for one in group:
            _put(loop, engine, [one])


def _fail(group: Sequence[_Asked], error: BaseException) -> None:
    for _, answer in group:
        if not answer.done():
            answer.set_exception(error)
