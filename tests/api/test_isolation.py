"""Tenants never see one another's data: every operation of the OpenAPI document, tried with the other one's key."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest

from api.app import create_app
from optimizer.config import load_campaign
from optimizer.keys import Scope
from optimizer.tenants import Tenants
from tests.api.conftest import CONFIGS
from tests.api.keyed import a_key, client_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi.testclient import TestClient
    from httpx2 import Response
    from sqlalchemy import Connection

    from optimizer.engine import Engine

SECRETS: Final = ("ana@example.com", "ana-of-ours", "platinum", "order-of-ours", "event-of-ours", "winback")
"""What only the tenant `ours` has; ids that a request names itself may come back."""

TABLES: Final = (
    "customers", "campaigns", "decisions", "events", "parked", "runs", "audit", "touches", "suppressions"
)  # fmt: skip

CUSTOMER: Final = {"attributes": {"plan": "platinum"}, "addresses": {"email": "ana@example.com"}}
ANA: Final = {"customer_id": "ana-of-ours", "channel": "push"}
QUESTION: Final = {"campaign_id": "winback-q1", "customer_id": "ana-of-ours", "request_id": "order-of-ours"}


@dataclass(frozen=True)
class Both:
    """Two tenants of one service: ours has everything, theirs has nothing but a key."""

    ours: TestClient
    theirs: TestClient
    bound: TestClient
    """With a key of ours that is bound to another campaign."""
    decision_id: str
    tables: Callable[[], dict[str, list[Any]]]


@pytest.fixture
def both(engine: Engine) -> Iterator[Both]:
    tenants = Tenants(engine)
    attributes = engine.runtime.attributes
    tenants.engine("ours").load_campaign(load_campaign(CONFIGS / "winback.yaml", attributes))
    app = create_app(engine, tenants=tenants)
    keys = [a_key(engine, tenant=tenant) for tenant in ("ours", "theirs")]
    keys.append(a_key(engine, tenant="ours", campaigns=["another"]))
    with ExitStack() as stack:
        ours, theirs, bound = [stack.enter_context(client_with(app, key)) for key in keys]
        assert ours.put("/v1/customers/ana-of-ours", json=CUSTOMER).status_code == 200
        made = ours.post("/v1/decisions", json=QUESTION).json()
        event = {"event_id": "event-of-ours", "name": "clicked", "decision_id": made["decision_id"]}
        assert ours.put("/v1/suppressions", json=ANA).status_code == 200
        assert ours.post("/v1/events", json=event).json()["status"] == "accepted"

        def tables() -> dict[str, list[Any]]:
            def read(connection: Connection) -> dict[str, list[Any]]:
                ordered = "where tenant = 'ours' order by 1, 2, 3"
                return {
                    name: [tuple(row) for row in connection.exec_driver_sql(f"select * from {name} {ordered}")]  # noqa: S608
                    for name in TABLES
                }

            return engine.runtime.store.read(read)

        yield Both(ours, theirs, bound, made["decision_id"], tables)


def _ndjson(client: TestClient, path: str, *rows: object) -> Response:
    return client.post(
        path, content=b"\n".join(map(orjson.dumps, rows)), headers={"Content-Type": "application/x-ndjson"}
    )


NOT_FOUND: Final = 404
Case = tuple["Callable[[TestClient, str], Response]", int, object]

CASES: Final[dict[str, Case]] = {
    "POST /v1/decisions": (lambda c, _: c.post("/v1/decisions", json=QUESTION), 404, None),
    "POST /v1/decisions:batch": (lambda c, _: _ndjson(c, "/v1/decisions:batch", QUESTION), 200, NOT_FOUND),
    "GET /v1/decisions/{decision_id}": (lambda c, d: c.get(f"/v1/decisions/{d}"), 404, None),
    "GET /v1/decisions/{decision_id}/explain": (lambda c, d: c.get(f"/v1/decisions/{d}/explain"), 404, None),
    # To theirs the decision is one that may still come, as any unknown one is.
    "POST /v1/events": (
        lambda c, d: c.post("/v1/events", json={"event_id": "event-of-ours", "name": "clicked", "decision_id": d}),
        200,
        {"event_id": "event-of-ours", "status": "parked"},
    ),
    "POST /v1/customers:batch": (
        lambda c, _: _ndjson(c, "/v1/customers:batch", {"customer_id": "ana-of-ours"}),
        200,
        {"row": 1, "customer_id": "ana-of-ours", "status": "stored"},
    ),
    "GET /v1/customers/{customer_id}": (lambda c, _: c.get("/v1/customers/ana-of-ours"), 404, None),
    "PUT /v1/customers/{customer_id}": (
        lambda c, _: c.put("/v1/customers/ana-of-ours", json={}),
        200,
        {"customer_id": "ana-of-ours", "status": "stored"},
    ),
    "DELETE /v1/customers/{customer_id}": (lambda c, _: c.delete("/v1/customers/ana-of-ours"), 404, None),
    "GET /v1/customers/{customer_id}/data": (lambda c, _: c.get("/v1/customers/ana-of-ours/data"), 404, None),
    "PUT /v1/suppressions": (lambda c, _: c.put("/v1/suppressions", json=ANA), 200, None),
    "POST /v1/suppressions:batch": (
        lambda c, _: _ndjson(c, "/v1/suppressions:batch", ANA),
        200,
        {"row": 1, "status": "suppressed"},
    ),
    "POST /v1/suppressions:lift": (
        lambda c, _: c.post("/v1/suppressions:lift", json=ANA),
        200,
        {"suppressions": []},
    ),
    "POST /v1/suppressions:check": (
        lambda c, _: c.post("/v1/suppressions:check", json=ANA),
        200,
        {"suppressions": []},
    ),
    "GET /v1/campaigns": (lambda c, _: c.get("/v1/campaigns"), 200, []),
    "GET /v1/campaigns/{campaign_id}": (lambda c, _: c.get("/v1/campaigns/winback-q1"), 404, None),
    "GET /v1/campaigns/{campaign_id}/runs": (lambda c, _: c.get("/v1/campaigns/winback-q1/runs"), 200, []),
    "GET /v1/campaigns/{campaign_id}/removals": (lambda c, _: c.get("/v1/campaigns/winback-q1/removals"), 404, None),
    "POST /v1/campaigns/{campaign_id}/runs": (lambda c, _: c.post("/v1/campaigns/winback-q1/runs"), 404, None),
    "POST /v1/campaigns/{campaign_id}/pause": (lambda c, _: c.post("/v1/campaigns/winback-q1/pause"), 404, None),
    "POST /v1/campaigns/{campaign_id}/resume": (lambda c, _: c.post("/v1/campaigns/winback-q1/resume"), 404, None),
    "POST /v1/campaigns/{campaign_id}/test-sends": (
        lambda c, _: c.post("/v1/campaigns/winback-q1/test-sends", json={"message": "ten_percent", "channel": "sms"}),
        404,
        None,
    ),
    # Without the provider's signature, and without the recipient's link.
    "POST /v1/callbacks/{channel}": (
        lambda c, d: c.post("/v1/callbacks/email", json={"name": "clicked", "decision_id": d, "tenant": "ours"}),
        401,
        None,
    ),
    "GET /unsubscribe/{token}": (lambda c, d: c.get(f"/unsubscribe/{d}"), 404, None),
    "POST /unsubscribe/{token}": (lambda c, d: c.post(f"/unsubscribe/{d}"), 404, None),
    "GET /v1/campaigns/{campaign_id}/reconciliation": (
        lambda c, _: c.get("/v1/campaigns/winback-q1/reconciliation"),
        404,
        None,
    ),
    "GET /v1/touches": (lambda c, _: c.get("/v1/touches"), 200, {"touches": [], "next": None}),
    "POST /v1/touches/{decision_id}/retry": (lambda c, d: c.post(f"/v1/touches/{d}/retry"), 404, None),
    "POST /v1/touches/{decision_id}/cancel": (lambda c, d: c.post(f"/v1/touches/{d}/cancel"), 404, None),
    "GET /v1/audit": (lambda c, _: c.get("/v1/audit?object=campaign:winback-q1"), 200, {"changes": [], "next": None}),
    "GET /metrics": (lambda c, _: c.get("/metrics"), 403, None),
    "GET /healthz": (lambda c, _: c.get("/healthz"), 200, {"status": "ok"}),
    "GET /readyz": (lambda c, _: c.get("/readyz"), 200, {"status": "ready", "notes": []}),
}
"""For each operation: how it is tried for what is ours, and the status and the body that theirs gets."""

PROVEN: Final = {"POST /v1/callbacks/{channel}", "GET /unsubscribe/{token}", "POST /unsubscribe/{token}"}
"""What needs no key: what is sent proves by itself who may."""
OPEN: Final = {"GET /healthz", "GET /readyz", *PROVEN}
METRICS: Final = "GET /metrics"


def operations(client: TestClient) -> set[str]:
    paths = client.get("/openapi.json").json()["paths"]
    return {f"{method.upper()} {path}" for path, each in paths.items() for method in each}


def test_there_is_a_case_for_every_operation(both: Both) -> None:
    """A new operation needs a case here: what does another tenant get, who knows all the ids?"""
    assert operations(both.ours) == set(CASES)


@pytest.mark.parametrize("operation", CASES)
def test_a_tenant_sees_and_changes_nothing_of_another(both: Both, operation: str) -> None:
    attempt, status, body = CASES[operation]
    before = both.tables()
    answer = attempt(both.theirs, both.decision_id)
    assert answer.status_code == status, answer.text
    if body is NOT_FOUND:
        assert answer.json()["error"]["status"] == 404
    elif body is not None:
        assert answer.json() == body
    named = f"{answer.request.url} {answer.request.content.decode()}"
    assert [secret for secret in SECRETS if secret in answer.text and secret not in named] == []
    assert both.tables() == before


@pytest.mark.parametrize("operation", sorted(CASES.keys() - OPEN))
def test_a_key_bound_to_a_campaign_sees_and_changes_nothing_of_the_others(both: Both, operation: str) -> None:
    attempt, _, _ = CASES[operation]
    before = both.tables()
    answer = attempt(both.bound, both.decision_id)
    rejected = answer.json()["error"]["status"] if operation.endswith("decisions:batch") else answer.status_code
    if operation == "GET /v1/campaigns":
        assert answer.json() == []
    elif operation == "GET /v1/touches":
        assert answer.json() == {"touches": [], "next": None}
    else:
        assert rejected in {403, 404}, answer.text
    named = f"{answer.request.url} {answer.request.content.decode()}"
    assert [secret for secret in SECRETS if secret in answer.text and secret not in named] == []
    assert both.tables() == before


def test_without_a_key_nothing_is_answered(both: Both) -> None:
    before = both.tables()
    del both.theirs.headers["Authorization"]
    for operation in CASES.keys() - OPEN:
        attempt, _, _ = CASES[operation]
        answer = attempt(both.theirs, both.decision_id)
        assert answer.status_code == 401, operation
        assert answer.json()["code"] == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert both.tables() == before


@pytest.mark.parametrize("scope", Scope)
def test_a_key_is_good_for_its_scopes_alone(both: Both, engine: Engine, scope: Scope) -> None:
    """Tried with a key of the tenant that has everything: what is not refused is what the scope is for."""
    app: Any = both.ours.app
    key = a_key(engine, scope, tenant="ours")
    with client_with(create_app(engine, tenants=app.state.tenants), key) as client:
        allowed = {
            name for name, (attempt, _, _) in CASES.items() if attempt(client, both.decision_id).status_code != 403
        }
    expected = CASES.keys() - {METRICS} if scope is Scope.ADMIN else OPEN | SCOPES[scope]
    assert allowed == expected


def test_the_metrics_of_the_process_are_the_operators(both: Both, engine: Engine) -> None:
    app: Any = both.ours.app
    for tenant, status in (("default", 200), ("ours", 403)):
        key = a_key(engine, Scope.READ, tenant=tenant)
        with client_with(create_app(engine, tenants=app.state.tenants), key) as client:
            assert client.get("/metrics").status_code == status


SCOPES: Final[dict[Scope, set[str]]] = {
    Scope.DECIDE: {"POST /v1/decisions", "POST /v1/decisions:batch"},
    Scope.EVENTS: {"POST /v1/events"},
    Scope.READ: {
        "GET /v1/decisions/{decision_id}",
        "GET /v1/decisions/{decision_id}/explain",
        "GET /v1/customers/{customer_id}",
        "GET /v1/customers/{customer_id}/data",
        "POST /v1/suppressions:check",
        "GET /v1/campaigns",
        "GET /v1/campaigns/{campaign_id}",
        "GET /v1/campaigns/{campaign_id}/runs",
        "GET /v1/campaigns/{campaign_id}/removals",
        "GET /v1/campaigns/{campaign_id}/reconciliation",
        "GET /v1/touches",
    },
    Scope.MANAGE: {
        "POST /v1/customers:batch",
        "PUT /v1/customers/{customer_id}",
        "DELETE /v1/customers/{customer_id}",
        "PUT /v1/suppressions",
        "POST /v1/suppressions:batch",
        "POST /v1/suppressions:lift",
        "POST /v1/touches/{decision_id}/retry",
        "POST /v1/touches/{decision_id}/cancel",
        "POST /v1/campaigns/{campaign_id}/runs",
        "POST /v1/campaigns/{campaign_id}/pause",
        "POST /v1/campaigns/{campaign_id}/resume",
        "POST /v1/campaigns/{campaign_id}/test-sends",
    },
}
"""What each scope is good for; `admin` is good for everything."""
