"""Test sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field

from api.models.base import Key, Sent, examples
from optimizer.dispatch.trials import Came
from optimizer.limits import MAX_ITEMS
from optimizer.scalars import Id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.dispatch.trials import Trial


class TrialIn(Sent):
    """What to send, and to whom of the campaign's `test_list`."""

    model_config = ConfigDict(json_schema_extra=examples({"message": "miss_you_warm", "channel": "email"}))

    message: Id = Field(description="The message's id.")
    channel: Id = Field(description="The channel's id; one on which the service sends.")
    customer_ids: list[Key] | None = Field(
        default=None, min_length=1, max_length=MAX_ITEMS, description="Only these; by default everybody on the list."
    )


class TrialOut(BaseModel):
    """What came of a test send to one customer."""

    customer_id: str
    result: Came = Field(
        description="`sent`; `refused`: not tried; `failed`: not sent; `unknown`: it may have been sent or not."
    )
    detail: str | None = Field(description="Why, unless it was sent.")


class TrialsOut(BaseModel):
    """What came of test sends."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "sends": [
                    {"customer_id": "qa-1", "result": "sent", "detail": None},
                    {"customer_id": "qa-2", "result": "refused", "detail": "suppressed"},
                ]
            }
        )
    )

    sends: list[TrialOut] = Field(description="One for each customer, in the order in which they were asked for.")

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> Self:
        """As the engine tells it."""
        sends = [TrialOut(customer_id=trial.customer_id, result=trial.came, detail=trial.detail) for trial in trials]
        return cls(sends=sends)
