"""What is seen of requests: their time by route, and one line in the log for each."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from optimizer import logs
from optimizer.keys import Keys, Scope
from optimizer.metrics import REGISTRY

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from optimizer.engine import Engine

pytestmark = pytest.mark.usefixtures("logging_as_before")


def seen(method: str, route: str, status: str) -> float:
    labels = {"method": method, "route": route, "status": status}
    return REGISTRY.get_sample_value("optimizer_http_request_seconds_count", labels) or 0.0


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    logged = [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in logged if line["event"] == "request"]


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/healthz", "/healthz", "2xx"),
        ("GET", "/v1/campaigns/winback-q1", "/v1/campaigns/{campaign_id}", "2xx"),
        ("GET", "/v1/campaigns/nowhere", "/v1/campaigns/{campaign_id}", "4xx"),
        ("GET", "/v1/customers/c/1", "/v1/customers/{customer_id:path}", "4xx"),
        ("POST", "/v1/decisions", "/v1/decisions", "4xx"),
        ("GET", "/nowhere/at/all", "other", "4xx"),
        ("BREW", "/healthz", "other", "4xx"),
    ],
)
def test_a_request_is_counted_by_the_route_that_took_it_not_by_what_the_caller_made_up(
    client: TestClient, method: str, path: str, route: str, status: str
) -> None:
    shown = method if method != "BREW" else "other"
    routes = {route, "/healthz"} if method == "BREW" else {route}
    before = sum(seen(shown, each, status) for each in routes)
    client.request(method, path)
    assert sum(seen(shown, each, status) for each in routes) == before + 1


def test_every_request_is_a_line_with_its_id_at_level_debug(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("debug")
    logging.getLogger("asyncio").setLevel("WARNING")
    client.get("/v1/campaigns/winback-q1", headers={"X-Request-Id": "mine-1"})
    answered = client.get("/healthz")
    first, second = lines(capsys)
    assert (first["route"], first["status"], first["level"]) == ("/v1/campaigns/{campaign_id}", 200, "debug")
    assert first["request_id"] == "mine-1"
    assert first["duration_ms"] > 0
    assert second["request_id"] == answered.headers["x-request-id"] != "mine-1"


def test_the_line_names_the_key_and_never_shows_it(
    client: TestClient, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    key = Keys(engine.runtime).create([Scope.READ])
    logs.configure("debug")
    logging.getLogger("asyncio").setLevel("WARNING")
    client.get("/v1/campaigns", headers={"Authorization": f"Bearer {key}"})
    client.get("/v1/campaigns", headers={"Authorization": f"Bearer {key}x"})
    logged = capsys.readouterr().err
    taken, refused = (orjson.loads(line) for line in logged.splitlines() if b'"request"' in line.encode())
    assert (taken["key"], taken["status"]) == (key.split("_")[1], 200)
    assert "key" not in refused
    assert refused["status"] == 401
    assert key.split("_")[2] not in logged


def test_at_level_info_only_what_failed_is_a_line(
    client: TestClient, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info")
    client.get("/healthz")
    client.get("/v1/campaigns/nowhere")
    engine.runtime.store.close()
    client.post("/v1/decisions", json={"campaign_id": "winback-q1", "customer_id": "c", "request_id": "r"})
    [line] = lines(capsys)
    assert (line["level"], line["status"], line["route"]) == ("warning", 503, "/v1/decisions")


def test_a_refused_caller_is_counted_by_the_reason(client: TestClient, engine: Engine) -> None:
    def refused(reason: str) -> float:
        return REGISTRY.get_sample_value("optimizer_http_refused_total", {"reason": reason}) or 0.0

    key = Keys(engine.runtime).create([Scope.READ])
    before = refused("unauthorized"), refused("forbidden")
    assert client.get("/v1/campaigns").status_code == 401
    headers = {"Authorization": f"Bearer {key}"}
    assert client.post("/v1/decisions", json={}, headers=headers).status_code == 403
    assert (refused("unauthorized"), refused("forbidden")) == (before[0] + 1, before[1] + 1)


def test_a_decision_is_a_line_at_level_debug_with_its_id_and_the_request_s(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("debug")
    logging.getLogger("asyncio").setLevel("WARNING")
    question = {"campaign_id": "winback-q1", "customer_id": "ana-1", "request_id": "q-1"}
    answer = client.post("/v1/decisions", json=question, headers={"X-Request-Id": "mine-2"}).json()
    body = b"".join(orjson.dumps(question | {"request_id": f"q-{i}"}) + b"\n" for i in (2, 3))
    client.post("/v1/decisions:batch", content=body, headers={"content-type": "application/x-ndjson"})
    logged = capsys.readouterr().err
    one, many = (line for line in map(orjson.loads, logged.splitlines()) if line["event"] == "decided")
    assert (one["decision_id"], one["request_id"]) == (answer["decision_id"], "mine-2")
    assert len(many["decision_ids"]) == 2
    assert "request_id" in many
    assert "ana-1" not in logged
