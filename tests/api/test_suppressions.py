from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

NDJSON = {"Content-Type": "application/x-ndjson"}
ANA: dict[str, Any] = {"customer_id": "ana"}
AT = "2026-01-12T15:00:00Z"


def lines(client: TestClient, path: str, *rows: object) -> list[Any]:
    body = b"\n".join(orjson.dumps(row) for row in rows)
    return [orjson.loads(line) for line in client.post(path, content=body, headers=NDJSON).iter_lines()]


def held(channel: str | None, of: str, cause: str = "requested") -> dict[str, Any]:
    return {"channel": channel, "of": of, "cause": cause, "at": AT}


def check(client: TestClient, body: dict[str, Any]) -> list[Any]:
    found: list[Any] = client.post("/v1/suppressions:check", json=body).json()["suppressions"]
    return found


def test_who_is_suppressed_stays_so_until_that_is_lifted(client: TestClient) -> None:
    client.put("/v1/customers/ana", json={"addresses": {"email": "ana@example.com"}})
    assert check(client, ANA) == []
    answer = client.put("/v1/suppressions", json=ANA | {"channel": "push", "cause": "complained"})
    assert answer.json() == {"suppressions": [held("push", "customer", "complained")]}
    client.put("/v1/suppressions", json={"address": "Ana@example.com"})
    assert check(client, {"address": "ana@EXAMPLE.com"}) == [held(None, "address")]
    assert check(client, ANA) == [held("email", "address"), held("push", "customer", "complained")]
    assert check(client, ANA | {"channel": "push"}) == [held("push", "customer", "complained")]
    assert client.get("/v1/customers/ana/data").json()["suppressions"] == check(client, ANA)
    answer = client.post("/v1/suppressions:lift", json=ANA | {"channel": "push"})
    assert answer.json() == {"suppressions": [held("email", "address")]}
    assert client.post("/v1/suppressions:lift", json=ANA).json() == {"suppressions": []}
    assert check(client, {"address": "ana@example.com"}) == []


def test_an_address_is_lifted_alone_and_with_a_customer_everything(client: TestClient) -> None:
    client.put("/v1/customers/ana", json={"addresses": {"email": "ana@example.com"}})
    told = {"event_id": "e1", "name": "unsubscribed", "customer_id": "ana", "fields": {"channel": "email"}}
    client.post("/v1/events", json=told)
    assert check(client, ANA) == [held("email", of, "unsubscribed") for of in ("address", "customer")]
    answer = client.post("/v1/suppressions:lift", json={"address": "ana@example.com"})
    assert answer.json() == {"suppressions": []}
    assert check(client, ANA) == [held("email", "customer", "unsubscribed")]
    assert client.post("/v1/suppressions:lift", json=ANA).json() == {"suppressions": []}
    assert check(client, ANA) == []


def test_each_row_of_many_is_taken_or_answered_with_what_is_wrong(client: TestClient) -> None:
    answers = lines(
        client,
        "/v1/suppressions:batch",
        ANA | {"channel": "email"},
        {"address": "ana@example.com", "customer_id": "ana"},
        {"address": "ana@example.com", "cause": "bored"},
        ANA,
    )
    assert [answer.get("status") for answer in answers] == ["suppressed", None, None, "suppressed"]
    assert "give either customer_id or address" in str(answers[1])
    assert answers[2]["error"]["errors"][0]["path"] == "cause"
    assert check(client, ANA) == [held(None, "customer"), held("email", "customer")]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"customer_id": ""},
        {"customer_id": "a\nb"},
        {"address": "  "},
        {"address": "a\0"},
        {"customer_id": "a", "address": "b"},
        {"customer_id": "a", "channel": ""},
        {"customer_id": "a", "channel": "e mail"},
        {"customer_id": "a", "since": "always"},
    ],
)
@pytest.mark.parametrize("path", ["", ":lift", ":check"])
def test_what_is_wrong_is_refused_without_being_told(client: TestClient, path: str, body: dict[str, Any]) -> None:
    answer = client.request("POST" if path else "PUT", f"/v1/suppressions{path}", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_changes_are_in_the_audit_log_by_digest_and_those_of_a_customer_can_be_found(client: TestClient) -> None:
    client.put("/v1/suppressions", json=ANA | {"channel": "email"})
    client.put("/v1/suppressions", json={"address": "ana@example.com", "cause": "bounced"})
    client.post("/v1/suppressions:lift", json=ANA)
    changes = client.get("/v1/audit").json()["changes"]
    told = [(change["action"], change["object"].partition(":")[0], change["details"]) for change in changes[:3]]
    assert told == [
        ("lifted", "customer", {"email": "requested"}),
        ("suppressed", "address", {"": "bounced"}),
        ("suppressed", "customer", {"email": "requested"}),
    ]
    mine = client.get("/v1/audit", params=ANA).json()["changes"]
    assert [change["action"] for change in mine] == ["lifted", "suppressed"]
    assert "ana" not in str(changes)


def test_reports_of_other_systems_are_taken_and_refused_row_by_row(client: TestClient) -> None:
    def report(n: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any part of an event
        row = {"event_id": f"e{n}", "name": "contacted", "customer_id": "ana", "fields": {"channel": "email"}}
        return row | more

    answers = lines(
        client,
        "/v1/events",
        report(1),
        report(2, fields={"channel": "e mail"}),
        report(3, decision_id="d"),
        report(4, fields={"channel": "sms", "message": "news", "counts": False}),
    )
    assert [answer.get("status") for answer in answers] == ["accepted", None, None, "accepted"]
    assert "fields.channel: expected an id as in a catalog" in str(answers[1])
    assert "it names a customer_id and nothing else" in str(answers[2])
    touches = client.get("/v1/customers/ana/data").json()["external_touches"]
    nothing = {"campaign": None, "offer": None}
    assert touches == [
        {"at": AT, "channel": "email", "message": None, "counts": True} | nothing,
        {"at": AT, "channel": "sms", "message": "news", "counts": False} | nothing,
    ]
