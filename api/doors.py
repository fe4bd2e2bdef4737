"""The doors: what every request passes before a route sees it, and every answer on its way out.

One ASGI middleware, on the path of every decision: it looks the headers up once, asks the keys that are in memory, and
adds no task and no thread. It gives each request an id, finds its caller and refuses what the caller may not do, limits
how often, how much and how slowly is sent, ends what takes too long, and puts the security headers on every answer.

It leaves `request_id` and `caller` in the state of the request, and the ids of both on every line logged for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from structlog.contextvars import bind_contextvars

from api import problems
from api.access import ALIVE, CAMPAIGNS, READY, Rule, rule_of
from api.deadlines import Deadlines
from api.locks import Locks
from api.once import HEADER as IDEMPOTENCY_KEY
from api.once import Once
from api.rates import Rates
from api.visit import Limits, Visit
from optimizer import metrics
from optimizer.bound import no_campaign
from optimizer.errors import OptimizerError
from optimizer.ids import DEFAULT_TENANT
from optimizer.keys import Caller, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Request

    from api.problems import Problem
    from optimizer.runtime import Runtime

NOBODY: Final = Caller(None, DEFAULT_TENANT, frozenset())
"""Who has no key, where one is needed."""
ANYBODY: Final = Caller(None, DEFAULT_TENANT, frozenset({Scope.ADMIN}))
"""Whoever asks a service that never had a key; it answers on its own machine alone."""

_LOCAL: Final = re.compile(rb"(?:https?://)?(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_BEARER: Final = b"bearer "
_SINGLE: Final = frozenset({
    b"authorization", b"content-encoding", b"content-type", b"host", b"idempotency-key", b"origin", b"x-api-key",
})  # fmt: skip
"""Of two of these a proxy may look at the one and we at the other."""


class Refused(Exception):
    """A request that goes no further, with its answer."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.headers = headers


