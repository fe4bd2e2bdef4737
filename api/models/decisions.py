"""Questions and decisions, as they are sent and answered."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from api.models.base import Facts, Key, Sent, examples
from api.ndjson import ROW
from optimizer.clock import from_us
from optimizer.decisions import DecisionRequest
from optimizer.groups import Group
from optimizer.reasons import Reason
from optimizer.rewards import Standing
from optimizer.scalars import Id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optimizer.catalog import Arm
    from optimizer.decisions import Decision
    from optimizer.engine import Explanation
    from optimizer.rewards import JoinedReward
    from optimizer.verification import Candidate

DECISION_ID: Final = "019bb1a5-6a00-7c3e-9f52-3d1c9b0a7e11"
"""The id that the examples use."""

_ARM: Final = {"id": "ten_percent/email/evening", "message": "ten_percent", "channel": "email", "slot": "evening"}
_DECISION: Final = {
    "decision_id": DECISION_ID,
    "campaign_id": "winback-q1",
    "customer_id": "c-1001",
    "request_id": "order-page-7781",
    "occasion": None,
    "group": "treatment",
    "arm": _ARM,
    "reason": None,
    "propensity": 0.8125,
    "decided_at": "2026-01-12T09:30:00Z",
    "send_at": "2026-01-13T00:00:00Z",
    "expires_at": "2026-01-13T02:30:00Z",
    "config_hash": "5f1d…",
    "snapshot_id": "019bb1a0-0c00-7aa1-8d0f-52f6a0a3c9d4",
    "replayed": False,
}
_NOT_SENT: Final = _DECISION | {
    "arm": None,
    "reason": "holdout",
    "group": "holdout",
    "propensity": 1.0,
    "send_at": None,
    "expires_at": None,
    "snapshot_id": None,
}


class DecisionIn(Sent):
    """A question: what to do for this customer now."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "campaign_id": "winback-q1",
                "customer_id": "c-1001",
                "request_id": "order-page-7781",
                "attributes": {"plan": "gold", "days_inactive": 75},
                "timezone": "America/Mexico_City",
            }
        )
    )

    campaign_id: Id = Field(description="The campaign to decide for.")
    customer_id: Key = Field(description="The customer, by the id under which your platform knows them.")
    request_id: Key = Field(
        description="Your own id of this question, unique in the campaign. A repeat gets the stored decision; another "
        "question under the same id is a conflict."
    )
    attributes: Facts = Field(
        default_factory=dict,
        description="Declared attributes; they win over those of the customer table. Null is missing.",
    )
    timezone: str | None = Field(default=None, description="IANA time zone; it wins over the customer's.")

    def request(self) -> DecisionRequest:
        """The question as the engine takes it."""
        return DecisionRequest(self.campaign_id, self.customer_id, self.request_id, self.attributes, self.timezone)


def _plain_arm(arm: Arm) -> dict[str, str | None]:
    return {"id": arm.id, "message": arm.message, "channel": arm.channel, "slot": arm.slot}


class ArmOut(BaseModel):
    """What to send; a dimension that the campaign does not have is null."""

    id: str = Field(description="`message/channel/slot`, with the dimensions that the campaign has.")
    message: str | None
    channel: str | None
    slot: str | None

    @classmethod
    def of(cls, arm: Arm) -> Self:
        """An arm of the catalog."""
        return cls.model_validate(_plain_arm(arm))


