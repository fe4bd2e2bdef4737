"""The HTTP service over an engine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI

from api import audit, campaigns, customers, decisions, events, health, openapi, problems

if TYPE_CHECKING:
    from optimizer.engine import Engine

DESCRIPTION: Final = (
    "Picks message, channel and time for each customer, or not to send at all, and learns from what happens. "
    "Errors are `application/problem+json`. Bodies of many rows are NDJSON: a JSON value a line."
)


def create_app(engine: Engine) -> FastAPI:
    """The application; starting and closing the engine is the caller's business.

    Its routes are plain functions, run in threads: the engine blocks until a decision is on disk, and many threads that
    wait together share one commit.
    """
    app = FastAPI(
        title="Campaign optimizer",
        version="1",
        description=DESCRIPTION,
        responses=openapi.FAILURES,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.engine = engine
    problems.install(app)
    for room in (decisions, events, customers, campaigns, audit, health):
        app.include_router(room.router)
    app.openapi = partial(openapi.document, app)  # type: ignore[method-assign]
    return app
