"""How requests are read: strict JSON, a limit to their size, and large bodies by way of a file."""

from __future__ import annotations

import os
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette import status
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api import bodies
from api.access import MAX_JSON_BYTES, too_large
from optimizer.bound import BoundEngine
from optimizer.engine import Engine
from optimizer.keys import Caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from fastapi.responses import Response

    from optimizer.tenants import Tenants

MAX_ROWS: Final = 1_000_000
_IN_MEMORY_BYTES: Final = 4 << 20


class JsonRequest(Request):
    """A request whose JSON is read by `api.bodies.read`."""

    async def json(self) -> Any:  # noqa: ANN401 (the signature of Starlette)
        """The body as JSON values, see there."""
        return bodies.read(await self.body())


class JsonRoute(APIRoute):
    """A route that reads its requests as `JsonRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route, given requests of the stricter kind."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(JsonRequest(request.scope, request.receive))

        return strict


async def _spooled(request: Request) -> AsyncIterator[SpooledTemporaryFile[bytes]]:
    # The whole body is taken before the answer begins: many clients read nothing before they have sent everything,
    # and with the answer's first megabytes unread both sides would wait for each other.
    with SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
        rows = 0
        async for chunk in request.stream():
            rows += chunk.count(b"\n")
            if rows > MAX_ROWS:
                detail = f"The body has more than {MAX_ROWS:,} rows; send it in parts."
                raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, detail)
            await run_in_threadpool(file.write, chunk)
        file.seek(0)
        yield file


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def _engine(request: Request) -> Engine:
    tenants: Tenants = request.app.state.tenants
    return await engine_of(tenants, request.state.caller)


async def engine_of(tenants: Tenants, caller: Caller) -> Engine:
    """The engine of the caller's tenant; one bound to campaigns where the caller's key is."""
    engine = tenants.known(caller.tenant)
    if engine is None:
        engine = await run_in_threadpool(tenants.engine, caller.tenant)
    return engine if caller.campaigns is None else BoundEngine(engine, caller.campaigns)


SpooledBody = Annotated[SpooledTemporaryFile[bytes], Depends(_spooled)]
"""The body as a file at its start, in memory while small; it lives until the answer has been sent."""

TheEngine = Annotated[Engine, Depends(_engine)]
"""The engine of the caller's tenant; one bound to campaigns where the caller's key is."""

TheCaller = Annotated[Caller, Depends(_caller)]
"""Who asks."""


def media_type(request: Request) -> str:
    """The Content-Type without its parameters, in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_json(body: SpooledTemporaryFile[bytes]) -> object:
    """A body that came by way of a file, as JSON values. Raises HTTPException and RequestValidationError."""
    size = body.seek(0, os.SEEK_END)
    if size > MAX_JSON_BYTES:
        raise HTTPException(status.HTTP_413_CONTENT_TOO_LARGE, too_large(MAX_JSON_BYTES))
    body.seek(0)
    try:
        return bodies.read(body.read())
    except orjson.JSONDecodeError as error:
        place = ("body", error.pos)
        raise RequestValidationError(
            [{"type": "json_invalid", "loc": place, "msg": "JSON decode error", "ctx": {"error": error.msg}}]
        ) from error
