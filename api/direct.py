"""A single decision past FastAPI: what its route does, without the way there, which costs more than a decision.

The request that is plainly right is answered here. Whatever is not goes to the route, to be explained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from api import bodies
from api.decisions import decide, decided
from api.models import DecisionIn, DecisionOut
from api.plain import written
from api.requests import engine_of
from api.together import Together

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Request

    from optimizer.tenants import Tenants

PATH: Final = "/v1/decisions"

_JSON: Final = b"application/json"
_ROUTE: Final = Route(PATH, decide, methods=["POST"])
"""By its path the request is counted, as one that FastAPI has routed."""


class Direct:
    """Stands before `app`, the routes, and after the doors: it leaves errors to them."""

    def __init__(self, app: ASGIApp, tenants: Tenants) -> None:
        self._app = app
        self._tenants = tenants
        self._together = Together()

    async def __call__(self, request: Request, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if request["type"] != "http" or request["path"] != PATH or request["method"] != "POST":
            await self._app(request, receive, send)
            return
        body = await bodies.whole(receive)
        question = _question(request, body)
        if question is None:
            await self._app(request, bodies.replayed(body, receive), send)
            return
        request["route"] = _ROUTE
        engine = await engine_of(self._tenants, request["state"]["caller"])
        decision = decided(await self._together.decide(engine, question.request()))
        answer = written(DecisionOut.plain(decision))
        headers = [(b"content-type", _JSON), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def _question(request: Request, body: bytes) -> DecisionIn | None:
    """The question that is asked; None where that is not plain to see."""
    kind = next((value for name, value in request["headers"] if name == b"content-type"), b"")
    if kind.partition(b";")[0].strip().lower() != _JSON:
        return None
    try:
        return DecisionIn.model_validate(bodies.read(body))
    except ValueError:
        return None
