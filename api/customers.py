"""Customers: what is known of them, one at a time or many as NDJSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse
from starlette import status
from starlette.routing import Match

from api import ndjson, problems
from api.models import (
    ChangeOut,
    CustomerBody,
    CustomerData,
    CustomerFacts,
    CustomerIn,
    CustomerLine,
    CustomerOut,
    CustomerStored,
    HeldDecisionOut,
    HeldEvent,
    HeldExternalTouch,
    Key,
)
from api.openapi import lines, rows
from api.problems import FieldError, Problem
from api.requests import JsonRoute, SpooledBody, TheCaller, TheEngine
from optimizer.customers import check_customer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel
    from starlette.types import Scope

    from optimizer.attributes import Attributes
    from optimizer.disclosure import Disclosure
    from optimizer.store.customers import Customer

router = APIRouter(tags=["customers"], route_class=JsonRoute)


class CustomerRoute(JsonRoute):
    """A route whose path ends in a customer's id, which may hold slashes, or in `/data` behind one.

    Which of the two is meant, the path as it was sent tells: the slash of an id that ends in `/data` is sent as `%2F`.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether this route is meant."""
        sent: bytes = scope.get("raw_path") or scope.get("path", "").encode()
        if bool(_DATA.fullmatch(sent)) != self.path.endswith("/data"):
            return Match.NONE, {}
        return super().matches(scope)


_DATA: Final = re.compile(rb".*/customers/.+/data")
_named = APIRouter(prefix="/v1", route_class=CustomerRoute)


@_named.get(
    "/customers/{customer_id:path}/data", responses={200: {"model": CustomerData}}, response_class=StreamingResponse
)
def customer_data(customer_id: Key, engine: TheEngine) -> StreamingResponse:
    """Everything that is held about a customer.

    In the path of a customer whose id itself ends in `/data`, that slash has to be sent as `%2F`.
    """
    return StreamingResponse(_written(engine.disclose(customer_id)), media_type="application/json")


@_named.delete("/customers/{customer_id:path}", status_code=status.HTTP_204_NO_CONTENT)
def erase_customer(customer_id: Key, engine: TheEngine, caller: TheCaller) -> None:
    """Erase a customer: facts, addresses, consents, and the link to what was decided; planned touches are cancelled.

    Decisions and their rewards stay, under a subject that names nobody any more. The addresses of a customer who must
    not be reached stay suppressed; a suppression by id goes with the customer.
    """
    engine.erase_customer(customer_id, by=caller.by)


@_named.get("/customers/{customer_id:path}")
def customer(customer_id: Key, engine: TheEngine) -> CustomerOut:
    """What is known of a customer."""
    return CustomerOut.of(engine.customer(customer_id))


@_named.put("/customers/{customer_id:path}", response_model=CustomerStored)
def put_customer(
    customer_id: Key, body: CustomerBody, engine: TheEngine, caller: TheCaller
) -> CustomerStored | Response:
    """Store what is known of a customer; it replaces everything that was known before."""
    checked = _check(CustomerIn(customer_id=customer_id, **body.model_dump()), engine.runtime.attributes)
    if isinstance(checked, Problem):
        return problems.respond(checked)
    engine.put_customers([checked], by=caller.by)
    return CustomerStored(customer_id=customer_id)


@router.post(
    "/v1/customers:batch",
    openapi_extra=rows(CustomerIn),
    responses=lines(CustomerLine),
    response_class=StreamingResponse,
)
def put_customers(body: SpooledBody, engine: TheEngine, caller: TheCaller) -> StreamingResponse:
    """Store many customers: one a line, and for each line that it is stored or what was wrong with it.

    Each row stands alone: one that is rejected does not hold up the others. Of several rows with one id the last wins.
    """

    def act(sent: Sequence[CustomerIn]) -> Sequence[Customer | Problem]:
        checked = [_check(row, engine.runtime.attributes) for row in sent]
        engine.put_customers([found for found in checked if not isinstance(found, Problem)], by=caller.by)
        return checked

    def answer(row: int, stored: Customer) -> dict[str, Any]:
        return {"row": row, "customer_id": stored.customer_id, "status": "stored"}

    return StreamingResponse(ndjson.Rows(CustomerIn, act, answer).stream(body), media_type=ndjson.MEDIA_TYPE)


router.include_router(_named)


def _written(held: Disclosure) -> Iterator[bytes]:
    """The document `CustomerData`, as it is read."""
    yield CustomerFacts.held(held).model_dump_json().encode().removesuffix(b"}")
    parts: dict[str, Iterator[BaseModel]] = {
        "decisions": map(HeldDecisionOut.of, held.decisions()),
        "external_touches": map(HeldExternalTouch.of, held.external_touches()),
        "events": map(HeldEvent.of, held.events()),
        "changes": map(ChangeOut.of, held.changes()),
    }
    for name, items in parts.items():
        yield f',"{name}":['.encode()
        for number, item in enumerate(items):
            yield (b"," if number else b"") + item.model_dump_json().encode()
        yield b"]"
    yield b"}"


def _check(sent: CustomerIn, attributes: Attributes) -> Customer | Problem:
    customer, wrong = check_customer(sent.model_dump(), attributes)
    if customer is None:
        return problems.invalid([FieldError(path=problem.field, message=problem.message) for problem in wrong])
    return customer
