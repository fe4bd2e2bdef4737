"""Suppressions: who must not be reached, whatever is decided. They cannot be listed, since only digests are kept.

An address stands in bodies alone: paths are written into the logs of proxies, and a `+` in a query is read as a space.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from api import ndjson
from api.models import SuppressionIn, SuppressionLine, Suppressions, WhomIn
from api.openapi import lines, rows
from api.requests import JsonRoute, SpooledBody, TheCaller, TheEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

router = APIRouter(prefix="/v1", tags=["suppressions"], route_class=JsonRoute)


@router.put("/suppressions")
def suppress(body: SuppressionIn, engine: TheEngine, caller: TheCaller) -> Suppressions:
    """Have a customer or an address not be reached any more, from this moment on, by any campaign.

    What is planned for the customer there is cancelled. Who is suppressed already stays so, for the first cause.
    """
    whom = body.whom()
    engine.suppress([(whom, body.cause)], by=caller.by)
    return Suppressions.held(engine.suppressions(whom))


@router.post(
    "/suppressions:batch",
    openapi_extra=rows(SuppressionIn),
    responses=lines(SuppressionLine),
    response_class=StreamingResponse,
)
def suppress_many(body: SpooledBody, engine: TheEngine, caller: TheCaller) -> StreamingResponse:
    """Suppress many: one a line, and for each line that it is done or what was wrong with it."""

    def act(sent: Sequence[SuppressionIn]) -> Sequence[bool]:
        engine.suppress([(row.whom(), row.cause) for row in sent], by=caller.by)
        return [True] * len(sent)

    def answer(row: int, _done: bool) -> dict[str, Any]:  # noqa: FBT001 - what came of the row
        return {"row": row, "status": "suppressed"}

    return StreamingResponse(ndjson.Rows(SuppressionIn, act, answer).stream(body), media_type=ndjson.MEDIA_TYPE)


@router.post("/suppressions:lift")
def lift(body: WhomIn, engine: TheEngine, caller: TheCaller) -> Suppressions:
    """Let a customer or an address be reached again, who has agreed to it anew; what still stands against it.

    Name the customer: then go the suppressions of the customer and of every address that is stored for the customer.
    With an address goes the address's alone, as when it has a new owner: a customer who unsubscribed or complained
    stays suppressed by id, which the answer about an address does not show. With `channel`, those of that channel
    alone; what was suppressed on every channel is lifted without one.
    """
    return Suppressions.held(engine.lift(body.whom(), by=caller.by))


@router.post("/suppressions:check")
def suppressions(body: WhomIn, engine: TheEngine) -> Suppressions:
    """Whether a customer or an address is suppressed, on any channel or on this one."""
    whom = body.whom()
    found = engine.suppressions(whom)
    return Suppressions.held([bar for bar in found if not whom.channel or bar.channel in {"", whom.channel}])
