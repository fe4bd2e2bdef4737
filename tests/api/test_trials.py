from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.api.sending import load

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi.testclient import TestClient

    from optimizer.engine import Engine

PATH = "/v1/campaigns/now/test-sends"
WANTED = {"message": "warm", "channel": "email"}
COUNTED = ("decisions", "touches", "touch_transitions", "events", "ledger", "rewards", "touch_attempts")


@pytest.fixture(autouse=True)
def loaded(engine: Engine, client: TestClient, tmp_path: Path) -> None:
    load(engine, tmp_path)
    for name in ("qa-1", "qa-2", "qa-3", "ana"):
        assert (
            client.put(f"/v1/customers/{name}", json={"addresses": {"email": f"{name}@e.example"}}).status_code == 200
        )


def tables(engine: Engine) -> dict[str, int]:
    def read(connection: Any) -> dict[str, int]:  # noqa: ANN401
        return {name: connection.exec_driver_sql(f"select count(*) from {name}").scalar_one() for name in COUNTED}  # noqa: S608

    return engine.runtime.store.read(read)


def outbox(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "outbox" / "email.jsonl"
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def test_a_test_send_goes_to_the_list_at_once_marked_and_counts_for_nothing(
    engine: Engine, client: TestClient, tmp_path: Path
) -> None:
    client.put("/v1/suppressions", json={"customer_id": "qa-2"})
    before = tables(engine)
    answer = client.post(PATH, json=WANTED)
    assert answer.status_code == 200, answer.text
    assert answer.json()["sends"] == [
        {"customer_id": "qa-1", "result": "sent", "detail": None},
        {"customer_id": "qa-2", "result": "refused", "detail": "suppressed"},
        {"customer_id": "qa-3", "result": "sent", "detail": None},
        {"customer_id": "qa-4", "result": "refused", "detail": "there is no such customer"},
    ]
    assert [(line["customer_id"], line["test"]) for line in outbox(tmp_path)] == [("qa-1", True), ("qa-3", True)]
    assert all(line["decision_id"].startswith("test-") for line in outbox(tmp_path))
    assert tables(engine) == before


def test_whoever_is_not_on_the_list_gets_nothing(client: TestClient, tmp_path: Path) -> None:
    answer = client.post(PATH, json=WANTED | {"customer_ids": ["ana", "qa-3", "qa-3"]})
    assert answer.json()["sends"] == [
        {"customer_id": "ana", "result": "refused", "detail": "not on the campaign's test list"},
        {"customer_id": "qa-3", "result": "sent", "detail": None},
    ]
    assert [line["customer_id"] for line in outbox(tmp_path)] == ["qa-3"]


def test_the_audit_log_has_it_without_saying_who(client: TestClient) -> None:
    client.post(PATH, json=WANTED)
    [entry] = [each for each in client.get("/v1/audit").json()["changes"] if each["action"] == "tested"]
    assert (entry["object"], entry["details"]["message"]) == ("campaign:now", "warm")
    assert len(entry["details"]["to"]) == 3
    assert "qa-1" not in str(entry)


@pytest.mark.parametrize(
    ("wanted", "detail"),
    [
        ({"message": "hot"}, "campaign now has no message 'hot'; it has warm, cold"),
        ({"channel": "app"}, "the service does not send message warm on channel 'app'; channels: email"),
        ({"channel": "sms"}, "the service does not send message warm on channel 'sms'; channels: email"),
    ],
)
def test_what_the_campaign_cannot_send_is_refused(client: TestClient, wanted: dict[str, str], detail: str) -> None:
    answer = client.post(PATH, json=WANTED | wanted)
    assert (answer.status_code, answer.json()["detail"]) == (422, detail)


def test_a_sender_that_fails_leaves_it_unknown(
    engine: Engine, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_touches: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine.routes.default.sender, "send", fail)
    sends = client.post(PATH, json=WANTED).json()["sends"]
    assert [(each["result"], each["detail"]) for each in sends[:1]] == [
        ("unknown", "the sender has failed: OSError: No space left on device")
    ]
