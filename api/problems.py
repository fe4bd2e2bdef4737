"""Errors as `application/problem+json` (RFC 9457): one shape for every one of them, whichever part found it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette import status
from starlette.exceptions import HTTPException
from starlette.routing import Match

from optimizer.errors import OptimizerError
from optimizer.tracebacks import told

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fastapi import FastAPI, Request

MEDIA_TYPE: Final = "application/problem+json"
UNAVAILABLE: Final = "The service cannot do this at the moment; try again. Its log has the details."
MAX_ERRORS: Final = 1000
"""How many errors of one request are told at most; there could be as many as it has bytes."""
INTERNAL: Final = "Something went wrong in the service; its log has the details."

_KINDS: Final = {
    400: ("Bad Request", "bad_request"),
    401: ("Unauthorized", "unauthorized"),
    403: ("Forbidden", "forbidden"),
    404: ("Not Found", "not_found"),
    405: ("Method Not Allowed", "method_not_allowed"),
    408: ("Request Timeout", "request_timeout"),
    409: ("Conflict", "conflict"),
    413: ("Content Too Large", "content_too_large"),
    415: ("Unsupported Media Type", "unsupported_media_type"),
    422: ("Unprocessable Content", "invalid_input"),
    429: ("Too Many Requests", "too_many_requests"),
    431: ("Request Header Fields Too Large", "headers_too_large"),
    500: ("Internal Server Error", OptimizerError.code),
    503: ("Service Unavailable", "unavailable"),
}
"""Title and code of each status; the names of the standard library change between versions of Python."""

_log = structlog.get_logger(__name__)


class FieldError(BaseModel):
    """One thing wrong in what was sent."""

    path: str = Field(description="Where in the body (or `path.NAME`, `query.NAME`); empty: the body as a whole.")
    message: str = Field(description="What is wrong, and what is allowed.")


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Unprocessable Content",
                    "status": 422,
                    "code": "invalid_input",
                    "detail": "The request is not valid: 1 error.",
                    "errors": [{"path": "customer_id", "message": "Field required"}],
                }
            ]
        }
    )

    type: str = Field(default="about:blank", description="Always `about:blank`: `code` tells the kind.")
    title: str = Field(description="The HTTP status in words.")
    status: int = Field(description="The HTTP status.")
    code: str = Field(description="The kind of problem, stable: clients may rely on it.")
    detail: str = Field(description="What was wrong here, and what to do about it.")
    errors: list[FieldError] = Field(default=[], description="Everything wrong in what was sent.")


def problem(status_code: int, detail: str, code: str | None = None, errors: Sequence[FieldError] = ()) -> Problem:
    """A problem with the title, and unless given the code, that belongs to its status."""
    title, usual_code = _KINDS.get(status_code, ("Error", "error"))
    return Problem(
        title=title,
        status=status_code,
        code=code or usual_code,
        detail=detail,
        errors=list(errors),
    )


def of_error(error: OptimizerError) -> Problem:
    """The problem that an error of the library is; what service or database are at fault for stays in the log."""
    if error.http_status == status.HTTP_500_INTERNAL_SERVER_ERROR:
        _log.error("request_failed", error=told(error))
        return internal()
    if error.http_status == status.HTTP_503_SERVICE_UNAVAILABLE and error.__cause__ is not None:
        return problem(error.http_status, UNAVAILABLE, error.code)
    return problem(error.http_status, error.message, error.code)


def retry(error: OptimizerError) -> dict[str, str]:
    """The headers of an error's answer: when to try again, where that may help."""
    return {"Retry-After": "1"} if error.http_status == status.HTTP_503_SERVICE_UNAVAILABLE else {}


def internal() -> Problem:
    """The problem of an error that nobody foresaw, without its details."""
    return problem(status.HTTP_500_INTERNAL_SERVER_ERROR, INTERNAL)


def invalid(errors: Sequence[FieldError]) -> Problem:
    """What was sent does not have the right form."""
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    detail = f"The request is not valid: {count}."
    return problem(status.HTTP_422_UNPROCESSABLE_CONTENT, detail, errors=errors)


def refused(error: ValidationError) -> Problem:
    """What was sent is not what the model says."""
    if error.error_count() > MAX_ERRORS:
        return problem(422, f"The request is not valid: {error.error_count():,} errors, too many to tell.")
    return invalid(field_errors(error.errors(include_url=False)))


def field_errors(errors: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """Pydantic's errors with their places as paths: `attributes.plan`, `[2].name`, `query.limit`."""
    found = []
    for error in errors:
        reason = (error.get("ctx") or {}).get("error")
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "json_invalid":
            message = f"{message}: {reason}"
        found.append(FieldError(path=_place(error["loc"]), message=message))
    return found


def respond(found: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The HTTP answer that a problem is."""
    content = found.model_dump_json()
    return Response(content, found.status, dict(headers or {}), MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem, routes that do not exist included."""

    @app.exception_handler(OptimizerError)
    async def known(_request: Request, error: OptimizerError) -> Response:
        return respond(of_error(error), retry(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        if isinstance(error.body, bytes):
            sent = request.headers.get("content-type", "none")
            return respond(problem(415, f"expected Content-Type: application/json, got {sent}"))
        return respond(invalid(field_errors(error.errors())))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        detail = error.detail
        if error.status_code == status.HTTP_404_NOT_FOUND:
            detail = f"There is nothing at {request.url.path}; /docs shows what there is."
        elif error.status_code == status.HTTP_405_METHOD_NOT_ALLOWED:
            allowed = ", ".join(_methods(request)) or "none of these"
            detail = f"{request.url.path} does not take {request.method}; it takes {allowed}."
            return respond(problem(error.status_code, detail), {"Allow": allowed})
        return respond(problem(error.status_code, detail), error.headers)

    @app.exception_handler(Exception)
    async def unforeseen(_request: Request, _error: Exception) -> Response:
        # The server logs the exception itself: Starlette raises it again after this answer.
        return respond(internal())


def _methods(request: Request) -> list[str]:
    """What the path takes; each route knows of its own method alone."""
    routes = request.app.router.routes
    scopes = {method: {**request.scope, "method": method} for method in ("DELETE", "GET", "POST", "PUT")}
    return [name for name, scope in scopes.items() if any(r.matches(scope)[0] is Match.FULL for r in routes)]


def _place(loc: Sequence[int | str]) -> str:
    parts = list(loc)
    if parts and parts[0] == "body":
        del parts[0]
    if len(parts) == 1 and isinstance(parts[0], int):
        # Where malformed JSON stopped making sense, in characters from its start.
        return ""
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
