"""A campaign that sends at once on one channel, whose provider signs what it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from optimizer.config import load_campaign
from optimizer.dispatch.routes import Callbacks, Route, Routes
from optimizer.dispatch.signing import Signer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fastapi.testclient import TestClient
    from httpx2 import Response

    from optimizer.engine import Engine

SIGNING: Final = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
CAMPAIGN: Final = """\
version: 1
campaign: {id: now, name: Sends at once, starts_at: 2020-01-01T00:00:00Z}
catalog:
  messages:
    - {id: warm, creatives: {email: {template: warm, version: 1}}}
    - id: cold
      eligibility: {attr: plan, op: ==, value: none}
      creatives: {app: {template: cold, version: 1}}
  channels: [{id: email, cost: 0.0, dispatch: service}, {id: app, cost: 0.0, dispatch: caller}]
  no_send: false
policy: {kind: uniform}
reward:
  events: [{name: clicked, value: 1, window: 1d}]
test_list: [qa-1, qa-2, qa-3, qa-4]
"""


def load(engine: Engine, folder: Path, text: str = CAMPAIGN) -> None:
    """Load the campaign, and have channel `email` take callbacks."""
    path = folder / "now.yaml"
    path.write_text(text)
    engine.load_campaign(load_campaign(path, engine.runtime.attributes))
    callbacks = Callbacks(Signer(SIGNING), {"delivered": "delivered", "Bounce": "bounced", "Spam": "complained"})
    engine.routes = Routes(engine.routes.default, {"email": Route(engine.routes.default.sender, callbacks=callbacks)})


def ask(client: TestClient, request_id: str = "r1", customer_id: str = "ana") -> dict[str, Any]:
    """A decision for a customer with an address."""
    facts = {"addresses": {"email": f"{customer_id}@example.org"}}
    assert client.put(f"/v1/customers/{customer_id}", json=facts).status_code == 200
    body = {"campaign_id": "now", "customer_id": customer_id, "request_id": request_id}
    made: dict[str, Any] = client.post("/v1/decisions", json=body).json()
    return made


def report(  # noqa: PLR0913 -- what a provider may get wrong
    client: TestClient,
    engine: Engine,
    body: object,
    *,
    channel: str = "email",
    message_id: str = "msg-1",
    late_s: int = 0,
    signer: Signer | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """What a provider sends: JSON, signed now."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    now_s = engine.runtime.now_us() // 1_000_000 - late_s
    signed = (signer or Signer(SIGNING)).headers(message_id, now_s, content)
    all_headers = {"Content-Type": "application/json"} | signed | dict(headers or {})
    return client.post(f"/v1/callbacks/{channel}", content=content, headers=all_headers)
