"""Touches and reconciliation over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.app import create_app
from optimizer.store import touches
from optimizer.store.touches import TouchChange
from tests.api.keyed import a_key, client_with
from tests.optimizer.engine_example import only

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from optimizer.engine import Engine


@pytest.fixture
def letters(client: TestClient, engine: Engine) -> list[str]:
    """The decisions of three touches, the latest first, which has failed."""
    engine.load_campaign(only("email", features=[]))
    made: list[str] = []
    for i in range(3):
        question = {"campaign_id": "camp", "customer_id": f"c{i}", "request_id": f"r{i}"}
        made.insert(0, client.post("/v1/decisions", json=question).json()["decision_id"])
    changes = [TouchChange(made[0], "failed", engine.runtime.now_us(), "permanent_failure")]
    engine.runtime.store.write(lambda c: touches.transition(c, "default", changes))
    return made


def ids(answer: Any) -> list[str]:  # noqa: ANN401 - an answer
    return [touch["decision_id"] for touch in answer.json()["touches"]]


def test_touches_are_listed_page_by_page(client: TestClient, letters: list[str]) -> None:
    first = client.get("/v1/touches?limit=2")
    assert ids(first) == letters[:2]
    rest = client.get(f"/v1/touches?limit=2&cursor={first.json()['next']}")
    assert (ids(rest), rest.json()["next"]) == (letters[2:], None)
    assert ids(client.get("/v1/touches?state=failed&reason=permanent_failure")) == letters[:1]
    assert ids(client.get("/v1/touches?campaign_id=another")) == []
    assert client.get("/v1/touches?state=lost").status_code == 422
    [touch] = client.get("/v1/touches?state=failed").json()["touches"]
    assert (touch["reason"], touch["attempts"], touch["last_attempt"]) == ("permanent_failure", 0, None)


def test_a_touch_is_put_back_and_taken_back_and_the_audit_log_says_by_whom(
    client: TestClient, letters: list[str]
) -> None:
    again = client.post(f"/v1/touches/{letters[0]}/retry")
    assert (again.json()["state"], again.json()["reason"]) == ("planned", "by_hand")
    taken = client.post(f"/v1/touches/{letters[0]}/cancel")
    assert taken.json()["state"] == "cancelled"
    refused = client.post(f"/v1/touches/{letters[0]}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    changes = client.get(f"/v1/audit?object=touch:{letters[0]}").json()["changes"]
    assert [change["action"] for change in changes] == ["cancelled", "retried"]


def test_an_unknown_touch_needs_to_be_said(client: TestClient, engine: Engine, letters: list[str]) -> None:
    changes = [TouchChange(letters[1], "unknown", engine.runtime.now_us(), "lease_lost")]
    engine.runtime.store.write(lambda c: touches.transition(c, "default", changes))
    assert client.post(f"/v1/touches/{letters[1]}/retry").status_code == 409
    assert client.post(f"/v1/touches/{letters[1]}/retry", json={"even_if_sent": "yes"}).status_code == 422
    assert client.post("/v1/touches/none/retry").status_code == 404


def test_what_became_of_the_decisions_adds_up(client: TestClient, letters: list[str]) -> None:
    found = client.get("/v1/campaigns/camp/reconciliation").json()
    parts = [
        value if isinstance(value, int) else sum(value.values()) for key, value in found.items() if key != "decided"
    ]
    assert found["decided"] == sum(parts) == len(letters)
    assert (found["planned"], found["failed"]) == (2, 1)
    later = client.get("/v1/campaigns/camp/reconciliation?from=2026-02-01T00:00:00Z").json()
    assert later["decided"] == 0
    assert client.get("/v1/campaigns/none/reconciliation").status_code == 404


def test_a_key_that_is_bound_to_a_campaign_sees_and_acts_on_its_touches_alone(
    engine: Engine, letters: list[str]
) -> None:
    mine, another = (a_key(engine, campaigns=[name]) for name in ("camp", "another"))
    app = create_app(engine)
    with client_with(app, mine) as bound:
        assert ids(bound.get("/v1/touches")) == letters
        assert bound.post(f"/v1/touches/{letters[1]}/cancel").json()["state"] == "cancelled"
    with client_with(app, another) as bound:
        assert ids(bound.get("/v1/touches")) == ids(bound.get("/v1/touches?campaign_id=camp")) == []
        assert bound.post(f"/v1/touches/{letters[2]}/cancel").status_code == 404
