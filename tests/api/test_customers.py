from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    import pytest
    from fastapi.testclient import TestClient

    from optimizer.engine import Engine

ANA = {
    "attributes": {"plan": "gold", "days_inactive": 75, "interests": ["shoes"]},
    "timezone": "America/Mexico_City",
    "addresses": {"email": "ana@example.com"},
    "consents": {"email_marketing": True},
}


def test_a_customer_is_stored_and_a_second_put_replaces_everything(client: TestClient) -> None:
    assert client.put("/v1/customers/c1", json=ANA).json() == {"customer_id": "c1", "status": "stored"}
    stored = client.get("/v1/customers/c1").json()
    assert stored == {"customer_id": "c1", "updated_at": "2026-01-12T15:00:00Z"} | ANA
    client.put("/v1/customers/c1", json={"attributes": {"plan": "free"}})
    assert client.get("/v1/customers/c1").json()["attributes"] == {"plan": "free"}
    assert client.get("/v1/customers/c1").json()["timezone"] is None


def test_an_id_with_a_slash_is_an_id(client: TestClient) -> None:
    client.put("/v1/customers/shop/17", json=ANA)
    assert client.get("/v1/customers/shop%2F17").json()["customer_id"] == "shop/17"


def test_an_unknown_customer_is_not_found(client: TestClient) -> None:
    assert client.get("/v1/customers/nobody").status_code == 404


def test_everything_wrong_with_a_customer_is_told_and_nothing_is_stored(client: TestClient) -> None:
    body = {"attributes": {"plan": 3, "shoe_size": 43}, "timezone": "Mars/Olympus"}
    response = client.put("/v1/customers/c1", json=body)
    assert response.status_code == 422
    paths = [error["path"] for error in response.json()["errors"]]
    assert sorted(paths) == ["attributes.plan", "attributes.shoe_size", "timezone"]
    assert client.get("/v1/customers/c1").status_code == 404


def test_a_batch_stores_the_good_rows_and_tells_what_is_wrong_with_the_others(client: TestClient) -> None:
    rows = [
        {"customer_id": "c1"} | ANA,
        {"attributes": {}},
        {"customer_id": "c3", "attributes": {"plan": 3}},
        {"customer_id": "c4"},
    ]
    body = b"\n".join(orjson.dumps(row) for row in rows)
    response = client.post("/v1/customers:batch", content=body, headers={"Content-Type": "application/x-ndjson"})
    found = [orjson.loads(line) for line in response.iter_lines()]
    assert [row.get("status") for row in found] == ["stored", None, None, "stored"]
    assert [row["error"]["errors"][0]["path"] for row in found[1:3]] == ["customer_id", "attributes.plan"]
    assert [client.get(f"/v1/customers/c{i}").status_code for i in (1, 3, 4)] == [200, 404, 200]


def test_a_batch_that_cannot_be_stored_says_so_for_each_row(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(engine, "put_customers", fail)
    response = client.post("/v1/customers:batch", content=b'{"customer_id": "c1"}')
    assert [orjson.loads(line)["error"]["status"] for line in response.iter_lines()] == [500]
