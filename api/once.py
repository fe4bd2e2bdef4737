"""`Idempotency-Key`: a POST that is sent again is answered as it was the first time, by whichever process it reaches.

The first request claims the key in the database, is answered, and leaves its answer there for a day. Only what
succeeded is kept: a request that failed changed nothing, and is simply tried again. A claim whose process died is given
up after a minute; every POST of ours may be repeated safely by itself.

Claims are one caller's, method's and path's. Requests without the header never come here.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api import bodies, ndjson, problems
from optimizer.engine import Job
from optimizer.errors import OptimizerError
from optimizer.store import idempotency
from optimizer.store.idempotency import AnswerRow

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from api.problems import Problem
    from optimizer.keys import Caller
    from optimizer.runtime import Runtime

HEADER: Final = b"idempotency-key"
KEPT_US: Final = 24 * 3600 * 1_000_000
"""How long an answer is kept."""
LOST_US: Final = 60 * 1_000_000
"""A request that has not been answered for so long is taken for dead."""

_KEY: Final = re.compile(rb"[\x21-\x7e]{1,255}")
_MAX_KEPT: Final = 1 << 20

_log = structlog.get_logger(__name__)


class Once:
    """Passes a request with the header on to `app`, unless it was answered before."""

    def __init__(self, app: ASGIApp, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that carries the header."""
        headers = dict(scope["headers"])
        wrong = _wrong(scope, headers)
        if wrong is not None:
            await problems.respond(wrong)(scope, receive, send)
            return
        body = await bodies.whole(receive)
        claim = self._claim(scope, headers[HEADER].decode("ascii"), headers, body)
        before = await run_in_threadpool(self._claimed, claim)
        if before is not None:
            await _answer_again(before, claim, scope, receive, send)
            return
        await self._answer(claim, scope, bodies.replayed(body, receive), send)

    def _claim(self, scope: Scope, key: str, headers: dict[bytes, bytes], body: bytes) -> AnswerRow:
        caller: Caller = scope["state"]["caller"]
        asked = sha256(scope["query_string"] + b"\0" + headers.get(b"content-type", b"") + b"\0" + body).hexdigest()
        runtime = self._runtime
        digest = partial(runtime.secret.digest, "idempotency")
        # A path may be longer than an index of PostgreSQL takes.
        who = f"{caller.by} {scope['method']} {digest(scope['path'])}"
        return AnswerRow(caller.tenant, who, key, digest(asked), runtime.now_us())

    def _claimed(self, claim: AnswerRow) -> AnswerRow | None:
        now_us = claim.created_us
        change = partial(idempotency.claim, row=claim, lost_us=now_us - LOST_US, over_us=now_us - KEPT_US)
        return self._runtime.store.write(change)

    async def _answer(self, claim: AnswerRow, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, keep what succeeded, and only then tell it."""
        told: list[Message] = []

        async def keep(message: Message) -> None:
            told.append(message)

        try:
            await self._app(scope, receive, keep)
        except BaseException:
            await run_in_threadpool(self._settle, claim)
            raise
        await run_in_threadpool(self._settle, _answered(claim, told))
        for message in told:
            await send(message)

    def _settle(self, claim: AnswerRow) -> None:
        try:
            settle = idempotency.release if claim.status is None else idempotency.answered
            self._runtime.store.write(partial(settle, row=claim))
        except OptimizerError as error:
            # What was asked for is done or not, whatever becomes of this: the claim ends by itself.
            _log.warning("answer_not_kept", error=error.code)


def forgetting(runtime: Runtime) -> Job:
    """What removes the answers that are kept no longer."""

    def run() -> int:
        over_us = runtime.now_us() - KEPT_US
        return runtime.store.write(partial(idempotency.forget, over_us=over_us))

    return Job("forget_answers", timedelta(minutes=10), run)


def _wrong(scope: Scope, headers: dict[bytes, bytes]) -> Problem | None:
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    if kind in ndjson.MEDIA_TYPES or scope["path"].endswith(":batch"):
        detail = (
            "Idempotency-Key is for single requests; each row of NDJSON has an id of its own. Leave the header out."
        )
        return problems.problem(422, detail)
    if not _KEY.fullmatch(headers[HEADER]):
        return problems.problem(422, "Idempotency-Key: expected 1 to 255 visible ASCII characters.")
    return None


def _answered(claim: AnswerRow, told: list[Message]) -> AnswerRow:
    """The claim with its answer, if that is one to be kept."""
    start = next((message for message in told if message["type"] == "http.response.start"), None)
    body = b"".join(message.get("body", b"") for message in told)
    if start is None or not 200 <= start["status"] < 300 or len(body) > _MAX_KEPT:  # noqa: PLR2004 - success
        return claim
    media_type = dict(start["headers"]).get(b"content-type", b"application/json").decode("latin-1")
    return claim._replace(status=start["status"], media_type=media_type, answer=body)


async def _answer_again(before: AnswerRow, claim: AnswerRow, scope: Scope, receive: Receive, send: Send) -> None:
    if before.request_hash != claim.request_hash:
        detail = "This Idempotency-Key was used with another body: repeat that one as it was, or take a new key."
        answer = problems.respond(problems.problem(422, detail, "idempotency_key_reused"))
    elif before.status is None:
        detail = "The first request with this Idempotency-Key is still running; try again for its answer."
        answer = problems.respond(problems.problem(409, detail, "idempotency_key_running"), {"Retry-After": "1"})
    else:
        answer = Response(before.answer, before.status, {"Idempotent-Replayed": "true"}, before.media_type)
    await answer(scope, receive, send)