class Doors:
    """Stands before `app`; the keys are those of the store of `runtime`."""

    def __init__(self, app: ASGIApp, runtime: Runtime, limits: Limits) -> None:
        self._app = app
        self._once = Once(app, runtime)
        self._runtime = runtime
        self._limits = limits
        self._locks = Locks(runtime)
        self._rates = Rates(limits.rate)
        self._deadlines = Deadlines(min(limits.body_s, limits.answer_s) / 20)

    async def __call__(self, request: Request, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer it."""
        if request["type"] != "http":
            await self._app(request, receive, send)
            return
        headers = dict(request["headers"])
        rule = rule_of(request["method"], request["path"])
        visit = Visit(request, headers, receive, send, rule, self._limits, self._deadlines)
        try:
            state = request.setdefault("state", {})
            state["request_id"] = visit.request_id.decode("ascii")
            bind_contextvars(request_id=state["request_id"])
            state["caller"] = caller = await self._admitted(request, headers, rule)
            if caller.key_id is not None:
                bind_contextvars(key=caller.key_id)
            visit.begin()
            # Nobody without a key has anything written before it is known that they may.
            once = IDEMPOTENCY_KEY in headers and request["method"] == "POST" and not rule.open
            await (self._once if once else self._app)(request, visit.receive, visit.send)
        except Refused as refused:
            metrics.HTTP_REFUSED.labels(refused.problem.code).inc()
            await visit.answer(refused.problem, refused.headers)
        except OptimizerError as error:
            await visit.answer(problems.of_error(error), problems.retry(error))
        except HTTPException as error:
            await visit.answer(problems.problem(error.status_code, str(error.detail)), error.headers)
        except ClientDisconnect:
            return
        except Exception:
            await visit.answer(problems.internal(), None)
            raise
        finally:
            visit.end()

    async def _admitted(self, request: Request, headers: Mapping[bytes, bytes], rule: Rule) -> Caller:
        """Who asks. Raises Refused or OptimizerError where they may not."""
        path: str = request["path"]
        _check_form(request, headers)
        if path == ALIVE:
            return NOBODY
        if rule.open:
            # All who ask for it together: it is not known who they are.
            self._check_rate(rule.path, "This may be asked")
            return NOBODY
        ring = await self._locks.ring()
        if not ring.locked:
            _check_local(headers)
            return ANYBODY
        key = _key(headers)
        if path == READY and key is None:
            return NOBODY
        caller = ring.caller(key, self._runtime) if key is not None else None
        if caller is None:
            raise _unknown(key)
        _check_allowed(caller, rule, path)
        self._check_rate(caller.key_id or "", "This key may ask")
        return caller

    def _check_rate(self, caller: str, what: str) -> None:
        wait_s = self._rates.wait_s(caller)
        if wait_s > 0:
            detail = f"{what} {self._limits.rate:g} times a second; try again a little later."
            raise Refused(problems.problem(429, detail), {"Retry-After": str(int(wait_s) + 1)})


def _check_form(request: Request, headers: Mapping[bytes, bytes]) -> None:
    """Refuse what could be read in more than one way, or not be kept by every database."""
    path: str = request["path"]
    if "\0" in path or b"%00" in request["query_string"]:
        raise Refused(problems.problem(422, "The address of the request holds a NUL character."))
    if "\ufffd" in path and path.count("\ufffd") != request.get("raw_path", b"").upper().count(b"%EF%BF%BD"):
        # The server puts this in the place of every byte that is none, which makes one id of many.
        raise Refused(problems.problem(422, "The address of the request is no UTF-8 where it is decoded."))
    if len(headers) != len(request["headers"]):
        seen: set[bytes] = set()
        for name, _ in request["headers"]:
            if name in seen and name in _SINGLE:
                raise Refused(problems.problem(400, f"The header {name.decode()} stands there more than once."))
            seen.add(name)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        detail = "A body is taken as it is: send it without Content-Encoding."
        raise Refused(problems.problem(415, detail), {"Accept-Encoding": "identity"})


def _key(headers: Mapping[bytes, bytes]) -> str | None:
    sent = headers.get(b"authorization")
    if sent is not None and sent[: len(_BEARER)].lower() == _BEARER:
        return sent[len(_BEARER) :].strip().decode("latin-1")
    key = headers.get(b"x-api-key")
    return None if key is None else key.decode("latin-1")


def _unknown(key: str | None) -> Refused:
    if key is None:
        detail = "This service needs a key: send it as Authorization: Bearer KEY, or as X-Api-Key: KEY."
        return Refused(problems.problem(401, detail), {"WWW-Authenticate": "Bearer"})
    detail = "The key is not known, or is no longer good; optimizer keys list shows which are."
    return Refused(problems.problem(401, detail), {"WWW-Authenticate": 'Bearer error="invalid_token"'})


def _check_allowed(caller: Caller, rule: Rule, path: str) -> None:
    if rule.scope is not None and not caller.may(rule.scope):
        detail = f"This needs a key with the scope {rule.scope}."
        headers = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{rule.scope}"'}
        raise Refused(problems.problem(403, detail), headers)
    if rule.operator and caller.tenant != DEFAULT_TENANT:
        raise Refused(problems.problem(403, "This is the operator's, whose keys are of the tenant default."))
    if caller.campaigns is None:
        return
    if rule.shared:
        detail = "This key is bound to campaigns, and this belongs to none; take a key that is not bound."
        raise Refused(problems.problem(403, detail))
    if path.startswith(CAMPAIGNS):
        campaign_id = path[len(CAMPAIGNS) :].partition("/")[0]
        if not caller.sees(campaign_id):
            raise no_campaign(campaign_id)


def _check_local(headers: Mapping[bytes, bytes]) -> None:
    """Without keys nobody gets in by way of a browser on this machine that shows somebody else's page."""
    for name in (b"host", b"origin"):
        value = headers.get(name)
        if value is not None and not _LOCAL.fullmatch(value):
            detail = (
                f"No key was made yet, so only this machine is answered, by an address of its own; {name.decode()} is "
                "another one. Make a key: optimizer keys create --scope admin"
            )
            raise Refused(problems.problem(403, detail))
