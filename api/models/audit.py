"""The audit log, as it is shown."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.models.base import Key, Sent, examples
from optimizer.audit import Action
from optimizer.clock import from_us
from optimizer.scalars import Instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.store.audit import AuditRow

_CHANGE: Final = {
    "change_id": "019bb1a5-6a00-7c3e-9f52-3d1c9b0a7e11",
    "at": "2026-01-12T09:30:00Z",
    "by": "key:k3nUqXv0Fd",
    "action": "stored",
    "object": "customer:8f1d…",
    "details": {
        "old": {"addresses.email": "0b6f6e2f8f4c7a11"},
        "new": {"addresses.email": "6d2c1c0de7a95b31"},
    },
}


class AuditQuery(Sent):
    """Which changes are asked for."""

    object_: Key | None = Field(
        default=None,
        alias="object",
        description="Only changes of this: `campaign:winback-q1`, `key:...`, `customer:...`.",
    )
    customer_id: Key | None = Field(
        default=None, description="Only changes of this customer, who stands in the log by keyed digest."
    )
    since: Instant | None = Field(default=None, description="Only changes made then or later.")
    cursor: Key | None = Field(default=None, description="The `next` of a page: what comes after it.")
    limit: int = Field(default=100, ge=1, le=1000, description="How many changes a page holds at most.")


class ChangeOut(BaseModel):
    """One change, and who made it."""

    model_config = ConfigDict(json_schema_extra=examples(_CHANGE))

    change_id: str
    at: datetime
    by: str = Field(description="`key:` and the id of the caller's key, `cli:` and the user, or `service`.")
    action: Action
    object: str = Field(description="What was changed: `campaign:`, `key:` or `customer:`, and which one.")
    details: dict[str, JsonValue] = Field(
        description="For a campaign its version. For a customer the fields that changed, each with the keyed digest of "
        "its `old` and of its `new` value, where there was or is one; never a value."
    )

    @classmethod
    def of(cls, row: AuditRow) -> Self:
        """A row of the log."""
        return cls(
            change_id=row.audit_id,
            at=from_us(row.at_us),
            by=row.actor,
            action=Action(row.action),
            object=row.object,
            details=orjson.loads(row.details),
        )


class AuditPage(BaseModel):
    """Some changes, the latest first."""

    model_config = ConfigDict(json_schema_extra=examples({"changes": [_CHANGE], "next": None}))

    changes: list[ChangeOut]
    next: str | None = Field(description="The `cursor` of the next page; null: this is the last one.")

    @classmethod
    def of(cls, rows: Sequence[AuditRow], *, more: bool) -> Self:
        """A page, and whether there is another one."""
        return cls(changes=[ChangeOut.of(row) for row in rows], next=rows[-1].audit_id if more else None)
