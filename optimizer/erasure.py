"""Erasing a customer: who they are goes, what was decided and earned stays, under a subject that names nobody any more.

Gone are the customer's facts, addresses and consents, and the only link between the customer's id and the subject of
the logs. Decisions keep their context, propensity and reward, so that models, reports and `verify` are what they were.
What must not be forgotten with the customer is that an address does not want to be reached: that is kept by keyed
digest.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import orjson

from optimizer import audit
from optimizer.dispatch.outbox import ERASED
from optimizer.dispatch.senders import addresses_of
from optimizer.errors import NotFound
from optimizer.refusals import REFUSALS, Refusal, refusal_of
from optimizer.store import audit as entries
from optimizer.store import customers, decisions, events, runs, suppressions, touches
from optimizer.store.suppressions import SuppressionRow
from optimizer.suppression import EVERY, Cause, address_digest, bars

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.dispatch.outbox import Outbox
    from optimizer.runtime import Runtime
    from optimizer.store.rows import CustomerRow, DecisionHead, EventRow

EVER_US: Final = int(np.iinfo(np.int64).max)
"""Later than everything that was logged."""


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
    now_us = runtime.now_us()
    refusals = [
        Refusal(channel, Cause.NO_CONSENT, now_us) for channel in _refused(orjson.loads(row.consents), addresses)
    ]
    told = events_of(connection, runtime.tenant, row.subject_id, heads)
    refusals += _reacted(connection, runtime, told, heads, _lifted_us(connection, runtime, row))
    (barred,) = bars(connection, runtime, [row])
    refusals += [Refusal(bar.channel, Cause(bar.row.cause), bar.row.at_us) for bar in barred]
    rows = [
        SuppressionRow(
            runtime.tenant, each, address_digest(runtime.secret, address), refusal.cause.value, refusal.at_us
        )
        for refusal in refusals
        for each, address in addresses.items()
        if refusal.channel in {each, EVERY}
    ]
    suppressions.insert_suppressions(connection, rows)


def _refused(consents: Mapping[str, bool], addresses: Mapping[str, str]) -> Iterator[str]:
    """The channels whose consent is refused: the one called like the channel, or `<channel>_<purpose>`."""
    for name, given in consents.items():
        for channel in addresses:
            if not given and (name == channel or name.startswith(f"{channel}_")):
                yield channel


def _reacted(
    connection: Connection, runtime: Runtime, told: Sequence[EventRow], heads: Sequence[DecisionHead], since_us: int
) -> list[Refusal]:
    """What events received since then say against reaching the customer."""
    strong = [event for event in told if event.name in REFUSALS and event.received_us > since_us]
    if not strong:
        return []
    sent = touches.touches_by_ids(connection, runtime.tenant, [head.decision_id for head in heads])
    channel_of = {decision_id: touch.channel for decision_id, touch in sent.items()}
    by_request = {(head.campaign_id, head.request_id): channel_of.get(head.decision_id) for head in heads}
    refusals = []
    for event in strong:
        channel = channel_of.get(event.decision_id or "")
        if event.decision_id is None and event.request_id is not None:
            channel = by_request.get((event.campaign_id or "", event.request_id))
        refusals.append(refusal_of(event, channel))
    return [refusal for refusal in refusals if refusal is not None]


def _lifted_us(connection: Connection, runtime: Runtime, row: CustomerRow) -> int:
    """When the customer, or one of the addresses, was last allowed to be reached again; before everything if never."""
    objects = [audit.customer_object(runtime.secret, row.customer_id)]
    objects += [audit.address_object(runtime.secret, each) for each in addresses_of(row.addresses).values()]
    latest = partial(entries.latest_entries, connection, runtime.tenant, limit=1, action=audit.Action.LIFTED.value)
    return max((found[0].at_us for each in objects if (found := latest(object_=each))), default=-1)
