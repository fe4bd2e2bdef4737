"""Touches and what became of a campaign's decisions, as they are shown."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from api.models.base import Key, Sent, examples
from optimizer.clock import from_us
from optimizer.scalars import Instant

if TYPE_CHECKING:
    from optimizer.dispatch.handling import TouchReport
    from optimizer.reconciliation import Reconciliation
    from optimizer.store.attempts import AttemptRow
    from optimizer.store.rows import TouchRow

State = Literal[
    "planned", "leased", "sending", "sent", "delivered", "opened", "clicked", "converted",
    "bounced", "expired", "cancelled", "failed", "unknown",
]  # fmt: skip

_STATE: Final[dict[str, Any]] = {
    "decision_id": "019bb1a5-6a00-7c3e-9f52-3d1c9b0a7e11",
    "state": "failed",
    "reason": "retries_used_up",
    "attempts": 6,
    "due_at": "2026-01-12T15:10:00Z",
    "expires_at": "2026-01-12T18:00:00Z",
    "sent_at": None,
}
_TOUCH: Final[dict[str, Any]] = _STATE | {
    "campaign_id": "winback-q1",
    "message": "free_shipping",
    "channel": "email",
    "dispatch": "service",
    "last_attempt": {
        "at": "2026-01-12T15:11:02Z",
        "sender": "SmtpSender",
        "outcome": "temporary",
        "detail": "451 try again later",
        "provider_id": None,
    },
}


class TouchesQuery(Sent):
    """Which touches are asked for."""

    campaign_id: Key | None = Field(default=None, description="Only touches of this campaign.")
    state: State | None = Field(default=None, description="Only those in this state; `failed` are the dead letters.")
    reason: Key | None = Field(default=None, description="Only those that are in their state for this reason.")
    channel: Key | None = Field(default=None, description="Only those on this channel.")
    cursor: Key | None = Field(default=None, description="The `next` of a page: what comes after it.")
    limit: Annotated[int, Field(ge=1, le=1000)] = Field(default=100, description="How many a page holds at most.")


class RetryIn(Sent):
    """How a touch is sent after all."""

    model_config = ConfigDict(json_schema_extra=examples({"even_if_sent": True}))

    even_if_sent: bool = Field(
        default=False, strict=True, description="Whether one that is `unknown` is sent too, though it may have been."
    )


class TouchState(BaseModel):
    """How a touch stands."""

    model_config = ConfigDict(json_schema_extra=examples(_STATE))

    decision_id: str
    state: State
    reason: str | None = Field(description="Why it is in this state, where there is more to say.")
    attempts: int = Field(description="How often it was tried to send it.")
    due_at: datetime = Field(description="When it is to be sent (again), or was.")
    expires_at: datetime = Field(description="When its window ends: it is not sent then or later.")
    sent_at: datetime | None

    @classmethod
    def of(cls, touch: TouchRow) -> Self:
        """A touch of the engine."""
        return cls(**_state(touch))


class AttemptOut(BaseModel):
    """One attempt to send a touch."""

    at: datetime = Field(description="When something was heard of it.")
    sender: str
    outcome: Literal["sent", "temporary", "permanent", "unknown"]
    detail: str | None = Field(description="What the sender said of it.")
    provider_id: str | None = Field(description="The id that the provider gave it.")

    @classmethod
    def of(cls, row: AttemptRow) -> Self:
        """A row of the log."""
        return cls.model_validate(
            {
                "at": from_us(row.at_us),
                "sender": row.sender,
                "outcome": row.outcome,
                "detail": row.detail,
                "provider_id": row.provider_id,
            }
        )


class TouchOut(TouchState):
    """A touch, whole."""

    model_config = ConfigDict(json_schema_extra=examples(_TOUCH))

    campaign_id: str
    message: str
    channel: str | None
    dispatch: Literal["service", "caller"] = Field(description="Who sends it: this service, or the caller.")
    last_attempt: AttemptOut | None = Field(description="The last attempt of which something was heard.")

    @classmethod
    def of(cls, found: TouchReport) -> Self:  # type: ignore[override]
        """A touch of the engine, with the last attempt at it."""
        touch = found.touch
        return cls(
            **_state(touch),
            campaign_id=touch.campaign_id,
            message=touch.message,
            channel=touch.channel,
            dispatch="service" if touch.dispatch == "service" else "caller",
            last_attempt=AttemptOut.of(found.attempt) if found.attempt else None,
        )


class TouchPage(BaseModel):
    """Some touches, the latest decision first."""

    model_config = ConfigDict(json_schema_extra=examples({"touches": [_TOUCH], "next": None}))

    touches: list[TouchOut]
    next: str | None = Field(description="The `cursor` of the next page; null: this is the last one.")


class ReconciliationQuery(Sent):
    """Of which decisions it is told what became of them."""

    from_: Instant | None = Field(default=None, alias="from", description="Of those made then or later.")
    until: Instant | None = Field(default=None, description="Of those made before.")


class ReconciliationOut(BaseModel):
    """What became of a campaign's decisions: `decided` is the sum of all the other numbers, always."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "decided": 75000,
                "not_sent": {"chose_no_send": 9800, "holdout": 7500},
                "planned": 1800,
                "sent": 43000,
                "delivered": 9120,
                "bounced": 410,
                "expired": 2100,
                "cancelled": {"suppressed": 1200},
                "failed": 68,
                "unknown": 2,
            }
        )
    )

    decided: int = Field(description="How many decisions there are.")
    not_sent: dict[str, int] = Field(description="Those that send nothing, by their reason.")
    planned: int = Field(description="Those whose touch is to be sent, or is being sent.")
    sent: int = Field(description="Those whose touch was sent, of which nothing more is known.")
    delivered: int = Field(description="Those whose touch was delivered; opened, clicked and converted ones are too.")
    bounced: int = Field(description="Those whose touch was sent back.")
    expired: int = Field(description="Those whose window ended before their touch was sent.")
    cancelled: dict[str, int] = Field(description="Those whose touch was taken back, by why.")
    failed: int = Field(description="Those whose touch could not be sent.")
    unknown: int = Field(description="Those of whose touch nobody knows whether it was sent.")

    @classmethod
    def of(cls, found: Reconciliation) -> Self:
        """What the engine counted."""
        return cls.model_validate(asdict(found))


def _state(touch: TouchRow) -> dict[str, Any]:
    return {
        "decision_id": touch.decision_id,
        "state": touch.state,
        "reason": touch.reason,
        "attempts": touch.attempts,
        "due_at": from_us(touch.due_us),
        "expires_at": from_us(touch.expires_us),
        "sent_at": None if touch.sent_us is None else from_us(touch.sent_us),
    }
