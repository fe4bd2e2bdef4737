from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from api.app import create_app
from optimizer.dispatch.signing import Signer
from optimizer.tenants import Tenants
from tests.api.keyed import a_key, client_with
from tests.api.sending import ask, load, report

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi.testclient import TestClient

    from optimizer.engine import Engine


@pytest.fixture(autouse=True)
def sent(engine: Engine, client: TestClient, tmp_path: Path) -> str:
    """The id of a decision whose touch was sent."""
    load(engine, tmp_path)
    decision_id: str = ask(client)["decision_id"]
    for job in engine.jobs():
        if job.name.startswith("dispatch"):
            job.run()
    return decision_id


def state(engine: Engine, decision_id: str) -> str:
    def read(connection: Any) -> str:  # noqa: ANN401
        found = connection.exec_driver_sql(f"select state from touches where decision_id = '{decision_id}'")  # noqa: S608
        return str(found.scalar_one())

    return engine.runtime.store.read(read)


def suppressed(client: TestClient) -> list[tuple[str, str | None, str]]:
    found = client.post("/v1/suppressions:check", json={"customer_id": "ana"}).json()["suppressions"]
    return sorted((each["of"], each["channel"], each["cause"]) for each in found)


def test_a_signed_report_moves_the_touch_and_is_counted_once(engine: Engine, client: TestClient, sent: str) -> None:
    assert state(engine, sent) == "sent"
    answer = report(client, engine, {"name": "delivered", "decision_id": sent})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["row"], answer.json()["status"]) == (1, "accepted")
    assert state(engine, sent) == "delivered"
    assert report(client, engine, {"name": "delivered", "decision_id": sent}).json()["status"] == "duplicate"
    again = report(client, engine, {"name": "delivered", "decision_id": sent, "id": "own"}, message_id="msg-2")
    assert (again.json()["event_id"], again.json()["status"]) == ("email:own", "accepted")


def test_a_bounce_for_good_and_a_complaint_act_at_once(engine: Engine, client: TestClient, sent: str) -> None:
    report(client, engine, {"name": "Bounce", "decision_id": sent})
    assert (state(engine, sent), suppressed(client)) == ("bounced", [])
    report(client, engine, {"name": "Bounce", "decision_id": sent, "permanent": True}, message_id="msg-2")
    assert suppressed(client) == [("address", "email", "bounced")]


def test_a_complaint_is_heard_by_the_providers_own_name(engine: Engine, client: TestClient, sent: str) -> None:
    report(client, engine, {"name": "Spam", "decision_id": sent})
    assert suppressed(client) == [("address", "email", "complained"), ("customer", "email", "complained")]


def test_each_row_of_many_is_answered_and_no_good_one_is_lost(engine: Engine, client: TestClient, sent: str) -> None:
    body = [
        {"name": "delivered", "decision_id": sent},
        {"name": "exploded", "decision_id": sent},
        {"decision_id": sent},
        {"name": "delivered", "decision_id": "unknown"},
        {"name": "delivered", "decision_id": sent, "tenant": "nobody"},
        7,
    ]
    answer = report(client, engine, body)
    assert answer.status_code == 200
    rows = answer.json()
    assert [row["row"] for row in rows] == [1, 2, 3, 4, 5, 6]
    told = [row.get("status") or (row["error"]["status"], row["error"]["errors"][0]["path"]) for row in rows]
    assert told == ["accepted", (422, "name"), (422, "name"), "parked", (422, "tenant"), (422, "")]
    assert rows[1]["error"]["errors"][0]["message"].endswith("allowed: delivered, Bounce, Spam")
    assert state(engine, sent) == "delivered"
    assert [row.get("status") for row in report(client, engine, body).json()] == [
        "duplicate", None, None, "duplicate", None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("channel", ["email", "app", "nosuch"])
def test_without_a_good_signature_nothing_is_recorded_or_told(
    engine: Engine, client: TestClient, sent: str, channel: str
) -> None:
    other = Signer(base64.b64encode(b"x" * 32).decode())
    body = {"name": "delivered", "decision_id": sent}
    attempts = [
        report(client, engine, body, channel=channel, signer=other),
        report(client, engine, body, channel=channel, late_s=301),
        report(client, engine, body, channel=channel, late_s=-301),
        client.post(f"/v1/callbacks/{channel}", json=body),
        report(client, engine, body, channel=channel, headers={"webhook-id": "msg-2"}),
        report(client, engine, b"{", channel=channel, signer=other),
    ]
    assert {answer.status_code for answer in attempts} == {401}
    assert len({answer.json()["detail"] for answer in attempts}) == 1
    assert all(answer.headers["www-authenticate"] for answer in attempts)
    assert state(engine, sent) == "sent"


def test_no_key_is_needed_and_none_helps(engine: Engine, sent: str) -> None:
    with client_with(create_app(engine), a_key(engine)) as client:
        assert client.post("/v1/callbacks/email", json={}).status_code == 401
        del client.headers["Authorization"]
        assert report(client, engine, {"name": "delivered", "decision_id": sent}).status_code == 200
        assert report(client, engine, b"{").status_code == 422
        assert report(client, engine, {}, headers={"Content-Type": "text/plain"}).status_code == 415


def test_a_row_is_its_tenants_and_reaches_no_others(engine: Engine, tmp_path: Path, sent: str) -> None:
    tenants = Tenants(engine)
    load(tenants.engine("ours"), tmp_path)
    app = create_app(engine, tenants=tenants)
    with client_with(app, a_key(engine, tenant="ours")) as ours:
        made = ask(ours)
        body = [
            {"name": "delivered", "decision_id": made["decision_id"], "tenant": "ours"},
            {"name": "delivered", "decision_id": made["decision_id"]},
            {"name": "delivered", "decision_id": sent, "tenant": "ours"},
        ]
        answer = report(ours, engine, body)
    assert [row["status"] for row in answer.json()] == ["accepted", "parked", "parked"]
    assert state(engine, sent) == "sent"


def test_an_idempotency_key_has_nothing_written_for_nobody(engine: Engine, client: TestClient, sent: str) -> None:
    body = {"name": "delivered", "decision_id": sent}
    answer = report(client, engine, body, headers={"Idempotency-Key": "k"})
    assert answer.json()["status"] == "accepted"
    again = report(client, engine, body, headers={"Idempotency-Key": "k"})
    assert (again.json()["status"], again.headers.get("Idempotent-Replayed")) == ("duplicate", None)
