"""Suppressions, as they are asked for and shown."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.models.base import Key, Sent, Told, examples
from api.ndjson import ROW
from optimizer.clock import from_us
from optimizer.errors import InvalidInput
from optimizer.scalars import Id
from optimizer.suppressing import Whom
from optimizer.suppression import EVERY, Cause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.suppression import Bar

_ADDRESS: Final = {"address": "ana@example.com", "channel": "email"}
_CUSTOMER: Final = {"customer_id": "c-1001"}


class WhomIn(Sent):
    """A customer or an address, one of the two."""

    model_config = ConfigDict(json_schema_extra=examples(_CUSTOMER, _ADDRESS))

    customer_id: Key | None = Field(default=None, description="The customer, who need not be known.")
    address: Told | None = Field(default=None, description="The address, however it is written.")
    channel: Id | None = Field(default=None, description="The channel it is about; by default, every one.")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        try:
            self.whom()
        except InvalidInput as error:
            raise ValueError(error.message) from error
        return self

    def whom(self) -> Whom:
        """Whom it is about, as the engine takes it."""
        return Whom(self.customer_id, self.address, self.channel or EVERY)


class SuppressionIn(WhomIn):
    """A customer or an address that must not be reached."""

    model_config = ConfigDict(json_schema_extra=examples(_CUSTOMER, _ADDRESS | {"cause": "unsubscribed"}))

    cause: Cause = Field(default=Cause.REQUESTED, description="Why.")


class HeldSuppression(BaseModel):
    """That a customer, or an address, must not be reached."""

    channel: str | None = Field(description="The channel; null: every one.")
    of: Literal["customer", "address"] = Field(description="What is suppressed.")
    cause: Cause
    at: datetime = Field(description="Since when.")

    @classmethod
    def held(cls, bar: Bar) -> Self:
        """A suppression, on the channel that it bars."""
        return cls(channel=bar.channel or None, of=bar.of, cause=Cause(bar.row.cause), at=from_us(bar.row.at_us))


class Suppressions(BaseModel):
    """Everything by which a customer, or an address, must not be reached."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "suppressions": [
                    {"channel": "email", "of": "address", "cause": "unsubscribed", "at": "2026-01-12T09:30:00Z"}
                ]
            }
        )
    )

    suppressions: list[HeldSuppression] = Field(
        description="Those of a customer, and of every address that is stored for the customer; or those of the"
        " address, which do not tell whether a customer who has it is suppressed."
    )

    @classmethod
    def held(cls, found: Sequence[Bar]) -> Self:
        """These."""
        return cls(suppressions=[HeldSuppression.held(bar) for bar in found])


class SuppressionLine(BaseModel):
    """The answer to one row of many suppressions."""

    model_config = ConfigDict(json_schema_extra=examples({"row": 1, "status": "suppressed"}))

    row: int = Field(description=ROW)
    # Required: a rejected row's line has none, and has to be told from this one.
    status: Literal["suppressed"]
