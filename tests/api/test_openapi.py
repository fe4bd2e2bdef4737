from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from api import models
from api.models import CustomerIn, DecisionIn, EventObserved, RunIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi.testclient import TestClient

MODELS = [
    value
    for value in vars(models).values()
    if isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel
]


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in references(document):
        _, _, kind, name = reference.split("/")
        assert name in document["components"][kind]


def test_every_route_of_the_service_is_described(document: dict[str, Any]) -> None:
    described = {(method.upper(), path) for path, found in document["paths"].items() for method in found}
    assert described >= {
        ("POST", "/v1/decisions"),
        ("POST", "/v1/decisions:batch"),
        ("GET", "/v1/decisions/{decision_id}"),
        ("GET", "/v1/decisions/{decision_id}/explain"),
        ("POST", "/v1/events"),
        ("PUT", "/v1/customers/{customer_id}"),
        ("POST", "/v1/customers:batch"),
        ("GET", "/v1/campaigns"),
        ("GET", "/v1/campaigns/{campaign_id}"),
        ("POST", "/v1/campaigns/{campaign_id}/runs"),
        ("POST", "/v1/campaigns/{campaign_id}/pause"),
        ("POST", "/v1/campaigns/{campaign_id}/resume"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
    }
    operations = [operation for found in document["paths"].values() for operation in found.values()]
    assert all(operation["description"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_problems_are_described_as_problem_documents(document: dict[str, Any]) -> None:
    for found in document["paths"].values():
        for operation in found.values():
            assert set(operation["responses"]) - {"200", "204"} >= {"400", "408", "413", "415", "422", "503"}
            for code in set(operation["responses"]) - {"200", "204"}:
                assert operation["responses"][code] == {"$ref": f"#/components/responses/Problem{code}"}
    for answer in document["components"]["responses"].values():
        assert list(answer["content"]) == ["application/problem+json"]


def test_batches_are_described_as_ndjson(document: dict[str, Any]) -> None:
    for path in ("/v1/decisions:batch", "/v1/customers:batch"):
        operation = document["paths"][path]["post"]
        assert list(operation["requestBody"]["content"]) == ["application/x-ndjson"]
        assert list(operation["responses"]["200"]["content"]) == ["application/x-ndjson"]


@pytest.mark.parametrize("model", MODELS)
def test_every_example_is_valid(model: type[BaseModel]) -> None:
    for example in model.model_json_schema().get("examples", []):
        model.model_validate(example)


def test_the_document_shows_an_empty_answer(document: dict[str, Any]) -> None:
    examples = document["components"]["schemas"]["DecisionOut"]["examples"]
    assert [example["arm"] is None for example in examples] == [False, True]


@pytest.mark.parametrize("model", [DecisionIn, EventObserved, CustomerIn, RunIn])
def test_everything_that_can_be_sent_is_described(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()
    assert schema["description"]
    assert all("description" in field for field in schema["properties"].values())
    assert schema["examples"]
