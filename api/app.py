"""The HTTP service over an engine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from api import (
    audit,
    callbacks,
    campaigns,
    customers,
    decisions,
    events,
    health,
    metrics,
    openapi,
    problems,
    suppressions,
    touches,
    trials,
    unsubscribe,
)
from api.direct import Direct
from api.doors import Doors
from api.visit import Limits
from api.watch import Watch
from optimizer.gauges import Gauges
from optimizer.tenants import Tenants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp

    from optimizer.engine import Engine

DESCRIPTION: Final = (
    "Picks message, channel and time for each customer, or not to send at all, and learns from what happens. "
    "Errors are `application/problem+json`. Bodies of many rows are NDJSON: a JSON value a line."
)


def create_app(
    engine: Engine,
    *,
    limits: Limits | None = None,
    origins: Sequence[str] = (),
    tenants: Tenants | None = None,
    watched_only: bool = False,
) -> FastAPI:
    """The application; starting and closing the engine is the caller's business.

    Most of its routes are plain functions, run in threads: the engine blocks until what was done is on disk. Single
    decisions wait without a thread; those that wait together are decided in one transaction.

    Args:
        engine: of the operator's own tenant.
        limits: what each caller may ask.
        origins: of the web pages that a browser may let ask; none by default.
        tenants: the engines of all tenants, where somebody else uses them too.
        watched_only: whether it only tells how the process is, as one does that works in the background.
    """
    app = FastAPI(
        title="Campaign optimizer",
        version="1",
        description=DESCRIPTION,
        responses=openapi.FAILURES,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        # To the host that the request names, whichever that is.
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        # What is seen from outside is ours (`Watch`, `optimizer.metrics`); to look for another's costs every request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.tenants = tenants or Tenants(engine)
    app.state.gauges = Gauges(app.state.tenants)
    problems.install(app)
    watched = (health, metrics)
    for room in (
        watched
        if watched_only
        else (
            decisions,
            events,
            callbacks,
            unsubscribe,
            customers,
            suppressions,
            campaigns,
            trials,
            touches,
            audit,
            *watched,
        )
    ):
        app.include_router(room.router)
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign]
    inside = app.build_middleware_stack()
    if not watched_only:
        inside = Direct(inside, app.state.tenants)
    # Outside of all that FastAPI does, so that what needs none of it does not pay for it.
    app.middleware_stack = Watch(_shared(Doors(inside, engine.runtime, limits or Limits()), origins))
    return app


def _shared(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """The application as web pages of these origins may ask it from a browser."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["DELETE", "GET", "POST", "PUT"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Api-Key", "X-Request-Id"],
        expose_headers=["Idempotent-Replayed", "Retry-After", "X-Request-Id"],
    )
