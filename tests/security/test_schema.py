"""The short form of `make security`: what `tests.security.schema` tries at length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.security.schema import Effort, service, surveyed, surveyed_without_a_key

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Message, Receive, Scope, Send

FEW = Effort(8, edges=False)


@pytest.mark.databases
def test_every_operation_answers_as_the_document_says(tmp_path: Path) -> None:
    with service(tmp_path) as (app, key):
        survey = surveyed(app, key, FEW)
    assert survey.found == []
    assert survey.cases.total() >= 150


def test_nobody_without_a_key_is_answered(tmp_path: Path) -> None:
    with service(tmp_path) as (app, key):
        assert surveyed_without_a_key(app, key, Effort(2, edges=False, sequences=False)).found == []


def test_an_answer_that_the_document_does_not_know_is_found(tmp_path: Path) -> None:
    with service(tmp_path) as (app, key):

        async def failing(scope: Scope, receive: Receive, send: Send) -> None:
            async def changed(message: Message) -> None:
                if scope.get("path") == "/v1/audit" and message["type"] == "http.response.start":
                    message["status"] = 500
                await send(message)

            await app(scope, receive, changed)

        found = surveyed(failing, key, Effort(2, edges=False, sequences=False)).found
    assert found
    assert all(told.startswith("GET /v1/audit") for told in found)
    assert {told.splitlines()[1] for told in found} >= {"not_a_server_error", "status_code_conformance"}
