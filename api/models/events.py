"""Events, as they are reported, and their receipts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.models.base import Facts, Key, Sent, examples
from api.models.decisions import DECISION_ID
from api.ndjson import ROW
from optimizer.external import CONTACTED, flaw
from optimizer.recording import EventIn, Status
from optimizer.scalars import Id, Instant

if TYPE_CHECKING:
    from optimizer.recording import Receipt


class EventObserved(Sent):
    """Something that happened.

    It names a decision (by `decision_id`, or by `campaign_id` and `request_id`) or only a customer; then each campaign,
    or the one that `campaign_id` names, counts it for the customer's latest decision that it can belong to.

    Some names act at once. `sent` and `shown` say that your platform made a touch; `delivered`, `opened`, `clicked`,
    `converted` and `bounced`, what became of it. `unsubscribed` and `complained` suppress the customer and the
    customer's address on the channel of the decision, else on the one in the field `channel`, else on every one, and
    cancel what is planned there; so does `bounced` with the field `permanent: true`, of the address alone where it is
    known. `contacted` tells of a touch that another system made, or will make at `occurred_at`: it names a customer
    alone, and has the field `channel` and, where they are known, `message`, `campaign`, `offer` and `counts` (whether
    it counts for contact limits; by default it does).
    """

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "event_id": "evt-93b1",
                "name": "clicked",
                "occurred_at": "2026-01-13T00:12:31Z",
                "decision_id": DECISION_ID,
            },
            {
                "event_id": "evt-93b2",
                "name": "purchased",
                "occurred_at": "2026-01-14T18:03:00Z",
                "customer_id": "c-1001",
                "fields": {"margin": 18.4},
            },
            {
                "event_id": "esp-2210-c-1001",
                "name": "contacted",
                "occurred_at": "2026-01-15T16:00:00Z",
                "customer_id": "c-1001",
                "fields": {"channel": "email", "message": "january_newsletter"},
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
    fields: Facts = Field(default_factory=dict, description="What else is known, such as the margin of a purchase.")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.request_id is not None and self.campaign_id is None:
            message = "request_id needs the campaign_id in which it is unique"
            raise ValueError(message)
        if self.decision_id is None and self.request_id is None and self.customer_id is None:
            message = "give decision_id, or campaign_id and request_id, or customer_id"
            raise ValueError(message)
        if self.name == CONTACTED:
            others = {"decision_id": self.decision_id, "campaign_id": self.campaign_id, "request_id": self.request_id}
            wrong = flaw(self.customer_id, others, self.fields)
            if wrong is not None:
                raise ValueError(wrong)
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

    model_config = ConfigDict(json_schema_extra=examples({"event_id": "evt-93b1", "status": "accepted"}))

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

    model_config = ConfigDict(json_schema_extra=examples({"row": 1, "event_id": "evt-93b1", "status": "accepted"}))

    row: int = Field(description=ROW)
    event_id: str
    status: Status = Field(description="As in the receipt of a single event.")
