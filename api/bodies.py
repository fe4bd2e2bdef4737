"""The body of a request as a whole: as bytes, for what looks at it before the application does, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from starlette import status
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from optimizer.limits import MAX_NAMES

if TYPE_CHECKING:
    from starlette.types import Message, Receive


async def whole(receive: Receive) -> bytes:
    """All of it. Raises ClientDisconnect where the caller goes away before."""
    chunks = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


def replayed(body: bytes, receive: Receive) -> Receive:
    """What the application receives then: the body at once, and whatever else comes."""
    left = [body]

    async def again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return again


def read(body: bytes) -> object:
    """The JSON of a body: no NaN, no lone surrogates, no integers beyond what can be stored.

    Raises `json.JSONDecodeError`, and HTTPException for far too many fields, each of which could be wrong.
    """
    value = orjson.loads(body)
    if isinstance(value, dict) and len(value) > MAX_NAMES:
        detail = f"An object has at most {MAX_NAMES} fields."
        raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, detail)
    return value
