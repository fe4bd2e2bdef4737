"""What is sent and answered over HTTP, with examples: the edge at which everything is checked."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from api.ndjson import ROW
from optimizer.clock import from_us
from optimizer.decisions import DecisionRequest
from optimizer.groups import Group
from optimizer.reasons import Reason
from optimizer.recording import EventIn, Status
from optimizer.scalars import Id, Instant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optimizer.catalog import Arm
    from optimizer.decisions import Decision
    from optimizer.engine import Explanation
    from optimizer.recording import Receipt
    from optimizer.reports import CampaignReport, GroupReport
    from optimizer.store import rows
    from optimizer.verification import Candidate

Key = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An identifier that the caller chose: 1 to 256 characters, none of them a control character."""

Flag = Annotated[bool, Field(strict=True)]

_DECISION_ID: Final = "019bb1a5-6a00-7c3e-9f52-3d1c9b0a7e11"
_ARM: Final = {"id": "ten_percent/email/evening", "message": "ten_percent", "channel": "email", "slot": "evening"}
_DECISION: Final = {
    "decision_id": _DECISION_ID,
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
    "propensity": None,
    "send_at": None,
    "expires_at": None,
    "snapshot_id": None,
}
_CUSTOMER: Final[dict[str, Any]] = {
    "attributes": {"plan": "gold", "days_inactive": 75, "interests": ["shoes"]},
    "timezone": "America/Mexico_City",
    "addresses": {"email": "ana@example.com"},
    "consents": {"email_marketing": True},
}


def _examples(*examples: Mapping[str, Any]) -> dict[str, Any]:
    return {"examples": list(examples)}


