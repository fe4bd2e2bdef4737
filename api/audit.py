"""The audit log: who changed which campaign, key or customer, and when."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.models import AuditPage, AuditQuery
from api.requests import JsonRoute, TheEngine
from optimizer.audit import customer_object
from optimizer.clock import to_us

router = APIRouter(prefix="/v1", tags=["audit"], route_class=JsonRoute)


@router.get("/audit")
def audit(engine: TheEngine, wanted: Annotated[AuditQuery, Query()]) -> AuditPage:
    """The changes of campaigns, keys and customers, the latest first."""
    object_ = wanted.object_
    if wanted.customer_id is not None:
        object_ = customer_object(engine.runtime.secret, wanted.customer_id)
    since_us = None if wanted.since is None else to_us(wanted.since)
    rows = engine.changes(wanted.limit + 1, object_=object_, since_us=since_us, before_id=wanted.cursor)
    return AuditPage.of(rows[: wanted.limit], more=len(rows) > wanted.limit)
