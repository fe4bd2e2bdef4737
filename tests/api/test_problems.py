from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.problems import of_error
from optimizer.errors import OptimizerError

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from optimizer.engine import Engine

QUESTION = {"campaign_id": "winback-q1", "customer_id": "c1", "request_id": "r1"}


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        ({"method": "GET", "url": "/v1/nothing"}, 404, "not_found"),
        ({"method": "DELETE", "url": "/v1/decisions"}, 405, "method_not_allowed"),
        ({"method": "GET", "url": "/v1/campaigns/none"}, 404, "not_found"),
        ({"method": "POST", "url": "/v1/decisions", "json": {}}, 422, "invalid_input"),
        ({"method": "POST", "url": "/v1/decisions", "data": QUESTION}, 415, "unsupported_media_type"),
        ({"method": "PUT", "url": "/v1/customers/c1", "content": b"{}"}, 415, "unsupported_media_type"),
        ({"method": "POST", "url": "/v1/decisions", "content": b" " * (8 << 20) + b"{}"}, 413, "content_too_large"),
    ],
)
def test_every_error_is_a_problem_document(client: TestClient, call: dict[str, Any], status: int, code: str) -> None:
    response = client.request(**call)
    found = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, found["status"], found["code"]) == (status, status, code)
    assert found["title"]
    assert found["detail"]


def test_all_errors_of_a_body_are_told_at_once_each_with_its_path(client: TestClient) -> None:
    body = {"campaign_id": "1st", "customer_id": "c1", "attributes": [], "extra": 1}
    errors = client.post("/v1/decisions", json=body).json()["errors"]
    assert {error["path"] for error in errors} == {"campaign_id", "request_id", "attributes", "extra"}


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/decisions", "POST"),
        ("/v1/campaigns/winback-q1/runs", "GET, POST"),
        ("/v1/customers/a/b", "DELETE, GET, PUT"),
        ("/v1/customers/a/data", "GET"),
    ],
)
def test_a_method_that_is_not_allowed_names_those_that_are(client: TestClient, path: str, methods: str) -> None:
    answer = client.options(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)


def test_nobody_is_sent_to_another_address(client: TestClient) -> None:
    assert client.get("/v1/campaigns/", follow_redirects=False).status_code == 404


def test_an_unforeseen_error_keeps_its_details_to_itself(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(engine, "deciding", fail)
    response = client.post("/v1/decisions", json=QUESTION)
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert response.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in response.text


def test_an_internal_error_of_the_library_keeps_its_details_to_itself() -> None:
    assert "hunter2" not in of_error(OptimizerError("password=hunter2")).model_dump_json()


@pytest.mark.parametrize("number", [b"NaN", b"1e999", b"Infinity"])
def test_numbers_that_json_does_not_have_are_refused(client: TestClient, number: bytes) -> None:
    body = (
        b'{"campaign_id": "winback-q1", "customer_id": "c1", "request_id": "r1", "attributes": {"days_inactive": %b}}'
    )
    response = client.post("/v1/decisions", content=body % number, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