class DecisionOut(BaseModel):
    """The decision. Not to send is an answer as well: `arm` is null then, and `reason` says why."""

    model_config = ConfigDict(json_schema_extra=examples(_DECISION, _NOT_SENT))

    decision_id: str = Field(description="The server's id of the decision: name it in the events that follow from it.")
    campaign_id: str
    customer_id: str = Field(description="Empty where the customer has been erased since.")
    request_id: str | None = Field(description="The id of the question; null for a decision of a run.")
    occasion: str | None = Field(description="For a decision of a run: which one.")
    group: Group = Field(description="The customer's group in the campaign.")
    arm: ArmOut | None = Field(description="What to send; null: nothing.")
    reason: Reason | None = Field(description="Why nothing is to be sent.")
    propensity: float | None = Field(
        description="The probability with which this was drawn among what was allowed; null if nothing was drawn."
    )
    decided_at: datetime
    send_at: datetime | None = Field(description="When the touch is due.")
    expires_at: datetime | None = Field(description="Until when it may be sent.")
    config_hash: str = Field(description="The version of the campaign that decided.")
    snapshot_id: str | None = Field(description="The model that decided; null: none was learned yet.")
    replayed: bool = Field(description="Whether this is the stored answer to a repeated question.")

    @classmethod
    def of(cls, decision: Decision) -> Self:
        """A decision of the engine."""
        return cls.model_validate(cls.plain(decision))

    @staticmethod
    def plain(decision: Decision) -> dict[str, Any]:
        """The fields of a decision of the engine, without the model; drawing no_send is an empty answer, too."""
        arm = decision.arm
        return {
            "decision_id": decision.decision_id,
            "campaign_id": decision.campaign_id,
            "customer_id": decision.customer_id,
            "request_id": decision.request_id,
            "occasion": decision.occasion,
            "group": decision.group,
            "arm": None if arm is None or arm.message is None else _plain_arm(arm),
            "reason": decision.reason,
            "propensity": decision.propensity,
            "decided_at": decision.decided_at,
            "send_at": decision.send_at,
            "expires_at": decision.expires_at,
            "config_hash": decision.config_hash,
            "snapshot_id": decision.snapshot_id,
            "replayed": decision.replayed,
        }


class DecisionLine(BaseModel):
    """The answer to one row of a batch."""

    model_config = ConfigDict(json_schema_extra=examples({"row": 1, "decision": _DECISION}))

    row: int = Field(description=ROW)
    decision: DecisionOut


class CandidateOut(BaseModel):
    """An arm that could have been drawn."""

    arm: ArmOut = Field(description="`no_send` is an arm like any other here.")
    score: float | None = Field(description="The model's estimate of the reward; null while there is no model.")
    probability: float = Field(description="The probability with which it would have been drawn.")


class RemovedOut(BaseModel):
    """An arm that was not allowed."""

    arm: ArmOut
    reason: Reason = Field(description="The first thing that removed it.")


class EventPartOut(BaseModel):
    """An event beside a decision, and whether it counts for its reward."""

    event_id: str
    name: str
    occurred_at: datetime
    received_at: datetime
    standing: Standing = Field(description="`counted`, or why it is not: `late`, `outside_window`, `superseded`, ...")
    value: float | None = Field(description="What it is worth; null: nothing, or that cannot be told.")
    note: str = Field(description="What is wrong with it, or which decision has it instead.")


class OutcomeOut(BaseModel):
    """What came of a decision so far."""

    state: Literal["pending", "closed"] = Field(description="`closed`: the reward is final. Pending is never a no.")
    reward: float | None = Field(description="What the decision earned; null while that is pending.")
    events: list[EventPartOut] = Field(description="Every event that belongs to it, in the order of occurrence.")

    @classmethod
    def of(cls, earned: JoinedReward, *, closed: bool) -> Self:
        """What the engine says of a decision's reward."""
        parts = [
            EventPartOut(
                event_id=part.event_id,
                name=part.name,
                occurred_at=from_us(part.occurred_us),
                received_at=from_us(part.received_us),
                standing=part.standing,
                value=part.value,
                note=part.note,
            )
            for part in earned.parts
        ]
        return cls(state="closed" if closed else "pending", reward=earned.reward if closed else None, events=parts)


