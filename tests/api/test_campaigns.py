from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from optimizer.engine import Engine


def test_a_campaign_tells_how_it_stands(client: TestClient) -> None:
    [listed] = client.get("/v1/campaigns").json()
    assert listed == client.get("/v1/campaigns/winback-q1").json()
    assert (listed["campaign_id"], listed["state"], listed["decisions"]) == ("winback-q1", "active", 0)


def test_an_unknown_campaign_is_not_found(client: TestClient) -> None:
    for response in (client.get("/v1/campaigns/none"), client.post("/v1/campaigns/none/pause")):
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_a_run_decides_the_audience_once_however_often_it_is_asked_for(client: TestClient) -> None:
    for i in range(5):
        client.put(f"/v1/customers/c{i}", json={"attributes": {"days_inactive": 90 if i else 3}})
    first = client.post("/v1/campaigns/winback-q1/runs", json={"occasion": "launch"}).json()
    assert (first["occasion"], first["state"], first["decided"]) == ("launch", "finished", 4)
    again = client.post("/v1/campaigns/winback-q1/runs", json={"occasion": "launch"}).json()
    assert again == first
    assert client.get("/v1/campaigns/winback-q1/runs").json() == [first]
    assert client.get("/v1/campaigns/winback-q1").json()["decisions"] == 4


def test_a_run_without_a_body_is_for_the_occasion_that_is_due(client: TestClient) -> None:
    assert client.post("/v1/campaigns/winback-q1/runs").json()["occasion"].startswith("2026-01-12")


def test_a_paused_campaign_sends_nothing_until_it_is_resumed(client: TestClient) -> None:
    question = {"campaign_id": "winback-q1", "customer_id": "c1", "request_id": "r1"}
    assert client.post("/v1/campaigns/winback-q1/pause").json()["state"] == "paused"
    assert client.post("/v1/decisions", json=question).json()["reason"] == "campaign_not_active"
    assert client.post("/v1/campaigns/winback-q1/resume").json()["state"] == "active"
    later = client.post("/v1/decisions", json=question | {"request_id": "r2"}).json()
    assert later["reason"] != "campaign_not_active"


def test_a_run_of_a_paused_campaign_is_a_conflict_and_goes_on_when_it_is_resumed(client: TestClient) -> None:
    client.put("/v1/customers/c1", json={"attributes": {"days_inactive": 90}})
    client.post("/v1/campaigns/winback-q1/pause")
    refused = client.post("/v1/campaigns/winback-q1/runs", json={"occasion": "launch"})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    client.post("/v1/campaigns/winback-q1/resume")
    assert client.post("/v1/campaigns/winback-q1/runs", json={"occasion": "launch"}).json()["decided"] == 1


def test_a_broken_model_is_noted_while_the_service_stays_ready(client: TestClient, engine: Engine) -> None:
    assert client.get("/readyz").json() == {"status": "ready", "notes": []}
    engine.serving.faults["winback-q1"] = "the snapshot cannot be read"
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["notes"] == ["campaign winback-q1: the snapshot cannot be read"]


def test_a_service_whose_tables_are_closed_lives_but_is_not_ready(client: TestClient, engine: Engine) -> None:
    engine.close()
    assert client.get("/healthz").json() == {"status": "ok"}
    response = client.get("/readyz")
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert response.headers["retry-after"] == "1"


def test_removed_arms_are_counted_by_day_and_reason(client: TestClient) -> None:
    client.put("/v1/customers/c1", json={"attributes": {"days_inactive": 90}})
    client.put("/v1/customers/c2", json={"attributes": {"days_inactive": 1}})
    for i in (1, 2):
        question = {"campaign_id": "winback-q1", "customer_id": f"c{i}", "request_id": f"r{i}"}
        assert client.post("/v1/decisions", json=question).status_code == 200
    counted = client.get("/v1/campaigns/winback-q1/removals").json()
    assert {row["day"] for row in counted} == {"2026-01-12"}
    outside = next(row for row in counted if row["reason"] == "not_in_audience")
    assert outside["decisions"] == 1
    assert outside["arms"] > 1
    assert client.get("/v1/campaigns/winback-q1/removals?from=2026-01-13T00:00:00Z").json() == []
    assert client.get("/v1/campaigns/winback-q1/removals?until=2026-01-12T00:00:00Z").json() == []
    assert client.get("/v1/campaigns/none/removals").status_code == 404
