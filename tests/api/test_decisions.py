from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from optimizer.store.customers import Customer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi.testclient import TestClient
    from httpx2 import Response

    from optimizer.engine import Engine

NDJSON = {"Content-Type": "application/x-ndjson"}


def question(request_id: str = "r1", customer_id: str = "c1", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    facts = {"attributes": {"days_inactive": 90, "country": "MX"}}
    return {"campaign_id": "winback-q1", "customer_id": customer_id, "request_id": request_id} | facts | more


def reachable(engine: Engine, n: int) -> None:
    """Customers c0, c1, ... who may be contacted on every channel."""
    consents = {"email_marketing": True, "sms_marketing": True, "push": True}
    engine.put_customers([Customer(f"c{i}", consents=consents) for i in range(n)])


def ndjson(rows: Iterable[object]) -> bytes:
    return b"\n".join(row if isinstance(row, bytes) else orjson.dumps(row) for row in rows)


def answers(response: Response) -> list[dict[str, Any]]:
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-ndjson"
    return [orjson.loads(line) for line in response.content.splitlines()]


def test_a_decision_tells_what_to_send_with_its_propensity(client: TestClient, engine: Engine) -> None:
    reachable(engine, 20)
    made = [client.post("/v1/decisions", json=question(f"r{i}", f"c{i}")).json() for i in range(20)]
    sending = [decision for decision in made if decision["arm"]]
    assert sending
    for decision in sending:
        assert decision["arm"]["id"] == "/".join(decision["arm"][part] for part in ("message", "channel", "slot"))
        assert decision["reason"] is None
        assert 0 < decision["propensity"] <= 1
        assert decision["decided_at"] <= decision["send_at"] < decision["expires_at"]


def test_nothing_to_send_is_an_answer_with_its_reason(client: TestClient) -> None:
    response = client.post("/v1/decisions", json=question(attributes={"days_inactive": 1}))
    assert response.status_code == 200
    assert response.json()["arm"] is None
    assert response.json()["reason"] == "not_in_audience"


def test_drawing_no_send_is_an_empty_answer_as_well(client: TestClient, engine: Engine) -> None:
    reachable(engine, 120)
    made = [client.post("/v1/decisions", json=question(f"r{i}", f"c{i}")).json() for i in range(120)]
    drawn = [decision for decision in made if decision["reason"] == "chose_no_send"]
    assert drawn
    assert all(decision["arm"] is None and decision["propensity"] > 0 for decision in drawn)


def test_a_repeated_question_gets_the_stored_answer_and_another_one_is_a_conflict(client: TestClient) -> None:
    first = client.post("/v1/decisions", json=question()).json()
    assert client.post("/v1/decisions", json=question()).json() == first | {"replayed": True}
    other = client.post("/v1/decisions", json=question(customer_id="c2"))
    assert (other.status_code, other.json()["code"]) == (409, "conflict")


def test_a_stored_decision_can_be_read_and_explained_arm_by_arm(client: TestClient) -> None:
    made = client.post("/v1/decisions", json=question(attributes={"days_inactive": 90, "country": "FR"})).json()
    assert client.get(f"/v1/decisions/{made['decision_id']}").json() == made
    told = client.get(f"/v1/decisions/{made['decision_id']}/explain").json()
    assert told["decision"] == made
    assert sum(candidate["probability"] for candidate in told["candidates"]) == pytest.approx(1.0)
    removed = {arm["arm"]["id"]: arm["reason"] for arm in told["removed"]}
    assert removed["ten_percent/email/evening"] == "ineligible_arm"
    assert len(removed) + len(told["candidates"]) == 2 * 3 * 2 + 1
    assert told["outcome"] == {"state": "pending", "reward": None, "events": []}


@pytest.mark.parametrize("path", ["/v1/decisions/none", "/v1/decisions/none/explain"])
def test_an_unknown_decision_is_not_found(client: TestClient, path: str) -> None:
    assert (client.get(path).status_code, client.get(path).json()["code"]) == (404, "not_found")


def test_a_batch_answers_each_row_in_its_order_whatever_is_wrong_with_the_others(client: TestClient) -> None:
    rows = [
        question("r1"),
        b"",
        b"{not json",
        question("r2", campaign_id="unknown"),
        {"campaign_id": "winback-q1"},
        question("r3", attributes={"shoe_size": 43}),
        b'"a text"',
        question("r1"),
    ]
    found = answers(client.post("/v1/decisions:batch", content=ndjson(rows), headers=NDJSON))
    assert [answer["row"] for answer in found] == [1, 3, 4, 5, 6, 7, 8]
    assert [answer["error"]["status"] if "error" in answer else 200 for answer in found] == [
        200,
        422,
        404,
        422,
        422,
        422,
        200,
    ]
    assert [error["path"] for error in found[3]["error"]["errors"]] == ["customer_id", "request_id"]
    assert "shoe_size" in found[4]["error"]["detail"]
    assert found[-1]["decision"] == found[0]["decision"] | {"replayed": True}


def test_a_batch_of_several_chunks_loses_no_row(client: TestClient) -> None:
    rows = [question(f"r{i}", f"c{i}") for i in range(2_345)]
    found = answers(client.post("/v1/decisions:batch", content=ndjson(rows), headers=NDJSON))
    assert [answer["row"] for answer in found] == list(range(1, 2_346))
    assert [answer["decision"]["request_id"] for answer in found] == [row["request_id"] for row in rows]


def test_a_failure_inside_a_batch_is_told_row_by_row_without_its_details(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(engine, "decide", fail)
    response = client.post("/v1/decisions:batch", content=ndjson([question("r1"), question("r2")]), headers=NDJSON)
    assert [(answer["row"], answer["error"]["status"]) for answer in answers(response)] == [(1, 500), (2, 500)]
    assert "secret" not in response.text
