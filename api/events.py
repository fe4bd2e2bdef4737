"""Events: one, an array, or NDJSON. Sending one again changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import ValidationError
from starlette import status
from starlette.exceptions import HTTPException

from api import ndjson, problems
from api.models import EventLine, EventObserved, ReceiptOut
from api.openapi import one_or_rows, receipt_or_lines
from api.requests import JsonRoute, SpooledBody, TheEngine, media_type, read_json
from optimizer.errors import OptimizerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.recording import Receipt

MAX_ARRAY: Final = 10_000

router = APIRouter(prefix="/v1", tags=["events"], route_class=JsonRoute)


@router.post(
    "/events",
    openapi_extra=one_or_rows(EventObserved),
    responses=receipt_or_lines(ReceiptOut, EventLine),
    response_class=Response,
)
def record_events(request: Request, body: SpooledBody, engine: TheEngine) -> Response:
    """Report what happened: one event or an array as JSON, or one a line as NDJSON.

    One event is answered with its receipt. Of many, each row is answered with its receipt or with what was wrong with
    it, in an array or as NDJSON; one bad row does not hold up the others. Events may come late, doubled and in any
    order, and before their decision.
    """

    def act(observed: Sequence[EventObserved]) -> Sequence[Receipt | OptimizerError]:
        return engine.receive([event.event() for event in observed])

    def answer(row: int, receipt: Receipt) -> dict[str, Any]:
        return {"row": row, "event_id": receipt.event_id, "status": receipt.status}

    rows = ndjson.Rows(EventObserved, act, answer)
    kind = media_type(request)
    if kind in ndjson.MEDIA_TYPES:
        return StreamingResponse(rows.stream(body), media_type=ndjson.MEDIA_TYPE)
    if kind != "application/json":
        expected = f"expected Content-Type: application/json or {ndjson.MEDIA_TYPE}, got {kind or 'none'}"
        raise HTTPException(status.HTTP_415_UNSUPPORTED_MEDIA_TYPE, expected)
    value = read_json(body)
    if isinstance(value, list):
        if len(value) > MAX_ARRAY:
            detail = f"The array has more than {MAX_ARRAY:,} events; send it in parts, or as NDJSON."
            raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, detail)
        return _answer(b"[" + b",".join(rows.lines(enumerate(value, 1))) + b"]")
    try:
        event = EventObserved.model_validate(value)
    except ValidationError as error:
        return problems.respond(problems.refused(error))
    [receipt] = act([event])
    if isinstance(receipt, OptimizerError):
        raise receipt
    return _answer(ReceiptOut.of(receipt).model_dump_json().encode())


def _answer(content: bytes) -> Response:
    return Response(content, media_type="application/json")
