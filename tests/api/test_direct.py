from typing import Any

import pytest
from fastapi.testclient import TestClient

ASKED = b'{"campaign_id":"winback-q1","customer_id":"c","request_id":"r"}'


def post(client: TestClient, body: bytes, content_type: str = "application/json") -> tuple[int, dict[str, Any]]:
    response = client.post("/v1/decisions", content=body, headers={"Content-Type": content_type})
    return response.status_code, response.json()


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"]
)
def test_a_question_is_answered_alike_past_fastapi_and_through_it(client: TestClient, content_type: str) -> None:
    status, decision = post(client, ASKED, content_type)
    assert status == 200
    assert post(client, ASKED) == (200, {**decision, "replayed": True})


@pytest.mark.parametrize(
    ("body", "content_type", "path"),
    [
        (b'{"campaign_id":"winback-q1","customer_id":"c"}', "application/json", "request_id"),
        (ASKED[:-1] + b',"colour":"red"}', "application/json", "colour"),
        (b'{"campaign_id":', "application/json", ""),
        (b"", "application/json", ""),
    ],
)
def test_a_question_that_is_not_plainly_right_is_explained(
    client: TestClient, body: bytes, content_type: str, path: str
) -> None:
    status, problem = post(client, body, content_type)
    assert status == 422
    assert [error["path"] for error in problem["errors"]] == [path]


def test_a_question_that_does_not_say_that_it_is_json_is_refused(client: TestClient) -> None:
    status, problem = post(client, ASKED, "text/plain")
    assert (status, problem["code"]) == (415, "unsupported_media_type")


def test_what_the_engine_refuses_is_told_with_its_status(client: TestClient) -> None:
    status, problem = post(client, ASKED.replace(b"winback-q1", b"nobody"))
    assert (status, problem["code"]) == (404, "not_found")


def test_another_method_is_told_what_the_route_takes(client: TestClient) -> None:
    response = client.get("/v1/decisions")
    assert response.status_code == 405
    assert response.json()["detail"] == "/v1/decisions does not take GET; it takes POST."
