"""How requests are read: strict JSON, a limit to their size, and large bodies by way of a file."""

from __future__ import annotations

from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette import status
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from optimizer.engine import Engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from fastapi.responses import Response

MAX_JSON_BYTES: Final = 8 << 20
MAX_BATCH_BYTES: Final = 1 << 30
_IN_MEMORY_BYTES: Final = 4 << 20


class JsonRequest(Request):
    """A request whose JSON is read by orjson: no NaN, no lone surrogates, no integers beyond what can be stored."""

    async def body(self) -> bytes:
        """The whole body. Raises 413 beyond `MAX_JSON_BYTES`."""
        if not hasattr(self, "_body"):
            chunks = [chunk async for chunk in limited(self, MAX_JSON_BYTES)]
            self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:  # noqa: ANN401 (the signature of Starlette)
        """The body as JSON values. Raises `json.JSONDecodeError`."""
        return orjson.loads(await self.body())


class JsonRoute(APIRoute):
    """A route that reads its requests as `JsonRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route, given requests of the stricter kind."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return strict


async def limited(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The chunks of a body as they arrive. Raises 413 once there are more than `max_bytes`."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, too_large(max_bytes))
        yield chunk


def too_large(max_bytes: int) -> str:
    """What to say to somebody who sends more than `max_bytes`."""
    return f"The body is larger than {max_bytes >> 20} MiB; send it in parts, or many rows as NDJSON."


async def _spooled(request: Request) -> AsyncIterator[SpooledTemporaryFile[bytes]]:
    # The whole body is taken before the answer begins: many clients read nothing before they have sent everything,
    # and with the answer's first megabytes unread both sides would wait for each other.
    with SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
        async for chunk in limited(request, MAX_BATCH_BYTES):
            await run_in_threadpool(file.write, chunk)
        file.seek(0)
        yield file


async def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


SpooledBody = Annotated[SpooledTemporaryFile[bytes], Depends(_spooled)]
"""The body as a file at its start, in memory while small; it lives until the answer has been sent."""

TheEngine = Annotated[Engine, Depends(_engine)]
"""The engine that the application was made with."""


def media_type(request: Request) -> str:
    """The Content-Type without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