class OccurrenceOut(BaseModel):
    """A touch or an event that limits counted."""

    at: datetime = Field(description="When it was; of a planned touch, when it was to be.")
    what: str = Field(description="The state of the touch then, or the name of the event.")
    campaign_id: str | None = Field(description="Whose it was; null: of none, or of one that is not shown here.")
    channel: str | None
    message: str | None
    offer: str | None

    @classmethod
    def of(cls, logged: Sequence[Any]) -> Self:
        """As it is logged."""
        at_us, what, campaign_id, channel, message, offer = logged
        at = from_us(at_us)
        return cls(at=at, what=what, campaign_id=campaign_id, channel=channel, message=message, offer=offer)


class ContactOut(BaseModel):
    """What the contact rules of a campaign knew of a customer; what no rule asks for is not there."""

    consents: list[str] = Field(description="The consents given, of those that the campaign's channels ask for.")
    barred: dict[str, Reason] = Field(description="The channels on which nothing may go out; empty: every channel.")
    excluded: Reason | None = Field(description="Why the customer was another campaign's.")
    budget_reached: bool = Field(description="Whether the campaign's budget was spent.")
    touches: list[OccurrenceOut] = Field(description="The touches that counted, planned ones too, in their order.")
    outcomes: list[OccurrenceOut] = Field(description="The events that cooldowns follow, in their order.")

    @classmethod
    def of(cls, logged: Mapping[str, Any]) -> Self:
        """As it is logged with the decision."""
        return cls(
            consents=logged.get("consents", []),
            barred=logged.get("barred", {}),
            excluded=logged.get("excluded"),
            budget_reached=bool(logged.get("budget_reached")),
            touches=[OccurrenceOut.of(each) for each in logged.get("touches", ())],
            outcomes=[OccurrenceOut.of(each) for each in logged.get("outcomes", ())],
        )


class ExplanationOut(BaseModel):
    """A decision with everything that it was chosen from, and what came of it."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "decision": _DECISION,
                "candidates": [{"arm": _ARM, "score": 0.031, "probability": 0.8125}],
                "removed": [
                    {
                        "arm": {
                            "id": "ten_percent/push/evening",
                            "message": "ten_percent",
                            "channel": "push",
                            "slot": "evening",
                        },
                        "reason": "no_creative_for_channel",
                    }
                ],
                "contact": {
                    "consents": ["email_marketing"],
                    "barred": {"sms": "no_address"},
                    "excluded": None,
                    "budget_reached": False,
                    "touches": [
                        {
                            "at": "2026-01-09T15:00:00Z",
                            "what": "opened",
                            "campaign_id": "winback-q1",
                            "channel": "email",
                            "message": "ten_percent",
                            "offer": "off10",
                        }
                    ],
                    "outcomes": [],
                },
                "outcome": {
                    "state": "closed",
                    "reward": 1.0,
                    "events": [
                        {
                            "event_id": "order-1001",
                            "name": "purchased",
                            "occurred_at": "2026-01-14T11:20:00Z",
                            "received_at": "2026-01-14T11:20:05Z",
                            "standing": "counted",
                            "value": 1.0,
                            "note": "",
                        }
                    ],
                },
            }
        )
    )

    decision: DecisionOut
    candidates: list[CandidateOut] = Field(description="Every arm that was allowed, in the order of the catalog.")
    removed: list[RemovedOut] = Field(description="Every arm that was not, with its reason.")
    contact: ContactOut = Field(description="What contact rules knew of the customer then.")
    outcome: OutcomeOut = Field(description="The events that followed, and the reward.")

    @classmethod
    def of(cls, explanation: Explanation) -> Self:
        """An explanation of the engine."""
        arms = explanation.candidates
        return cls(
            decision=DecisionOut.of(explanation.decision),
            candidates=[_candidate(arm) for arm in arms if arm.reason is None],
            removed=[RemovedOut(arm=ArmOut.of(a.arm), reason=a.reason) for a in arms if a.reason is not None],
            contact=ContactOut.of(explanation.contact),
            outcome=OutcomeOut.of(explanation.earned, closed=explanation.closed),
        )


def _candidate(candidate: Candidate) -> CandidateOut:
    return CandidateOut(arm=ArmOut.of(candidate.arm), score=candidate.score, probability=candidate.probability)
