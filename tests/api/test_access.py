from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from api.access import ALIVE, READY, RULES, UNSUBSCRIBE, rule_of
from api.app import create_app
from optimizer.keys import Scope
from tests.api.keyed import a_key

if TYPE_CHECKING:
    from optimizer.engine import Engine


def test_every_route_has_a_rule_and_every_rule_a_route(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    used = set()
    for path, operations in document["paths"].items():
        for method in operations:
            rule = rule_of(method.upper(), path.replace("{", "").replace("}", ""))
            assert rule in RULES, f"{method} {path} is not in api.access.RULES"
            used.add(rule)
    assert {rule.path for rule in set(RULES) - used} == {"/docs", "/openapi.json"}


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/decisions", Scope.DECIDE),
        ("GET", "/v1/decisions/x/explain", Scope.READ),
        ("HEAD", "/v1/decisions/x", Scope.READ),
        ("GET", "/v1/customers/a/b/c", Scope.READ),
        ("DELETE", "/v1/customers/a", Scope.MANAGE),
        ("POST", "/v1/campaigns/a/pause", Scope.MANAGE),
        ("POST", "/v1/customers:batch", Scope.MANAGE),
        ("GET", "/v1/audit", Scope.ADMIN),
        ("GET", "/docs", None),
    ],
)
def test_a_route_needs_its_scope(method: str, path: str, scope: Scope | None) -> None:
    assert rule_of(method, path).scope is scope


@pytest.mark.parametrize(
    "path", ["", "/", "/v1", "/v1/", "/v2/decisions", "/v1/new", "/V1/decisions", "//v1/decisions"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "TRACE"])
def test_what_is_in_no_rule_is_locked(method: str, path: str) -> None:
    assert rule_of(method, path).scope is Scope.ADMIN


def test_what_needs_no_key_says_without_one_that_it_does_not_take_a_method(engine: Engine) -> None:
    a_key(engine)
    with TestClient(create_app(engine)) as client:
        for method, path in (("PUT", "/unsubscribe/x"), ("GET", "/v1/callbacks/email"), ("TRACE", "/unsubscribe/x")):
            assert client.request(method, path).status_code == 405
            assert rule_of(method, path) not in RULES


_NO_KEY = {ALIVE: "none", READY: "none", UNSUBSCRIBE: "link", "/v1/callbacks/": "signature"}


def test_the_documentation_says_of_every_rule_what_it_needs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(GET|POST|PUT|DELETE) (/\S*)` \| `?(\w+)`? \|$", text, re.MULTILINE)
    assert told == [
        (rule.method, rule.path + "…" * rule.path.endswith("/"), _NO_KEY.get(rule.path, rule.scope or "any"))
        for rule in RULES
    ]
