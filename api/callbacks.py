"""Callbacks: what a provider reports of the touches that it was given, signed by it instead of sent with a key."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette import status
from starlette.exceptions import HTTPException

from api import ndjson, problems
from api.models import CallbackIn, EventLine, Key
from api.openapi import line_or_lines, one_or_array
from api.problems import FieldError, Problem
from api.requests import JsonRoute, SpooledBody, media_type, read_json
from optimizer.recording import EventIn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.dispatch.routes import Callbacks
    from optimizer.errors import OptimizerError
    from optimizer.recording import Receipt
    from optimizer.tenants import Tenants

MAX_ARRAY: Final = 10_000

router = APIRouter(prefix="/v1", tags=["events"], route_class=JsonRoute)


@router.post(
    "/callbacks/{channel}",
    openapi_extra=one_or_array(CallbackIn),
    responses=line_or_lines(EventLine),
    response_class=Response,
)
def report(channel: Key, request: Request, body: SpooledBody) -> Response:
    """Report what became of touches: one event, or an array of them, signed as Standard Webhooks has it.

    The secret is the one that the settings give for the channel's callbacks. Each row is answered with what became of
    it or with what was wrong with it, and holds up no other. Sending it again changes nothing.
    """
    tenants: Tenants = request.app.state.tenants
    route = tenants.first.routes.channels.get(channel)
    signed = body.read()
    body.seek(0)
    now_s = tenants.first.runtime.now_us() / 1e6
    callbacks = route.callbacks if route is not None else None
    message_id = callbacks.signer.verified(request.headers, signed, now_s) if callbacks is not None else None
    if callbacks is None or message_id is None:
        # The same whether the channel has callbacks or not.
        detail = "It is not signed as the callbacks of this channel are, or not now."
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, detail, {"WWW-Authenticate": "Signature"})
    kind = media_type(request)
    if kind != "application/json":
        raise HTTPException(
            status.HTTP_415_UNSUPPORTED_MEDIA_TYPE, f"expected Content-Type: application/json, got {kind or 'none'}"
        )
    value = read_json(body)
    if isinstance(value, list) and len(value) > MAX_ARRAY:
        detail = f"The array has more than {MAX_ARRAY:,} events; send it in parts."
        raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, detail)
    reports = _Reports(channel, message_id, callbacks, tenants)
    rows = ndjson.Rows(CallbackIn, reports.record, reports.answer)
    lines = rows.lines(enumerate(value if isinstance(value, list) else [value], 1))
    content = b"[" + b",".join(lines) + b"]" if isinstance(value, list) else lines[0]
    return Response(content, media_type="application/json")


class _Reports:
    """What one signed message reports."""

    def __init__(self, channel: str, message_id: str, callbacks: Callbacks, tenants: Tenants) -> None:
        self._channel = channel
        self._message = sha256(message_id.encode()).hexdigest()[:32]
        self._callbacks = callbacks
        self._tenants = tenants

    def record(self, rows: Sequence[CallbackIn]) -> Sequence[Receipt | OptimizerError | Problem]:
        """Record those whose name and tenant are known, each with the tenant that it names."""
        engines = {engine.runtime.tenant: engine for engine in self._tenants.engines()}
        results: list[Receipt | OptimizerError | Problem | None] = [None] * len(rows)
        events: dict[str, dict[int, EventIn]] = {}
        for place, row in enumerate(rows):
            name = self._callbacks.names.get(row.name)
            if name is None:
                results[place] = _wrong("name", f"no event of this channel's callbacks; allowed: {self._allowed()}")
            elif row.tenant not in engines:
                results[place] = _wrong("tenant", "there is no such tenant")
            else:
                events.setdefault(row.tenant, {})[place] = self._event(row, name, place)
        for tenant, mine in events.items():
            for place, receipt in zip(mine, engines[tenant].receive(list(mine.values())), strict=True):
                results[place] = receipt
        return [result for result in results if result is not None]

    def _event(self, row: CallbackIn, name: str, place: int) -> EventIn:
        fields = {**row.fields, "channel": self._channel} | ({"permanent": True} if row.permanent else {})
        # Without an id of its own a row is known by its place in the message, which comes again as it was.
        own = row.id or f"{self._message}:{place}"
        return EventIn(f"{self._channel}:{own}", name, row.occurred_at, row.decision_id, fields=fields)

    def _allowed(self) -> str:
        return ", ".join(self._callbacks.names)

    @staticmethod
    def answer(row: int, receipt: Receipt) -> dict[str, Any]:
        """The line of one row."""
        return {"row": row, "event_id": receipt.event_id, "status": receipt.status}


def _wrong(path: str, message: str) -> Problem:
    return problems.invalid([FieldError(path=path, message=message)])
