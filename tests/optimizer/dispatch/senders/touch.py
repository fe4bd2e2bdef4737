"""A touch as senders get it, and templates for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from optimizer.dispatch.senders import Outgoing
from optimizer.dispatch.templates import Templates
from optimizer.secret import Secret
from optimizer.unsubscribing import Links

if TYPE_CHECKING:
    from pathlib import Path

SECRET: Final = Secret(b"an example of thirty-two bytes...")
SIGNING: Final = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
PERSONAL: Final = ("ana", "example.org", "c-17", "Zebra")
"""What of the customer must never stand in what an attempt is said to have come to."""


def touch(number: int = 0, **changes: Any) -> Outgoing:  # noqa: ANN401 -- any field
    fields: dict[str, Any] = {
        "decision_id": f"019b0000-0000-7000-8000-{number:012}",
        "tenant": "default",
        "campaign_id": "winback",
        "customer_id": f"c-17-{number}",
        "address": f"ana{number}@example.org",
        "channel": "mail",
        "message": "warm",
        "template": "warm_mail",
        "version": 2,
        "send_at": "2026-01-12T15:00:00+00:00",
        "attributes": orjson.dumps({"first_name": "Zebra", "plan": "gold"}).decode(),
    }
    return Outgoing(**(fields | changes))


def templates(folder: Path, public_url: str | None = "https://service.example") -> Templates:
    """Templates of the reference `warm_mail`, version 2."""
    home = folder / "templates" / "warm_mail" / "v2"
    home.mkdir(parents=True, exist_ok=True)
    (home / "subject.txt").write_text("Hello {{ customer.first_name }}\n")
    (home / "body.txt").write_text("Dear {{ customer.first_name }},\n.\nyou have {{ customer.plan }}.\n")
    (home / "body.html").write_text("<p>Dear {{ customer.first_name }}</p>\n")
    return Templates(folder / "templates", Links(SECRET, public_url) if public_url else None)
