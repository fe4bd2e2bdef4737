"""The OpenAPI document: what FastAPI finds out by itself, and what it cannot know: NDJSON and problem documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api import ndjson, problems
from api.access import ALIVE, READY, UNSUBSCRIBE, rule_of
from api.ndjson import Rejected
from api.problems import Problem

if TYPE_CHECKING:
    from fastapi import FastAPI
    from pydantic import BaseModel

REF: Final = "#/components/schemas/{model}"
FAILURES: Final[dict[int | str, dict[str, Any]]] = {422: {"model": Problem}}
"""For the application: that a route fails with a problem. `document` says with which ones."""

_WHY: Final = {
    400: "The request can be read in more than one way.",
    401: "There is no key, or one that is not good.",
    403: "The key is not good for this.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "It contradicts what is recorded, or is being done.",
    413: "It is too large.",
    415: "The body is not of a kind that is taken here.",
    422: "What was sent is not valid.",
    429: "The key asks too often.",
    503: "It cannot be done at the moment.",
}
_NEVER: Final = {
    ALIVE: {401, 403, 404, 409, 429},
    UNSUBSCRIBE + "{token}": {401, 403, 409},
}
_HEADERS: Final = {
    401: {"WWW-Authenticate": "How to prove who asks."},
    429: {"Retry-After": "After how many seconds to ask again."},
    503: {"Retry-After": "After how many seconds to ask again."},
}

_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "X-Api-Key: KEY"},
}
_SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"header": []}, {}]
"""A key in either header, or none as long as none was ever made."""
_ONCE: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Your own id of the request: sent again within 24 hours, it is answered as the first time, with "
    "`Idempotent-Replayed: true`; 409 while the first still runs, 422 with another body. Not for NDJSON.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}

_named: Final[dict[str, type[BaseModel]]] = {Rejected.__name__: Rejected}


def rows(model: type[BaseModel]) -> dict[str, Any]:
    """For `openapi_extra`: a body of NDJSON, each line a `model`."""
    return {"requestBody": {"required": True, "content": _ndjson(_ref(model))}}


def one_or_rows(model: type[BaseModel]) -> dict[str, Any]:
    """For `openapi_extra`: a body that is one `model`, an array of them, or NDJSON of them."""
    ref = _ref(model)
    schema = {"oneOf": [ref, {"type": "array", "items": ref}]}
    content = {"application/json": {"schema": schema}} | _ndjson(ref)
    return {"requestBody": {"required": True, "content": content}}


def one_or_array(model: type[BaseModel]) -> dict[str, Any]:
    """For `openapi_extra`: a body that is one `model`, or an array of them."""
    ref = _ref(model)
    schema = {"oneOf": [ref, {"type": "array", "items": ref}]}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def line_or_lines(line: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """For `responses`: a line for one row, or an array of lines for many."""
    schema = {"oneOf": [*_line(line)["oneOf"], {"type": "array", "items": _line(line)}]}
    content = {"application/json": {"schema": schema}}
    return {200: {"description": "What became of it, or of each row in its order.", "content": content}}


def lines(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """For `responses`: NDJSON, for each row of the body a `model` or why it was rejected."""
    return {200: {"description": "A line for each row, in its order.", "content": _ndjson(_line(model))}}


def receipt_or_lines(one: type[BaseModel], line: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """For `responses`: `one` for one event, an array or NDJSON of lines for many."""
    schema = {"oneOf": [_ref(one), {"type": "array", "items": _line(line)}]}
    content = {"application/json": {"schema": schema}} | _ndjson(_line(line))
    return {200: {"description": "What became of it, or of each row in its order.", "content": content}}


def document(app: FastAPI) -> dict[str, Any]:
    """The document of the application, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        _, extra = models_json_schema([(model, "validation") for model in _named.values()], ref_template=REF)
        schemas = made["components"]["schemas"]
        for name, schema in extra["$defs"].items():
            # FastAPI takes null out of the document, and with it out of the examples.
            schemas.setdefault(name, schema).update({key: schema[key] for key in schema if key == "examples"})
        made["components"]["securitySchemes"] = _SCHEMES
        made["components"]["responses"] = {f"Problem{code}": _problem(code) for code in _WHY}
        for path, operations in made["paths"].items():
            for method, operation in operations.items():
                open_ = rule_of(method.upper(), path).open
                operation["security"] = [] if open_ or path == READY else _SECURITY
                if method == "post" and not path.endswith(":batch") and not open_:
                    operation.setdefault("parameters", []).append(_ONCE)
                operation["responses"] |= _failures(path, operation)
        app.openapi_schema = made
    return app.openapi_schema


def _failures(path: str, operation: dict[str, Any]) -> dict[str, Any]:
    """The problems that an operation may answer with: those of the doors, and its own."""
    never = _NEVER.get(path, set())
    if "{" not in path and "requestBody" not in operation:
        never = never | {404}
    if _ONCE not in operation.get("parameters", ()):
        never = never | {409}
    return {str(code): {"$ref": f"#/components/responses/Problem{code}"} for code in _WHY if code not in never}


def _problem(code: int) -> dict[str, Any]:
    headers = {
        name: {"description": told, "required": True, "schema": {"type": "string"}}
        for name, told in _HEADERS.get(code, {}).items()
    }
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": REF.format(model=Problem.__name__)}}}
    return {"description": _WHY[code], "content": content} | ({"headers": headers} if headers else {})


def _line(model: type[BaseModel]) -> dict[str, Any]:
    return {"oneOf": [_ref(model), _ref(Rejected)]}


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    _named[model.__name__] = model
    return {"$ref": REF.format(model=model.__name__)}


def _ndjson(schema: dict[str, Any]) -> dict[str, Any]:
    return {ndjson.MEDIA_TYPE: {"schema": schema}}
