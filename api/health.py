"""Whether the process lives, and whether the service can decide."""

from __future__ import annotations

from fastapi import APIRouter

from api.models import Alive, Ready
from api.requests import TheEngine  # noqa: TC001 -- FastAPI reads the annotations

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Alive:
    """The process answers; it asks nothing else, so that a busy service is not taken for a dead one."""
    return Alive()


@router.get("/readyz")
def readyz(engine: TheEngine) -> Ready:
    """The service can take decisions and events; 503 while it cannot.

    A campaign whose newest model cannot be read goes on with its last good one: that is noted, and it is ready.
    """
    engine.runtime.store.write(lambda _connection: None)
    faults = dict(engine.serving.faults)
    return Ready(notes=[f"campaign {campaign_id}: {fault}" for campaign_id, fault in sorted(faults.items())])
