"""The OpenAPI document: what FastAPI finds out by itself, and what it cannot know: NDJSON and problem documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api import ndjson, problems
from api.access import ALIVE, READY
from api.ndjson import Rejected
from api.problems import Problem

if TYPE_CHECKING:
    from fastapi import FastAPI
    from pydantic import BaseModel

REF: Final = "#/components/schemas/{model}"
FAILURES: Final[dict[int | str, dict[str, Any]]] = {
    422: {"model": Problem, "description": "What was sent is not valid."},
    "default": {"model": Problem, "description": "Any other problem."},
}
"""The answers that every route may give."""

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
        for path, operations in made["paths"].items():
            for method, operation in operations.items():
                operation["security"] = [] if path in {ALIVE, READY} else _SECURITY
                if method == "post" and not path.endswith(":batch"):
                    operation.setdefault("parameters", []).append(_ONCE)
                for code, answer in operation["responses"].items():
                    if code in {"422", "default"}:
                        answer["content"] = {problems.MEDIA_TYPE: answer["content"]["application/json"]}
        app.openapi_schema = made
    return app.openapi_schema


def _line(model: type[BaseModel]) -> dict[str, Any]:
    return {"oneOf": [_ref(model), _ref(Rejected)]}


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    _named[model.__name__] = model
    return {"$ref": REF.format(model=model.__name__)}


def _ndjson(schema: dict[str, Any]) -> dict[str, Any]:
    return {ndjson.MEDIA_TYPE: {"schema": schema}}
