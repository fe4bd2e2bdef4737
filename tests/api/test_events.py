from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

NDJSON = {"Content-Type": "application/x-ndjson"}
CLICK = {"event_id": "e1", "name": "clicked", "occurred_at": "2026-01-12T16:00:00+01:00", "customer_id": "c1"}


def test_one_event_gets_a_receipt_and_a_repeat_is_a_duplicate(client: TestClient) -> None:
    assert client.post("/v1/events", json=CLICK).json() == {"event_id": "e1", "status": "accepted"}
    assert client.post("/v1/events", json=CLICK).json() == {"event_id": "e1", "status": "duplicate"}


def test_an_event_before_its_decision_is_parked(client: TestClient) -> None:
    early = {"event_id": "e1", "name": "shown", "campaign_id": "winback-q1", "request_id": "r1"}
    assert client.post("/v1/events", json=early).json()["status"] == "parked"


@pytest.mark.parametrize("as_array", [True, False])
def test_of_many_events_each_gets_its_answer_and_a_bad_one_holds_up_no_other(
    client: TestClient, *, as_array: bool
) -> None:
    rows: list[dict[str, Any]] = [CLICK, {"event_id": "e2"}, CLICK | {"event_id": "e3"}]
    if as_array:
        found = client.post("/v1/events", json=rows).json()
    else:
        body = b"\n".join(orjson.dumps(row) for row in rows)
        found = [orjson.loads(line) for line in client.post("/v1/events", content=body, headers=NDJSON).iter_lines()]
    assert [row["row"] for row in found] == [1, 2, 3]
    assert (found[0]["event_id"], found[0]["status"]) == ("e1", "accepted")
    assert [error["path"] for error in found[1]["error"]["errors"]] == ["name"]
    assert (found[2]["event_id"], found[2]["status"]) == ("e3", "accepted")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"customer_id": None}, ""),
        ({"request_id": "r1"}, ""),
        ({"occurred_at": "2026-01-12T16:00:00"}, "occurred_at"),
        ({"occurred_at": 1768230000}, "occurred_at"),
        ({"name": "clicked!"}, "name"),
        ({"event_id": ""}, "event_id"),
        ({"event_id": "line\nbreak"}, "event_id"),
        ({"revenue": 12}, "revenue"),
    ],
)
def test_an_event_that_is_not_valid_is_refused_with_its_place(
    client: TestClient, change: dict[str, Any], path: str
) -> None:
    response = client.post("/v1/events", json=CLICK | change)
    assert response.status_code == 422
    assert [error["path"] for error in response.json()["errors"]] == [path]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 422),
        (b'{"event_id": NaN}', "application/json", 422),
        (b"[" + b" " * (8 << 20) + b"]", "application/json", 413),
        (b"event_id=e1", "application/x-www-form-urlencoded", 415),
    ],
    ids=["not JSON", "not a number", "too large", "a form"],
)
def test_a_body_that_cannot_be_read_is_refused(
    client: TestClient, content: bytes, content_type: str, status: int
) -> None:
    response = client.post("/v1/events", content=content, headers={"Content-Type": content_type})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
