"""NDJSON as schemathesis can make, send and check it: an array, of which each item is written as a line.

Importing this teaches it to schemathesis, along with what a document cannot say about rows and about ids that callers
choose.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import orjson
import schemathesis

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from schemathesis import Case, CheckContext, DeserializationContext, HookContext, Response, SerializationContext

NDJSON: Final = "application/x-ndjson"

_ROWS: Final = re.compile(r"/v1/(?:decisions:batch|customers:batch|suppressions:batch|events)")
_SUCCESS: Final = 200
_numbers = count()


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:  # noqa: ARG001 -- the hook's signature
    """Describe NDJSON as arrays; and a service that has keys answers nobody without one."""
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            for described in (operation.get("requestBody", {}), *operation["responses"].values()):
                media = described.get("content", {}).get(NDJSON)
                if media is not None:
                    media["schema"] = {"type": "array", "items": media["schema"]}
            operation["security"] = [needed for needed in operation["security"] if needed]


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:  # noqa: ARG001 -- the hook's signature
    """Ask new questions, for most would be conflicts under ids that were used, with headers that can be sent."""
    headers: MutableMapping[str, str] = {} if case.headers is None else case.headers
    if re.fullmatch(r"[!-~]{1,255}", headers.get("Idempotency-Key", "")):
        if case.media_type == NDJSON:
            del headers["Idempotency-Key"]
        else:
            sent = f"{case.path} {case.path_parameters} {case.body!r}"
            headers["Idempotency-Key"] = sha256(sent.encode("utf-8", "replace")).hexdigest()
    for name, value in headers.items():
        headers[name] = value if value.isprintable() and value.isascii() else ascii(value)
    number = next(_numbers)
    for row in case.body if isinstance(case.body, list) else [case.body]:
        asked = row.get("request_id") if isinstance(row, dict) and "event_id" not in row else None
        if isinstance(row, dict) and isinstance(asked, str) and asked and number % 4:
            row["request_id"] = f"{asked[:240]}-{number}"


@schemathesis.serializer(NDJSON)
def lines(context: SerializationContext, value: object) -> bytes:  # noqa: ARG001 -- the signature of serializers
    """A body of NDJSON."""
    if isinstance(value, bytes):
        return value
    rows = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@schemathesis.deserializer(NDJSON)
def rows(context: DeserializationContext, response: Response) -> list[Any]:  # noqa: ARG001 -- the signature of deserializers
    """An answer of NDJSON."""
    return [orjson.loads(line) for line in response.content.splitlines()]


@schemathesis.check
def rows_are_answered_one_by_one(_context: CheckContext, response: Response, case: Case[Any]) -> None:
    """Each row sent has its line of answer, in order; where something is wrong with the body, one is rejected."""
    if not _ROWS.fullmatch(case.path) or case.method != "POST" or response.status_code != _SUCCESS:
        return
    if not response.request.body:
        assert response.content == b"", "There is an answer to no row."
        return
    is_rows = response.headers["content-type"] == [NDJSON]
    answers = [orjson.loads(line) for line in response.content.splitlines()] if is_rows else response.json()
    if not isinstance(answers, list):
        assert not _is_wrong(case), "An event that is not as the document says was taken."
        return
    if isinstance(case.body, list):
        assert [answer["row"] for answer in answers] == list(range(1, len(case.body) + 1))
    if _is_wrong(case) and case.body != []:
        assert any("error" in answer for answer in answers), "No row was rejected, and one is not as the document says."


def _is_wrong(case: Case[Any]) -> bool:
    """Whether the body was made to be one that the document forbids."""
    from schemathesis.core.parameters import ParameterLocation  # noqa: PLC0415

    made = case.meta.components.get(ParameterLocation.BODY) if case.meta is not None else None
    return made is not None and made.mode.is_negative
