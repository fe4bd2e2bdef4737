"""How requests are read: strict JSON, a limit to their size, and large bodies by way of a file."""

from __future__ import annotations

from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from fastapi import Depends, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette import status
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from optimizer.bound import BoundEngine
from optimizer.engine import Engine
from optimizer.keys import Caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from optimizer.tenants import Tenants

MAX_ROWS: Final = 1_000_000
_JSON: Final = "application/json"
_IN_MEMORY_BYTES: Final = 4 << 20


class JsonRequest(Request):
    """A request whose JSON is read by orjson: no NaN, no lone surrogates, no integers beyond what can be stored."""

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


class DirectRoute(APIRoute):
    """A JSON route whose function takes a model and the engine, and is called without FastAPI's way of getting there.

    That way costs more than a decision does. Whatever is not plainly right goes it all the same, to be explained.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route."""
        explain, act = super().get_route_handler(), self.endpoint
        assert self.body_field is not None  # noqa: S101 - there is none without a model
        model: Any = self.body_field.field_info.annotation

        async def handle(request: Request) -> Response:
            request = JsonRequest(request.scope, request.receive)
            if media_type(request) != _JSON:
                return await explain(request)
            try:
                sent = model.model_validate(await request.json())
            except ValueError:
                return await explain(request)
            answer = await act(sent, await _engine(request))
            return Response(answer.model_dump_json(), media_type=_JSON)

        return handle


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
    caller: Caller = request.state.caller
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
