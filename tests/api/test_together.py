from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TYPE_CHECKING

from api.together import Answer, Together
from optimizer.bound import BoundEngine
from optimizer.decisions import Decision, DecisionRequest
from optimizer.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.engine import Engine


class Heard(BoundEngine):
    """A real engine of which it is known what was put to it."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, frozenset({"winback-q1"}))
        self.heard: list[list[str]] = []

    def deciding(self, requests: Sequence[DecisionRequest], *, apart: bool = False) -> Future[Sequence[Answer]]:
        self.heard.append([request.request_id for request in requests])
        if "bad" in self.heard[-1]:
            raised: Future[Sequence[Answer]] = Future()
            raised.set_exception(ArithmeticError("nobody foresaw this"))
            return raised
        return super().deciding(requests, apart=apart)


def question(request_id: str) -> DecisionRequest:
    return DecisionRequest("winback-q1", f"customer-of-{request_id}", request_id)


def asked(engine: Heard, *request_ids: str) -> list[Answer | BaseException]:
    async def ask() -> list[Answer | BaseException]:
        together = Together()
        waiting = [together.decide(engine, question(request_id)) for request_id in request_ids]
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    return asyncio.run(ask())


def told(answers: Sequence[Answer | BaseException]) -> list[str | None]:
    return [answer.request_id if isinstance(answer, Decision) else type(answer).__name__ for answer in answers]


def test_questions_of_one_turn_are_put_in_one_call_and_each_caller_gets_the_own_answer(engine: Engine) -> None:
    heard = Heard(engine)
    assert told(asked(heard, "r1", "r2", "r3")) == ["r1", "r2", "r3"]
    assert heard.heard == [["r1", "r2", "r3"]]


def test_questions_of_later_turns_do_not_wait_for_earlier_ones(engine: Engine) -> None:
    heard = Heard(engine)

    async def ask() -> None:
        together = Together()
        first = together.decide(heard, question("r1"))
        await asyncio.sleep(0)
        second = together.decide(heard, question("r2"))
        await asyncio.gather(first, second)

    asyncio.run(ask())
    assert heard.heard == [["r1"], ["r2"]]


def test_a_question_that_makes_the_engine_fail_fails_alone(engine: Engine) -> None:
    heard = Heard(engine)
    assert told(asked(heard, "r1", "bad", "r3")) == ["r1", "ArithmeticError", "r3"]


def test_a_caller_who_has_gone_away_holds_up_no_other(engine: Engine) -> None:
    async def ask() -> Answer:
        together = Together()
        gone = together.decide(engine, question("r1"))
        stays = together.decide(engine, question("r2"))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert told([asyncio.run(ask())]) == ["r2"]


def test_each_tenant_s_engine_is_asked_by_itself(engine: Engine) -> None:
    other = BoundEngine(engine, frozenset())

    async def ask() -> list[Answer]:
        together = Together()
        return list(
            await asyncio.gather(together.decide(engine, question("r1")), together.decide(other, question("r2")))
        )

    first, second = asyncio.run(ask())
    assert isinstance(first, Decision)
    assert isinstance(second, NotFound)


def test_a_store_that_is_closed_is_an_error_for_everybody(engine: Engine) -> None:
    engine.close()
    assert told(asked(Heard(engine), "r1", "r2")) == ["Unavailable", "Unavailable"]
