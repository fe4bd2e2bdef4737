from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.visit import Limits
from optimizer.tenants import Tenants
from optimizer.unsubscribing import PATH, TRIAL, token
from tests.api.keyed import a_key, client_with
from tests.api.sending import ask, load

if TYPE_CHECKING:
    from pathlib import Path

    from optimizer.engine import Engine

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture(autouse=True)
def decision(engine: Engine, client: TestClient, tmp_path: Path) -> dict[str, Any]:
    load(engine, tmp_path)
    return ask(client)


@pytest.fixture
def link(engine: Engine, decision: dict[str, Any]) -> str:
    return PATH + token(engine.runtime.secret, "default", decision["decision_id"])


NO_MAIL = [("address", "email", "unsubscribed"), ("customer", "email", "unsubscribed")]


def suppressed(client: TestClient) -> list[tuple[str, str | None, str]]:
    found = client.post("/v1/suppressions:check", json={"customer_id": "ana"}).json()["suppressions"]
    return sorted((each["of"], each["channel"], each["cause"]) for each in found)


def test_looking_at_the_page_unsubscribes_nobody(client: TestClient, link: str) -> None:
    for _ in range(3):
        page = client.get(link)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert '<form method="post">' in page.text
    assert client.head(link).status_code in {200, 405}
    assert suppressed(client) == []


def test_one_click_unsubscribes_and_takes_back_what_was_planned(
    engine: Engine, client: TestClient, link: str, decision: dict[str, Any]
) -> None:
    done = client.post(link, data=ONE_CLICK)
    assert (done.status_code, "You are unsubscribed" in done.text) == (200, True)
    assert suppressed(client) == NO_MAIL
    assert engine.campaign("now").touches.get("cancelled", 0) >= 1
    again = client.post(link, data=ONE_CLICK)
    assert (again.status_code, again.text) == (done.status_code, done.text)
    events = client.get(f"/v1/decisions/{decision['decision_id']}/explain").json()
    assert str(events).count("unsubscribe:") <= 1


def test_the_body_does_not_matter(client: TestClient, link: str) -> None:
    """Mail programs send a form, in one of two encodings; the button sends one too."""
    assert client.post(link, files={"List-Unsubscribe": (None, "One-Click")}).status_code == 200
    assert suppressed(client) == NO_MAIL


def test_a_wrong_link_leads_nowhere_and_says_no_more(engine: Engine, client: TestClient, link: str) -> None:
    unknown = PATH + token(engine.runtime.secret, "default", "019b0000-0000-7000-8000-000000000000")
    foreign = PATH + token(engine.runtime.secret, "ours", link)
    answers = [
        *(client.get(path) for path in (link[:-1], link + "A", PATH + "x", PATH + "%ff", PATH + "a" * 5000)),
        *(client.post(path, data=ONE_CLICK) for path in (link[:-1], PATH + "x", unknown, foreign)),
    ]
    assert {answer.status_code for answer in answers} <= {404, 422}
    told = {answer.json()["detail"] for answer in answers if answer.status_code == 404}
    assert told == {"This link leads nowhere."}
    assert suppressed(client) == []


def test_no_key_is_needed(engine: Engine, link: str) -> None:
    with client_with(create_app(engine), a_key(engine)) as client:
        key = client.headers.pop("Authorization")
        assert client.get(link).status_code == 200
        assert client.post(link, data=ONE_CLICK).status_code == 200
        client.headers["Authorization"] = key
        assert suppressed(client) == NO_MAIL


def test_a_token_is_its_tenants(engine: Engine, tmp_path: Path) -> None:
    tenants = Tenants(engine)
    ours = tenants.engine("ours")
    load(ours, tmp_path)
    app = create_app(engine, tenants=tenants)
    with client_with(app, a_key(engine, tenant="ours")) as client:
        decision_id = ask(client)["decision_id"]
        assert client.post(PATH + token(engine.runtime.secret, "default", decision_id)).status_code == 404
        assert suppressed(client) == []
        assert client.post(PATH + token(engine.runtime.secret, "ours", decision_id)).status_code == 200
        assert suppressed(client) == NO_MAIL


def test_the_link_of_a_test_send_changes_nothing(client: TestClient) -> None:
    assert "was a test" in client.get(PATH + TRIAL).text
    assert "was a test" in client.post(PATH + TRIAL, data=ONE_CLICK).text


def test_who_asks_too_often_waits(engine: Engine, link: str) -> None:
    with TestClient(create_app(engine, limits=Limits(rate=1)), "http://localhost") as client:
        statuses = [client.get(link).status_code for _ in range(5)]
        assert statuses[0] == 200
        assert 429 in statuses
        # Those who have keys are not held up by it.
        assert client.get("/v1/campaigns").status_code == 200
