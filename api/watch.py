"""What is seen of every request from outside: how long it took, and a line in the log.

The line is at level debug, for there are many of them, and at warning where the service has failed (5xx). It names the
route and not the path, in which a customer's id may stand.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog

from optimizer import metrics
from optimizer.logs import debugging

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as Request

OTHER: Final = "other"
"""The method or route of a request that was for none of ours: what callers make up is no label."""

_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_FAILED: Final = 500

_log = structlog.get_logger(__name__)


class Watch:
    """Stands before `app`, and changes nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, request: Request, receive: Receive, send: Send) -> None:
        """Pass the request on and the answer back."""
        if request["type"] != "http":
            await self._app(request, receive, send)
            return
        status = 0

        async def out(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began_s = time.perf_counter()
        try:
            await self._app(request, receive, out)
        finally:
            _note(request, status, time.perf_counter() - began_s)


def _note(request: Request, status: int, took_s: float) -> None:
    method = request["method"] if request["method"] in _METHODS else OTHER
    route = getattr(request.get("route"), "path", OTHER)
    # Without an answer the caller has gone away.
    metrics.observe(metrics.HTTP_SECONDS, (method, route, f"{status // 100}xx" if status else "none"), took_s)
    if status >= _FAILED or debugging():
        say = _log.warning if status >= _FAILED else _log.debug
        say("request", method=method, route=route, status=status, duration_ms=round(took_s * 1000, 2))