class _Sent(BaseModel):
    """What callers send; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DecisionIn(_Sent):
    """A question: what to do for this customer now."""

    model_config = ConfigDict(
        json_schema_extra=_examples(
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
    attributes: dict[str, JsonValue] = Field(
        default={}, description="Declared attributes; they win over those of the customer table. Null is missing."
    )
    timezone: str | None = Field(default=None, description="IANA time zone; it wins over the customer's.")

    def request(self) -> DecisionRequest:
        """The question as the engine takes it."""
        return DecisionRequest(self.campaign_id, self.customer_id, self.request_id, self.attributes, self.timezone)


class ArmOut(BaseModel):
    """What to send; a dimension that the campaign does not have is null."""

    id: str = Field(description="`message/channel/slot`, with the dimensions that the campaign has.")
    message: str | None
    channel: str | None
    slot: str | None

    @classmethod
    def of(cls, arm: Arm) -> Self:
        """An arm of the catalog."""
        return cls(id=arm.id, message=arm.message, channel=arm.channel, slot=arm.slot)


class DecisionOut(BaseModel):
    """The decision. Not to send is an answer as well: `arm` is null then, and `reason` says why."""

    model_config = ConfigDict(json_schema_extra=_examples(_DECISION, _NOT_SENT))

    decision_id: str = Field(description="The server's id of the decision: name it in the events that follow from it.")
    campaign_id: str
    customer_id: str
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
        """A decision of the engine; drawing no_send is an empty answer, too."""
        return cls(
            decision_id=decision.decision_id,
            campaign_id=decision.campaign_id,
            customer_id=decision.customer_id,
            request_id=decision.request_id,
            occasion=decision.occasion,
            group=decision.group,
            arm=ArmOut.of(decision.arm) if decision.arm is not None and decision.arm.message is not None else None,
            reason=decision.reason,
            propensity=decision.propensity,
            decided_at=decision.decided_at,
            send_at=decision.send_at,
            expires_at=decision.expires_at,
            config_hash=decision.config_hash,
            snapshot_id=decision.snapshot_id,
            replayed=decision.replayed,
        )


class DecisionLine(BaseModel):
    """The answer to one row of a batch."""

    model_config = ConfigDict(json_schema_extra=_examples({"row": 1, "decision": _DECISION}))

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


class ExplanationOut(BaseModel):
    """A decision with everything that it was chosen from."""

    model_config = ConfigDict(
        json_schema_extra=_examples(
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
            }
        )
    )

    decision: DecisionOut
    candidates: list[CandidateOut] = Field(description="Every arm that was allowed, in the order of the catalog.")
    removed: list[RemovedOut] = Field(description="Every arm that was not, with its reason.")

    @classmethod
    def of(cls, explanation: Explanation) -> Self:
        """An explanation of the engine."""
        arms = explanation.candidates
        return cls(
            decision=DecisionOut.of(explanation.decision),
            candidates=[_candidate(arm) for arm in arms if arm.reason is None],
            removed=[RemovedOut(arm=ArmOut.of(a.arm), reason=a.reason) for a in arms if a.reason is not None],
        )


def _candidate(candidate: Candidate) -> CandidateOut:
    return CandidateOut(arm=ArmOut.of(candidate.arm), score=candidate.score, probability=candidate.probability)


class EventObserved(_Sent):
    """Something that happened.

    It names a decision (by `decision_id`, or by `campaign_id` and `request_id`) or only a customer; then each campaign,
    or the one that `campaign_id` names, counts it for the customer's latest decision that it can belong to.
    """

    model_config = ConfigDict(
        json_schema_extra=_examples(
            {
                "event_id": "evt-93b1",
                "name": "clicked",
                "occurred_at": "2026-01-13T00:12:31Z",
                "decision_id": _DECISION_ID,
            },
            {
                "event_id": "evt-93b2",
                "name": "purchased",
                "occurred_at": "2026-01-14T18:03:00Z",
                "customer_id": "c-1001",
                "fields": {"margin": 18.4},
            },
        )
    )

    event_id: Key = Field(description="Your own id of the event. Sending it again changes nothing.")
    name: Id = Field(description="What happened: delivered, opened, clicked, purchased, unsubscribed, sent, shown, ...")
    occurred_at: Instant | None = Field(
        default=None, description="When it happened, with its offset from UTC; by default when it is received."
    )
    decision_id: Key | None = Field(default=None, description="The decision that it follows from.")
    campaign_id: Id | None = Field(default=None, description="With `request_id`: the campaign that was asked.")
    request_id: Key | None = Field(default=None, description="The id of the question that led to the decision.")
    customer_id: Key | None = Field(default=None, description="The customer, where no decision is named.")
    fields: dict[str, JsonValue] = Field(
        default={}, description="What else is known, such as the margin of a purchase."
    )

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.request_id is not None and self.campaign_id is None:
            message = "request_id needs the campaign_id in which it is unique"
            raise ValueError(message)
        if self.decision_id is None and self.request_id is None and self.customer_id is None:
            message = "give decision_id, or campaign_id and request_id, or customer_id"
            raise ValueError(message)
        return self

    def event(self) -> EventIn:
        """The event as the engine takes it."""
        return EventIn(
            event_id=self.event_id,
            name=self.name,
            occurred_at=self.occurred_at,
            decision_id=self.decision_id,
            campaign_id=self.campaign_id,
            request_id=self.request_id,
            customer_id=self.customer_id,
            fields=self.fields,
        )


class ReceiptOut(BaseModel):
    """What became of an event."""

    model_config = ConfigDict(json_schema_extra=_examples({"event_id": "evt-93b1", "status": "accepted"}))

    event_id: str
    status: Status = Field(
        description="`accepted`; `duplicate`: it was known, and nothing changed; `parked`: its decision is not known "
        "yet, and it is joined if that appears; `late`: kept, but too late to be learned."
    )

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        """A receipt of the engine."""
        return cls(event_id=receipt.event_id, status=receipt.status)


class EventLine(BaseModel):
    """The answer to one row of many events."""

    model_config = ConfigDict(json_schema_extra=_examples({"row": 1, "event_id": "evt-93b1", "status": "accepted"}))

    row: int = Field(description=ROW)
    event_id: str
    status: Status = Field(description="As in the receipt of a single event.")


class CustomerBody(_Sent):
    """Everything that is known of a customer; it replaces what was known before."""

    model_config = ConfigDict(json_schema_extra=_examples(_CUSTOMER))

    attributes: dict[str, JsonValue] = Field(
        default={}, description="Facts, by the names that `attributes.yaml` declares. Null is missing."
    )
    timezone: str | None = Field(default=None, description="IANA time zone.")
    addresses: dict[str, str] = Field(default={}, description="Where the customer is reached, by channel.")
    consents: dict[str, Flag] = Field(default={}, description="What the customer agreed to, by the consent's name.")


class CustomerIn(CustomerBody):
    """A customer in a batch."""

    model_config = ConfigDict(json_schema_extra=_examples({"customer_id": "c-1001"} | _CUSTOMER))

    customer_id: Key = Field(description="The id under which your platform knows the customer.")


class CustomerOut(BaseModel):
    """What is known of a customer."""

    model_config = ConfigDict(
        json_schema_extra=_examples({"customer_id": "c-1001"} | _CUSTOMER | {"updated_at": "2026-01-12T09:30:00Z"})
    )

    customer_id: str
    attributes: dict[str, JsonValue]
    timezone: str | None
    addresses: dict[str, str]
    consents: dict[str, bool]
    updated_at: datetime

    @classmethod
    def of(cls, row: rows.CustomerRow) -> Self:
        """A customer's row."""
        return cls(
            customer_id=row.customer_id,
            attributes=orjson.loads(row.attributes),
            timezone=row.timezone,
            addresses=orjson.loads(row.addresses),
            consents=orjson.loads(row.consents),
            updated_at=from_us(row.updated_us),
        )


class CustomerStored(BaseModel):
    """A customer has been stored."""

    model_config = ConfigDict(json_schema_extra=_examples({"customer_id": "c-1001", "status": "stored"}))

    customer_id: str
    status: Literal["stored"] = "stored"


class CustomerLine(BaseModel):
    """The answer to one row of many customers."""

    model_config = ConfigDict(json_schema_extra=_examples({"row": 1, "customer_id": "c-1001", "status": "stored"}))

    row: int = Field(description=ROW)
    customer_id: str
    status: Literal["stored"] = "stored"


