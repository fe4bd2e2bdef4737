"""Whether the process lives, and whether the service can decide."""

from __future__ import annotations

from fastapi import APIRouter

from api.models import Alive, Ready
from api.requests import TheCaller, TheEngine  # noqa: TC001 -- FastAPI reads the annotations
from optimizer.keys import Scope

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Alive:
    """The process answers; it asks nothing else, so that a busy service is not taken for a dead one."""
    return Alive()


@router.get("/readyz")
def readyz(engine: TheEngine, caller: TheCaller) -> Ready:
    """The service can take decisions and events; 503 while it cannot.

    A campaign whose newest model cannot be read goes on with its last good one: that is noted, for whoever may read of
    campaigns, and it is ready.
    """
    engine.runtime.store.write(lambda _connection: None)
    faults = sorted(dict(engine.serving.faults).items()) if caller.may(Scope.READ) else []
    return Ready(notes=[f"campaign {name}: {fault}" for name, fault in faults if caller.sees(name)])
