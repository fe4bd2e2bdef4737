"""One request on its way in and its answer on its way out: how much and how slowly is sent, how long it may take."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from api import problems
from api.access import MAX_BATCH_BYTES, MAX_JSON_BYTES, Rule, too_large
from api.deadlines import NEVER, Deadlines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Message, Receive, Scope, Send

    from api.problems import Problem

_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)
_NO_CONTENT: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_DOCS_POLICY: Final = (
    b"default-src 'none'; connect-src 'self'; img-src 'self' data: https://fastapi.tiangolo.com; "
    b"script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"frame-ancestors 'none'"
)
_DOCS: Final = (b"content-security-policy", _DOCS_POLICY)
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller may ask of one process.

    Attributes:
        rate: requests a second for each key.
        body_s: how long a body may take to come; one of many rows, how long it may pause.
        answer_s: how long an answer may take to begin; a run over an audience is not held to it.
    """

    rate: float = 2000.0
    body_s: float = 20.0
    answer_s: float = 30.0


class Visit:
    """A request that is passed on, if at all, with limits around it."""

    __slots__ = (
        "_deadlines", "_given_up", "_late", "_left", "_limits", "_receive", "_request", "_rule", "_send", "_sent_all",
        "_started", "due_at", "request_id",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913, PLR0917 - what a request comes with, and what it has to keep to
        self,
        request: Scope,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
        rule: Rule,
        limits: Limits,
        deadlines: Deadlines,
    ) -> None:
        given = headers.get(b"x-request-id")
        known = given is not None and _ID.fullmatch(given) is not None
        self.request_id: bytes = given if known and given else secrets.token_hex(16).encode()
        self.due_at = NEVER
        self._request = request
        self._receive = receive
        self._send = send
        self._rule = rule
        self._limits = limits
        self._deadlines = deadlines
        self._left = MAX_BATCH_BYTES if rule.rows else MAX_JSON_BYTES
        length = headers.get(b"content-length")
        self._sent_all = b"transfer-encoding" not in headers and length in {None, b"0"}
        if length is not None and length.isdigit() and int(length) > self._left:
            self._left = -1
        self._started = False
        self._given_up = False
        self._late: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Let the application have it. Raises HTTPException where it says that it is too large."""
        if self._left < 0:
            raise HTTPException(413, self._too_large(), {"Connection": "close"})
        self._wait()
        self._deadlines.add(self)

    async def receive(self) -> Message:
        """The next part of the request. Raises HTTPException where it is too large, ClientDisconnect where it ends."""
        message = await self._receive()
        if self._sent_all:
            return message
        if message["type"] == "http.disconnect" or self._given_up:
            raise ClientDisconnect
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413, self._too_large(), {"Connection": "close"})
        if not message.get("more_body", False):
            self._sent_all = True
            self._wait()
        elif self._rule.rows:
            self._wait()
        return message

    async def send(self, message: Message) -> None:
        """The next part of the application's answer."""
        if self._given_up:
            return
        self._started = True
        self.due_at = NEVER
        await self._out(message)

    async def answer(self, problem: Problem, headers: Mapping[str, str] | None) -> None:
        """Answer with a problem, unless an answer has begun."""
        if not self._started:
            self._started = True
            await problems.respond(problem, headers)(self._request, self._receive, self._out)

    def end(self) -> None:
        """It is answered."""
        self._deadlines.discard(self)

    def give_up(self) -> None:
        """Answer instead of the application, which goes on: threads and transactions cannot be stopped halfway."""
        if self._started:
            return
        self._given_up = True
        if self._sent_all:
            detail = "It takes too long. Send it again as it was: it is done once, and you are told what came of it."
            answering = self.answer(problems.problem(503, detail), {"Retry-After": "1"})
        else:
            detail = f"The body did not come within {self._limits.body_s:g} seconds."
            answering = self.answer(problems.problem(408, detail), {"Connection": "close"})
        self._late = asyncio.get_running_loop().create_task(answering)

    def _wait(self) -> None:
        """For the body, or its next part; then for the beginning of the answer."""
        if not self._sent_all:
            self.due_at = asyncio.get_running_loop().time() + self._limits.body_s
        elif self._rule.deadline and not self._started:
            self.due_at = asyncio.get_running_loop().time() + self._limits.answer_s
        else:
            self.due_at = NEVER

    async def _out(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *self._headers()]
        await self._send(message)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        request: Any = self._request
        found = [(b"x-request-id", self.request_id), *_HEADERS, _DOCS if request["path"] == "/docs" else _NO_CONTENT]
        return [*found, _HSTS] if request["scheme"] == "https" else found

    def _too_large(self) -> str:
        return too_large(MAX_BATCH_BYTES if self._rule.rows else MAX_JSON_BYTES)
