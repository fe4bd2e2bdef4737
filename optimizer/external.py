"""Touches that other systems made or will make, as they are reported: events named `contacted`.

Such an event names a customer and no decision; `occurred_at` is when the touch was sent or is to be, in the future too.
Its fields are the `channel`, and, where it is known, the `message`, the `campaign` and the `offer`, all of them ids as
in a catalog, and whether it `counts` for contact limits (by default it does). It becomes a row among the touches under
its record id, and a touch in the customer's ledger.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from optimizer.attributes import did_you_mean
from optimizer.scalars import ID_PATTERN
from optimizer.store.external_touches import EXTERNAL
from optimizer.store.rows import TouchRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optimizer.store.rows import EventRow

CONTACTED: Final = "contacted"

_NAMES: Final = ("channel", "message", "campaign", "offer")
_FIELDS: Final = (*_NAMES, "counts")
_ID: Final = re.compile(ID_PATTERN)


def flaw(customer_id: str | None, other_names: Mapping[str, str | None], fields: Mapping[str, Any]) -> str | None:
    """What is wrong with an event called `contacted`; None: nothing. `other_names` is what else it names."""
    if customer_id is None or any(other_names.values()):
        return "contacted tells of a touch of another system: it names a customer_id and nothing else"
    for name in fields:
        if name not in _FIELDS:
            return f"fields.{name}: not a field of contacted{did_you_mean(name, _FIELDS)}"
    for name in _NAMES:
        value = fields.get(name)
        if value is None and name != "channel":
            continue
        if not isinstance(value, str) or not _ID.fullmatch(value):
            return f"fields.{name}: expected an id as in a catalog: a letter, then letters, digits, _, . or -"
    if not isinstance(fields.get("counts", True), bool):
        return "fields.counts: expected true or false"
    return None


def touch_of(event: EventRow) -> TouchRow | None:
    """The touch that an event tells of; None where it tells of none (it may be older than this meaning of its name)."""
    if event.name != CONTACTED or event.subject_id is None:
        return None
    fields = orjson.loads(event.fields)
    others = {"decision_id": event.decision_id, "campaign_id": event.campaign_id, "request_id": event.request_id}
    if flaw(event.subject_id, others, fields) is not None:
        return None
    return TouchRow(
        tenant=event.tenant,
        decision_id=event.record_id,
        campaign_id=fields.get("campaign") or "",
        subject_id=event.subject_id,
        message=fields.get("message") or "",
        channel=fields["channel"],
        dispatch=EXTERNAL,
        state="sent",
        seq=0,
        send_us=event.occurred_us,
        expires_us=event.occurred_us,
        sent_us=event.occurred_us,
        lease_token=None,
        lease_until_us=None,
        offer=fields.get("offer"),
        counts=fields.get("counts", True),
        due_us=event.occurred_us,
        attempts=0,
        reason=None,
        reserved_micro=0,
    )
