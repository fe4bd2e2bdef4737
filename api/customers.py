"""Customers: what is known of them, one at a time or many as NDJSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from api import ndjson, problems
from api.models import CustomerBody, CustomerIn, CustomerLine, CustomerOut, CustomerStored, Key
from api.openapi import lines, rows
from api.problems import FieldError, Problem
from api.requests import JsonRoute, SpooledBody, TheEngine
from optimizer.customers import check_customer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.attributes import Attributes
    from optimizer.store.customers import Customer

router = APIRouter(prefix="/v1", tags=["customers"], route_class=JsonRoute)


@router.get("/customers/{customer_id:path}")
def customer(customer_id: Key, engine: TheEngine) -> CustomerOut:
    """What is known of a customer."""
    return CustomerOut.of(engine.customer(customer_id))


@router.put("/customers/{customer_id:path}", response_model=CustomerStored)
def put_customer(customer_id: Key, body: CustomerBody, engine: TheEngine) -> CustomerStored | Response:
    """Store what is known of a customer; it replaces everything that was known before."""
    checked = _check(CustomerIn(customer_id=customer_id, **body.model_dump()), engine.runtime.attributes)
    if isinstance(checked, Problem):
        return problems.respond(checked)
    engine.put_customers([checked])
    return CustomerStored(customer_id=customer_id)


@router.post(
    "/customers:batch",
    openapi_extra=rows(CustomerIn),
    responses=lines(CustomerLine),
    response_class=StreamingResponse,
)
def put_customers(body: SpooledBody, engine: TheEngine) -> StreamingResponse:
    """Store many customers: one a line, and for each line that it is stored or what was wrong with it.

    Each row stands alone: one that is rejected does not hold up the others. Of several rows with one id the last wins.
    """

    def act(sent: Sequence[CustomerIn]) -> Sequence[Customer | Problem]:
        checked = [_check(row, engine.runtime.attributes) for row in sent]
        engine.put_customers([found for found in checked if not isinstance(found, Problem)])
        return checked

    def answer(row: int, stored: Customer) -> CustomerLine:
        return CustomerLine(row=row, customer_id=stored.customer_id)

    return StreamingResponse(ndjson.Rows(CustomerIn, act, answer).stream(body), media_type=ndjson.MEDIA_TYPE)


def _check(sent: CustomerIn, attributes: Attributes) -> Customer | Problem:
    customer, wrong = check_customer(sent.model_dump(), attributes)
    if customer is None:
        return problems.invalid([FieldError(path=problem.field, message=problem.message) for problem in wrong])
    return customer
