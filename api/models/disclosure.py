"""Everything that is held about a customer, as it is shown to whoever asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.models.audit import ChangeOut  # noqa: TC001 -- pydantic reads the annotations
from api.models.base import examples
from api.models.customers import CustomerOut
from api.models.suppressions import HeldSuppression
from optimizer import history
from optimizer.clock import from_us
from optimizer.groups import Group
from optimizer.reasons import Reason

if TYPE_CHECKING:
    from optimizer.disclosure import Disclosure, HeldDecision
    from optimizer.store import rows
    from optimizer.store.exclusions import ClaimRow


class HeldEvent(BaseModel):
    """Something that was reported."""

    event_id: str
    name: str
    decision_id: str | None = Field(description="The decision that it names.")
    campaign_id: str | None
    request_id: str | None
    occurred_at: datetime
    received_at: datetime
    fields: dict[str, JsonValue]

    @classmethod
    def of(cls, row: rows.EventRow) -> Self:
        """A row."""
        return cls(
            event_id=row.event_id,
            name=row.name,
            decision_id=row.decision_id,
            campaign_id=row.campaign_id,
            request_id=row.request_id,
            occurred_at=from_us(row.occurred_us),
            received_at=from_us(row.received_us),
            fields=orjson.loads(row.fields),
        )


class HeldTransition(BaseModel):
    """A state that a touch had."""

    state: str
    at: datetime
    reason: str | None


class HeldClaim(BaseModel):
    """A campaign that the customer is in, so that no other of its exclusion group reaches them."""

    exclusion_group: str
    campaign_id: str
    decision_id: str = Field(description="The decision with which that began.")
    since: datetime

    @classmethod
    def of(cls, row: ClaimRow) -> Self:
        """A row."""
        return cls(
            exclusion_group=row.exclusion_group,
            campaign_id=row.campaign_id,
            decision_id=row.decision_id,
            since=from_us(row.at_us),
        )


class HeldTouch(BaseModel):
    """What was or will be sent."""

    message: str
    channel: str | None
    dispatch: str = Field(description="`service`: we send; `caller`: your platform does.")
    state: str
    send_at: datetime
    expires_at: datetime
    sent_at: datetime | None
    transitions: list[HeldTransition]


class HeldExternalTouch(BaseModel):
    """What another system has sent or will send, as was reported."""

    at: datetime
    channel: str | None
    message: str | None
    campaign: str | None
    offer: str | None
    counts: bool = Field(description="Whether it counts for contact limits.")

    @classmethod
    def of(cls, row: rows.TouchRow) -> Self:
        """A row."""
        return cls(
            at=from_us(row.send_us),
            channel=row.channel,
            message=row.message or None,
            campaign=row.campaign_id or None,
            offer=row.offer,
            counts=row.counts,
        )


class HeldReward(BaseModel):
    """What a decision earned."""

    reward: float
    learned_from: bool
    closed_at: datetime
    parts: dict[str, JsonValue] = Field(description="How it came about.")


class HeldDecisionOut(BaseModel):
    """A decision about the customer and what came of it; `/v1/decisions/{decision_id}/explain` shows every arm."""

    decision_id: str
    campaign_id: str
    config_hash: str
    request_id: str | None
    occasion: str | None
    decided_at: datetime
    group: Group
    arm: str | None
    reason: Reason | None
    propensity: float | None
    snapshot_id: str | None
    context: dict[str, JsonValue] = Field(description="The facts that it was made from.")
    history: dict[str, JsonValue] = Field(description="What it knew of earlier touches.")
    touch: HeldTouch | None
    reward: HeldReward | None = Field(description="Null while it is pending.")
    events: list[HeldEvent] = Field(description="Those that name the decision and not the customer.")

    @classmethod
    def of(cls, held: HeldDecision) -> Self:
        """A decision with what belongs to it."""
        row, reward = held.row, held.reward
        return cls(
            decision_id=row.decision_id,
            campaign_id=row.campaign_id,
            config_hash=row.config_hash,
            request_id=row.request_id,
            occasion=row.occasion,
            decided_at=from_us(row.decided_us),
            group=Group(row.group_name),
            arm=row.arm,
            reason=Reason(row.reason) if row.reason else None,
            propensity=row.propensity,
            snapshot_id=row.snapshot_id,
            context=orjson.loads(row.context),
            history=orjson.loads(row.history),
            touch=_touch(held),
            reward=None
            if reward is None
            else HeldReward(
                reward=reward.reward,
                learned_from=bool(reward.learn),
                closed_at=from_us(reward.closed_us),
                parts=orjson.loads(reward.parts),
            ),
            events=[HeldEvent.of(event) for event in held.events],
        )


_FACTS: Final = {
    "customer_id": "c-1001",
    "attributes": {"plan": "gold"},
    "timezone": "America/Mexico_City",
    "addresses": {"email": "ana@example.com"},
    "consents": {"email_marketing": True},
    "updated_at": "2026-01-12T09:30:00Z",
    "subject_id": "3b0b4a4e-7f53-4b35-9a8e-6a5f8f0c2d11",
    "suppressions": [],
    "claims": [],
    "ledger": {},
}


class CustomerFacts(CustomerOut):
    """What is known of the customer, and under which id the logs know them."""

    model_config = ConfigDict(json_schema_extra=examples(_FACTS))

    subject_id: str = Field(description="What stands for the customer in decisions and events.")
    suppressions: list[HeldSuppression] = Field(description="Why the customer must not be reached, and where.")
    claims: list[HeldClaim] = Field(description="The campaign that the customer is in, of each exclusion group.")
    ledger: dict[str, JsonValue] = Field(
        description="The summary of touches and opens that decisions read, one entry a touch in each column."
    )

    @classmethod
    def held(cls, disclosure: Disclosure) -> Self:
        """The facts of a customer."""
        known = CustomerOut.of(disclosure.customer)
        return cls(
            **known.model_dump(),
            subject_id=disclosure.customer.subject_id,
            suppressions=[HeldSuppression.held(bar) for bar in disclosure.suppressions],
            claims=[HeldClaim.of(row) for row in disclosure.claims],
            ledger=_columns(disclosure.ledger),
        )


class CustomerData(CustomerFacts):
    """Everything that is held about a customer."""

    model_config = ConfigDict(
        json_schema_extra=examples(_FACTS | {"decisions": [], "external_touches": [], "events": [], "changes": []})
    )

    decisions: list[HeldDecisionOut] = Field(description="In the order of their making.")
    external_touches: list[HeldExternalTouch] = Field(description="What other systems sent, as was reported.")
    events: list[HeldEvent] = Field(description="Those that name the customer, in the order in which they came.")
    changes: list[ChangeOut] = Field(description="What was changed of the customer and by whom, the latest first.")


def _columns(ledger: str | None) -> dict[str, Any]:
    if ledger is None:
        return {}
    found = history.loads(ledger)._asdict()
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in found.items()}


def _touch(held: HeldDecision) -> HeldTouch | None:
    touch = held.touch
    if touch is None:
        return None
    return HeldTouch(
        message=touch.message,
        channel=touch.channel,
        dispatch=touch.dispatch,
        state=touch.state,
        send_at=from_us(touch.send_us),
        expires_at=from_us(touch.expires_us),
        sent_at=None if touch.sent_us is None else from_us(touch.sent_us),
        transitions=[
            HeldTransition(state=row.state, at=from_us(row.at_us), reason=row.reason) for row in held.transitions
        ],
    )
