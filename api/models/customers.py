"""Customers, as they are stored and shown."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.models.base import Facts, Flags, Key, Sent, Texts, examples
from api.ndjson import ROW
from optimizer.clock import from_us

if TYPE_CHECKING:
    from optimizer.store import rows

_CUSTOMER: Final[dict[str, Any]] = {
    "attributes": {"plan": "gold", "days_inactive": 75, "interests": ["shoes"]},
    "timezone": "America/Mexico_City",
    "addresses": {"email": "ana@example.com"},
    "consents": {"email_marketing": True},
}


class CustomerBody(Sent):
    """Everything that is known of a customer; it replaces what was known before."""

    model_config = ConfigDict(json_schema_extra=examples(_CUSTOMER))

    attributes: Facts = Field(
        default={}, description="Facts, by the names that `attributes.yaml` declares. Null is missing."
    )
    timezone: str | None = Field(default=None, description="IANA time zone.")
    addresses: Texts = Field(default={}, description="Where the customer is reached, by channel.")
    consents: Flags = Field(default={}, description="What the customer agreed to, by the consent's name.")


class CustomerIn(CustomerBody):
    """A customer in a batch."""

    model_config = ConfigDict(json_schema_extra=examples({"customer_id": "c-1001"} | _CUSTOMER))

    customer_id: Key = Field(description="The id under which your platform knows the customer.")


class CustomerOut(BaseModel):
    """What is known of a customer."""

    model_config = ConfigDict(
        json_schema_extra=examples({"customer_id": "c-1001"} | _CUSTOMER | {"updated_at": "2026-01-12T09:30:00Z"})
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

    model_config = ConfigDict(json_schema_extra=examples({"customer_id": "c-1001", "status": "stored"}))

    customer_id: str
    status: Literal["stored"] = "stored"


class CustomerLine(BaseModel):
    """The answer to one row of many customers."""

    model_config = ConfigDict(json_schema_extra=examples({"row": 1, "customer_id": "c-1001", "status": "stored"}))

    row: int = Field(description=ROW)
    customer_id: str
    status: Literal["stored"] = "stored"
