"""Over HTTP: a customer is erased, gets all that is held, and every change is in the audit log."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api.models import CustomerData
from optimizer.keys import Keys, Scope

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from optimizer.clock import VirtualClock
    from optimizer.engine import Engine

pytestmark = pytest.mark.databases

ANA = {
    "attributes": {"plan": "gold", "days_inactive": 75, "country": "MX"},
    "timezone": "America/Mexico_City",
    "addresses": {"email": "ana@example.com"},
    "consents": {"email_marketing": True},
}


def decided(client: TestClient, customer_id: str = "ana", request_id: str = "r1") -> dict[str, Any]:
    question = {"campaign_id": "winback-q1", "customer_id": customer_id, "request_id": request_id}
    answer = client.post("/v1/decisions", json=question)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def changes(client: TestClient, **wanted: object) -> list[dict[str, Any]]:
    answer = client.get("/v1/audit", params=wanted)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["changes"]
    return found


def test_an_erased_customer_is_not_found_and_a_second_time_neither(client: TestClient) -> None:
    client.put("/v1/customers/ana", json=ANA)
    answer = client.delete("/v1/customers/ana")
    assert (answer.status_code, answer.content) == (204, b"")
    for again in (client.delete("/v1/customers/ana"), client.get("/v1/customers/ana")):
        assert again.status_code == 404
        assert again.json()["code"] == "not_found"
    assert client.get("/v1/customers/ana/data").status_code == 404


def test_a_decision_about_an_erased_customer_is_still_shown_and_explained(client: TestClient, engine: Engine) -> None:
    client.put("/v1/customers/ana", json=ANA)
    made = decided(client)
    client.delete("/v1/customers/ana")
    shown = client.get(f"/v1/decisions/{made['decision_id']}").json()
    assert shown == made | {"customer_id": ""}
    explained = client.get(f"/v1/decisions/{made['decision_id']}/explain")
    assert explained.status_code == 200
    assert explained.json()["decision"] == shown
    assert all(check.holds for check in engine.verify(made["decision_id"]))


def test_everything_that_is_held_is_one_document_of_the_documented_form(
    client: TestClient, engine: Engine, clock: VirtualClock
) -> None:
    client.put("/v1/customers/ana", json=ANA)
    made = [decided(client, request_id=f"r{i}") for i in range(3)]
    told = {"event_id": "e1", "name": "purchased", "customer_id": "ana", "fields": {"margin": 18.4}}
    assert client.post("/v1/events", json=told).status_code == 200
    engine.run("winback-q1", "monday")
    clock.advance_to(clock.now() + timedelta(days=60))
    engine.outbox.dispatch_due()
    engine.closing.close_due()
    answer = client.get("/v1/customers/ana/data")
    assert answer.headers["content-type"] == "application/json"
    data = CustomerData.model_validate_json(answer.content)
    assert orjson.loads(data.model_dump_json()) == answer.json()
    assert {name: answer.json()[name] for name in ANA} == ANA
    assert data.subject_id == engine.subjects(["ana"])["ana"]
    assert [each.decision_id for each in data.decisions][:3] == [each["decision_id"] for each in made]
    assert [each.occasion for each in data.decisions] == [None, None, None, "monday"]
    assert all(each["context"]["attributes"]["plan"] == "gold" for each in answer.json()["decisions"])
    assert all(each.reward is not None for each in data.decisions)
    for each in made:
        (held,) = [one for one in data.decisions if one.decision_id == each["decision_id"]]
        states = [one.state for one in held.touch.transitions] if held.touch else []
        assert states == (["planned", "expired"] if each["send_at"] else [])
    assert [each.fields for each in data.events] == [{"margin": 18.4}]
    assert [each.action for each in data.changes] == ["stored"]


def test_the_form_of_the_document_is_described(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    answers = document["paths"]["/v1/customers/{customer_id}/data"]["get"]["responses"]
    assert answers["200"]["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/CustomerData"}}}
    assert "content" not in document["paths"]["/v1/customers/{customer_id}"]["delete"]["responses"]["204"]


@pytest.mark.parametrize("customer_id", ["a/b", "data", "a/data", "data/data", "/data", "a/data/b", "a data", "ä/data"])
def test_any_id_can_be_stored_shown_disclosed_and_erased(client: TestClient, customer_id: str) -> None:
    path = "/v1/customers/" + "".join(f"%{byte:02X}" for byte in customer_id.encode())
    assert client.put(path, json=ANA).json()["customer_id"] == customer_id
    assert client.get(path).json()["customer_id"] == customer_id
    disclosed = client.get(f"{path}/data").json()
    assert (disclosed["customer_id"], disclosed["decisions"]) == (customer_id, [])
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


def test_what_ends_in_data_is_never_mistaken_for_a_customer(client: TestClient) -> None:
    client.put("/v1/customers/a", json=ANA)
    client.put("/v1/customers/a%2Fdata", json={})
    assert client.get("/v1/customers/a/data").json()["customer_id"] == "a"
    for method in ("put", "delete"):
        answer = client.request(method, "/v1/customers/a/data", json={})
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET"
    assert client.get("/v1/customers/a%2Fdata").status_code == 200


def test_the_audit_log_names_the_callers_key_and_never_a_value(client: TestClient, engine: Engine) -> None:
    key = Keys(engine.runtime).create([Scope.ADMIN], label="crm")
    key_id = key.split("_")[1]
    client.headers["Authorization"] = f"Bearer {key}"
    client.put("/v1/customers/ana", json=ANA)
    client.post("/v1/customers:batch", content=b'{"customer_id": "bob", "addresses": {"email": "bob@example.com"}}')
    client.post("/v1/campaigns/winback-q1/pause")
    client.post("/v1/campaigns/winback-q1/resume")
    client.delete("/v1/customers/ana")
    told = [(each["by"], each["action"], each["object"].partition(":")[0]) for each in changes(client)]
    assert told == [
        (f"key:{key_id}", "erased", "customer"),
        (f"key:{key_id}", "resumed", "campaign"),
        (f"key:{key_id}", "paused", "campaign"),
        (f"key:{key_id}", "stored", "customer"),
        (f"key:{key_id}", "stored", "customer"),
        ("service", "created", "key"),
        ("service", "loaded", "campaign"),
    ]
    erased, stored = changes(client, customer_id="ana")
    assert erased["object"] == stored["object"]
    assert stored["details"]["new"] == erased["details"]["old"]
    assert "addresses.email" in stored["details"]["new"]
    text = client.get("/v1/audit").text
    assert not [value for value in ("ana@", "gold", "bob@", "Mexico") if value in text]


def test_the_audit_log_is_read_page_by_page_and_by_object_and_time(client: TestClient, clock: VirtualClock) -> None:
    for i in range(5):
        client.put(f"/v1/customers/c{i}", json=ANA)
    page = client.get("/v1/audit", params={"limit": 4}).json()
    assert len(page["changes"]) == 4
    rest = client.get("/v1/audit", params={"limit": 4, "cursor": page["next"]}).json()
    assert len(rest["changes"]) == 2
    assert rest["next"] is None
    assert [each["action"] for each in changes(client, object="campaign:winback-q1")] == ["loaded"]
    since = clock.now().replace(year=2027).isoformat()
    assert changes(client, since=since) == []
    assert len(changes(client, since=clock.now().isoformat())) == 6


@pytest.mark.parametrize(
    "wanted", [{"limit": 0}, {"limit": 1001}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}, {"who": "eve"}]
)
def test_what_cannot_be_asked_of_the_audit_log_is_told(client: TestClient, wanted: dict[str, Any]) -> None:
    answer = client.get("/v1/audit", params=wanted)
    assert answer.status_code == 422
    assert next(iter(wanted)) in answer.json()["errors"][0]["path"]
