"""Decisions: one at a time, many as NDJSON, and what was behind them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from api import ndjson
from api.models import DecisionIn, DecisionLine, DecisionOut, ExplanationOut, Key
from api.openapi import lines, rows
from api.requests import JsonRoute, SpooledBody, TheEngine
from optimizer.decisions import Decision
from optimizer.errors import OptimizerError
from optimizer.logs import debugging

if TYPE_CHECKING:
    from collections.abc import Sequence

router = APIRouter(prefix="/v1", tags=["decisions"], route_class=JsonRoute)

_log = structlog.get_logger(__name__)


@router.post("/decisions")
async def decide(question: DecisionIn, engine: TheEngine) -> DecisionOut:
    """Decide what to send to one customer, or not to send anything.

    The decision is on disk when it is answered. Nothing to send is an answer: `arm` is null and `reason` says why.
    """
    [answer] = await asyncio.wrap_future(engine.deciding([question.request()]))
    return DecisionOut.of(decided(answer))


def decided(answer: Decision | OptimizerError) -> Decision:
    """The decision, noted in the log beside the request that it answers. Raises the answer where it is an error."""
    if isinstance(answer, OptimizerError):
        raise answer
    if debugging():
        _log.debug("decided", campaign=answer.campaign_id, decision_id=answer.decision_id)
    return answer


@router.post(
    "/decisions:batch",
    openapi_extra=rows(DecisionIn),
    responses=lines(DecisionLine),
    response_class=StreamingResponse,
)
def decide_many(body: SpooledBody, engine: TheEngine) -> StreamingResponse:
    """Decide for many customers: a question a line, and for each line its decision or what was wrong with it.

    Each row stands alone: one that fails does not hold up the others. The answer begins when the body is complete.
    """

    def act(questions: Sequence[DecisionIn]) -> Sequence[Decision | OptimizerError]:
        answers = engine.decide([question.request() for question in questions])
        if debugging():
            _log.debug("decided", decision_ids=[each.decision_id for each in answers if isinstance(each, Decision)])
        return answers

    def answer(row: int, decision: Decision) -> dict[str, Any]:
        return {"row": row, "decision": DecisionOut.plain(decision)}

    return StreamingResponse(ndjson.Rows(DecisionIn, act, answer).stream(body), media_type=ndjson.MEDIA_TYPE)


@router.get("/decisions/{decision_id}")
def decision(decision_id: Key, engine: TheEngine) -> DecisionOut:
    """A decision as it was logged."""
    return DecisionOut.of(engine.decision(decision_id))


@router.get("/decisions/{decision_id}/explain")
def explain(decision_id: Key, engine: TheEngine) -> ExplanationOut:
    """Why this decision: every arm that was allowed with score and probability, every other one with its reason."""
    return ExplanationOut.of(engine.explain(decision_id))
