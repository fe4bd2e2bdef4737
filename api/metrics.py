"""What Prometheus asks for; `docs/metrics.md` explains every name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from optimizer.gauges import Gauges

router = APIRouter(tags=["health"])

_FORMATS: Final = {
    "text/plain": {"schema": {"type": "string"}},
    "application/openmetrics-text": {"schema": {"type": "string"}},
}


@router.get("/metrics", response_class=Response, responses={200: {"content": _FORMATS}})
def metrics(request: Request) -> Response:
    """What this process has counted and how the service stands, as text for Prometheus; OpenMetrics if asked for.

    It is answered while the database does not, too: `optimizer_database_up` is 0 then.
    """
    gauges: Gauges = request.app.state.gauges
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(gauges), media_type=media_type)
