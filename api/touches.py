"""Touches: how they stand, and those that people put back or take back by hand."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.models import Key, RetryIn, TouchesQuery, TouchOut, TouchPage, TouchState
from api.requests import JsonRoute, TheCaller, TheEngine
from optimizer.dispatch.handling import Wanted

router = APIRouter(prefix="/v1/touches", tags=["touches"], route_class=JsonRoute)


@router.get("")
def touches(engine: TheEngine, wanted: Annotated[TouchesQuery, Query()]) -> TouchPage:
    """Touches, the latest decision first; those that have failed are the dead letters."""
    of = Wanted(wanted.campaign_id, wanted.state, wanted.reason, wanted.channel)
    found = engine.touches(of, wanted.limit + 1, wanted.cursor)
    page = [TouchOut.of(report) for report in found[: wanted.limit]]
    return TouchPage(touches=page, next=page[-1].decision_id if len(found) > wanted.limit else None)


@router.post("/{decision_id}/retry")
def retry(decision_id: Key, engine: TheEngine, caller: TheCaller, wanted: RetryIn | None = None) -> TouchState:
    """Have a touch sent after all that has failed, while its window is open; its rules are asked once more before.

    One that is `unknown` only with `even_if_sent`: it may reach its customer twice.
    """
    even_if_sent = wanted is not None and wanted.even_if_sent
    return TouchState.of(engine.retry_touch(decision_id, even_if_sent=even_if_sent, by=caller.by))


@router.post("/{decision_id}/cancel")
def cancel(decision_id: Key, engine: TheEngine, caller: TheCaller) -> TouchState:
    """Take a touch back that is not sent yet."""
    return TouchState.of(engine.cancel_touch(decision_id, by=caller.by))
