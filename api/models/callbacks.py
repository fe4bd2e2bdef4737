"""What providers report."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from api.models.base import Facts, Key, Sent, examples
from api.models.decisions import DECISION_ID
from optimizer.ids import DEFAULT_TENANT
from optimizer.limits import ID_PATTERN
from optimizer.scalars import Flag, Id, Instant

ProviderKey = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=160, pattern=ID_PATTERN)]
"""An id of the provider's; with the channel before it, it is an event's."""


class CallbackIn(Sent):
    """Something that became of a touch, as the provider of its channel saw it."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"id": "dsn-551", "name": "bounced", "decision_id": DECISION_ID, "permanent": True},
            {"name": "delivered", "decision_id": DECISION_ID, "occurred_at": "2026-01-13T00:12:31Z"},
        )
    )

    id: ProviderKey | None = Field(
        default=None, description="The provider's own id of the event; by default its place in the message."
    )
    name: Key = Field(
        description="What happened: delivered, bounced, complained, unsubscribed, opened or clicked, or the provider's "
        "name for one of these, as the settings say."
    )
    decision_id: Key = Field(description="The decision whose touch it was; the sender gave it to the provider.")
    tenant: Id = Field(default=DEFAULT_TENANT, description="Whose decision it is, as the sender told the provider.")
    occurred_at: Instant | None = Field(default=None, description="When it happened; by default when it is received.")
    permanent: Flag = Field(
        default=False,
        description="Of a bounce: whether the address does not exist, so that nothing is sent there again.",
    )
    fields: Facts = Field(default_factory=dict, description="What else is known.")