class CampaignState(BaseModel):
    """Whether a campaign acts."""

    model_config = ConfigDict(
        json_schema_extra=_examples(
            {
                "campaign_id": "winback-q1",
                "state": "paused",
                "config_hash": "5f1d…",
                "changed_at": "2026-01-12T09:30:00Z",
            }
        )
    )

    campaign_id: str
    state: str = Field(description="`active`, or `paused`: nothing is sent.")
    config_hash: str = Field(description="Its current version.")
    changed_at: datetime = Field(description="When it was last loaded, paused or resumed.")

    @classmethod
    def of(cls, row: rows.CampaignRow) -> Self:
        """A campaign's row."""
        return cls(
            campaign_id=row.campaign_id,
            state=row.state,
            config_hash=row.config_hash,
            changed_at=from_us(row.changed_us),
        )


class GroupOut(BaseModel):
    """What one group of customers has earned."""

    group: Group
    decisions: int = Field(description="Its decisions whose reward is closed.")
    mean_reward: float = Field(description="Their mean reward.")
    interval: tuple[float, float] | None = Field(
        description="A 95% interval of the mean (normal approximation); null with fewer than two decisions."
    )

    @classmethod
    def of(cls, report: GroupReport) -> Self:
        """One group of a report."""
        return cls(
            group=Group(report.group),
            decisions=report.decisions,
            mean_reward=report.mean_reward,
            interval=report.interval,
        )


class CampaignOut(BaseModel):
    """How a campaign stands."""

    model_config = ConfigDict(
        json_schema_extra=_examples(
            {
                "campaign_id": "winback-q1",
                "name": "Win-back, lapsed 60 days",
                "state": "active",
                "config_hash": "5f1d…",
                "snapshot_id": "019bb1a0-0c00-7aa1-8d0f-52f6a0a3c9d4",
                "learned": 41250,
                "decisions": 75000,
                "waiting": 22500,
                "left_out": 0,
                "touches": {"planned": 1800, "sent": 52210, "opened": 9120},
                "groups": [
                    {
                        "group": "treatment",
                        "decisions": 39400,
                        "mean_reward": 0.0712,
                        "interval": [0.0687, 0.0737],
                    }
                ],
                "fault": None,
            }
        )
    )

    campaign_id: str
    name: str
    state: str = Field(description="`active`, or `paused`: nothing is sent.")
    config_hash: str = Field(description="Its current version.")
    snapshot_id: str | None = Field(description="The model that decides; null: none was learned yet.")
    learned: int = Field(description="From how many decisions that model has learned.")
    decisions: int = Field(description="How many decisions were made.")
    waiting: int = Field(description="How many of them still wait for their reward to close.")
    left_out: int = Field(description="How many closed ones are left out of learning, for causes that spare no arm.")
    touches: dict[str, int] = Field(description="How many touches are in each state.")
    groups: list[GroupOut] = Field(description="What the groups have earned.")
    fault: str | None = Field(description="What is wrong with the newest model, while an older one serves.")

    @classmethod
    def of(cls, report: CampaignReport) -> Self:
        """A report of the engine."""
        return cls(
            campaign_id=report.campaign_id,
            name=report.name,
            state=report.state,
            config_hash=report.config_hash,
            snapshot_id=report.snapshot_id,
            learned=report.learned,
            decisions=report.decisions,
            waiting=report.waiting,
            left_out=report.left_out,
            touches=dict(report.touches),
            groups=[GroupOut.of(group) for group in report.groups],
            fault=report.fault,
        )


class RunIn(_Sent):
    """A pass over the campaign's audience."""

    model_config = ConfigDict(json_schema_extra=_examples({"occasion": "2026-01-12"}))

    occasion: Key | None = Field(
        default=None,
        description="What the run is for. A run for the same occasion is that run: nobody is decided twice in it. By "
        "default the schedule's last one, or else the UTC day.",
    )


class RunOut(BaseModel):
    """A run as it stands."""

    model_config = ConfigDict(
        json_schema_extra=_examples(
            {
                "run_id": "019bb1a5-6a00-7c3e-9f52-3d1c9b0a7e12",
                "campaign_id": "winback-q1",
                "occasion": "2026-01-12",
                "state": "finished",
                "decided": 5000,
                "started_at": "2026-01-12T06:00:00Z",
                "finished_at": "2026-01-12T06:00:02Z",
            }
        )
    )

    run_id: str
    campaign_id: str
    occasion: str
    state: str = Field(description="`running` or `finished`.")
    decided: int = Field(description="How many customers were decided so far.")
    started_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, run: rows.RunRow) -> Self:
        """A run of the engine."""
        return cls(
            run_id=run.run_id,
            campaign_id=run.campaign_id,
            occasion=run.occasion,
            state=run.state,
            decided=run.decided,
            started_at=from_us(run.started_us),
            finished_at=None if run.finished_us is None else from_us(run.finished_us),
        )


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """The service can decide."""

    model_config = ConfigDict(json_schema_extra=_examples({"status": "ready", "notes": []}))

    status: Literal["ready"] = "ready"
    notes: list[str] = Field(description="What is wrong without keeping it from deciding, such as an unreadable model.")
