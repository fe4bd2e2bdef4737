"""Erasing a customer: who they are goes, what was decided and earned stays, under a subject that names nobody any more.

Gone are the customer's facts, addresses and consents, and the only link between the customer's id and the subject of
the logs. Decisions keep their context, propensity and reward, so that models, reports and `verify` are what they were.
What must not be forgotten with the customer is that an address does not want to be reached: that is kept by keyed
digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import orjson

from optimizer import audit
from optimizer.dispatch.outbox import ERASED
from optimizer.dispatch.senders import addresses_of
from optimizer.errors import NotFound
from optimizer.store import customers, decisions, events, runs, suppressions, touches
from optimizer.store.suppressions import SuppressionRow
from optimizer.suppression import Cause, address_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.dispatch.outbox import Outbox
    from optimizer.runtime import Runtime
    from optimizer.store.rows import CustomerRow, DecisionHead, EventRow

EVER_US: Final = int(np.iinfo(np.int64).max)
"""Later than everything that was logged."""

_CAUSES: Final = {
    "unsubscribed": Cause.UNSUBSCRIBED,
    "complained": Cause.COMPLAINED,
    "bounced": Cause.BOUNCED,
}


def erase(connection: Connection, runtime: Runtime, outbox: Outbox, customer_id: str, by: str) -> None:
    """Erase a customer, in this transaction. Raises NotFound."""
    tenant = runtime.tenant
    row = customers.hold_customers(connection, tenant, [customer_id]).get(customer_id)
    if row is None:
        raise NotFound(f"there is no customer {customer_id!r}")
    heads = decisions_of(connection, tenant, row.subject_id)
    _suppress(connection, runtime, row, heads)
    outbox.cancel(connection, [head.decision_id for head in heads if head.send_us is not None], ERASED)
    customers.delete_customer(connection, tenant, customer_id)
    runs.forget_customer(connection, tenant, customer_id)
    audit.note(connection, runtime, by, audit.Action.ERASED, audit.erased(runtime.secret, row))


def decisions_of(connection: Connection, tenant: str, subject_id: str) -> list[DecisionHead]:
    """Every decision about a subject, in the order of their making."""
    heads = decisions.heads_of_subjects(connection, tenant, [subject_id], since_us=0, until_us=EVER_US)
    return sorted(heads, key=lambda head: head.decision_id)


def events_of(connection: Connection, tenant: str, subject_id: str, heads: Sequence[DecisionHead]) -> list[EventRow]:
    """Every event about a subject: those that name it alone, and those that name one of its decisions (`heads`)."""
    found = events.events_of_subjects(connection, tenant, [subject_id], since_us=0, until_us=EVER_US)
    found += events.events_naming_decisions(connection, tenant, [head.decision_id for head in heads])
    for campaign_id in dict.fromkeys(head.campaign_id for head in heads):
        asked = [head.request_id for head in heads if head.campaign_id == campaign_id and head.request_id is not None]
        found += events.events_naming_requests(connection, tenant, campaign_id, asked)
    return sorted(found, key=lambda event: (event.occurred_us, event.event_id))


def _suppress(connection: Connection, runtime: Runtime, row: CustomerRow, heads: Sequence[DecisionHead]) -> None:
    """Keep which of the customer's addresses must not be reached again; what is suppressed already stays so."""
    addresses = addresses_of(row.addresses)
    if not addresses:
        return
    causes = dict(_refused(orjson.loads(row.consents), addresses))
    told = events_of(connection, runtime.tenant, row.subject_id, heads)
    causes |= _reacted(connection, runtime.tenant, told, heads, addresses)
    now_us = runtime.now_us()
    rows = [
        SuppressionRow(runtime.tenant, channel, address_digest(runtime.secret, addresses[channel]), cause.value, now_us)
        for channel, cause in sorted(causes.items())
    ]
    suppressions.insert_suppressions(connection, rows)


def _refused(consents: Mapping[str, bool], addresses: Mapping[str, str]) -> Iterator[tuple[str, Cause]]:
    """The channels whose consent is refused: the one called like the channel, or `<channel>_<purpose>`."""
    for name, given in consents.items():
        for channel in addresses:
            if not given and (name == channel or name.startswith(f"{channel}_")):
                yield channel, Cause.NO_CONSENT


def _reacted(
    connection: Connection,
    tenant: str,
    told: Sequence[EventRow],
    heads: Sequence[DecisionHead],
    addresses: Mapping[str, str],
) -> dict[str, Cause]:
    """The channels on which the customer unsubscribed or complained, or whose address does not exist.

    It is the channel of the decision that the event names, else the one that the event's fields name, else every one.
    """
    strong = [event for event in told if event.name in _CAUSES]
    if not strong:
        return {}
    sent = touches.touches_by_ids(connection, tenant, [head.decision_id for head in heads])
    channel_of = {decision_id: touch.channel for decision_id, touch in sent.items()}
    by_request = {(head.campaign_id, head.request_id): channel_of.get(head.decision_id) for head in heads}
    found: dict[str, Cause] = {}
    for event in strong:
        fields = orjson.loads(event.fields)
        if event.name == "bounced" and fields.get("permanent") is not True:
            continue
        channel = channel_of.get(event.decision_id or "")
        if event.decision_id is None and event.request_id is not None:
            channel = by_request.get((event.campaign_id or "", event.request_id))
        named = channel or fields.get("channel")
        for each in addresses if named is None else (named,):
            if each in addresses:
                found.setdefault(each, _CAUSES[event.name])
    return found
