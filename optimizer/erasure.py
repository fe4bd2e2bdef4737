"""Erasing a customer: who they are goes, what was decided and earned stays, under a subject that names nobody any more.

Gone are the customer's facts, addresses and consents, and the only link between the customer's id and the subject of
the logs. Decisions keep their context, propensity and reward, so that models, reports and `verify` are what they were.
What must not be forgotten with the customer is that an address does not want to be reached: that is kept by keyed
digest. The digest of the customer's id goes: who is stored anew under the same id is somebody new.
"""

from __future__ import annotations

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
_LIFTINGS: Final = 1_000
"""How many liftings of one customer or address are looked at, the latest."""


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
    """Keep by the customer's addresses where the customer must not be reached; what says it by the id goes.

    What is suppressed already stays so. An address that was lifted by itself after the customer's refusal stays lifted.
    """
    (barred,) = bars(connection, runtime, [row])
    by_id = [bar.row for bar in barred if bar.of == "customer"]
    standing = [Refusal(each.channel, Cause(each.cause), each.at_us) for each in by_id]
    addresses = addresses_of(row.addresses)
    if addresses:
        told = _told(connection, runtime, events_of(connection, runtime.tenant, row.subject_id, heads), heads)
        lifted = _liftings(connection, runtime, audit.customer_object(runtime.secret, row.customer_id))
        now_us = runtime.now_us()
        unwilling = set(_refused(orjson.loads(row.consents), addresses))
        rows = []
        for channel, address in addresses.items():
            freed = _liftings(connection, runtime, audit.address_object(runtime.secret, address))
            freed_us = _last_us(freed, channel)
            since_us = max(freed_us, _last_us(lifted, channel))
            found = [Refusal(channel, Cause.NO_CONSENT, now_us)] if channel in unwilling else []
            found += [refusal for refusal in standing if refusal.at_us > freed_us]
            found += [refusal for refusal in told if refusal.at_us > since_us]
            digest = address_digest(runtime.secret, address)
            rows += [
                SuppressionRow(runtime.tenant, channel, digest, refusal.cause.value, refusal.at_us)
                for refusal in found
                if refusal.channel in {channel, EVERY}
            ]
        suppressions.insert_suppressions(connection, rows)
    suppressions.delete_suppressions(connection, by_id)


def _refused(consents: Mapping[str, bool], addresses: Mapping[str, str]) -> Iterator[str]:
    """The channels whose consent is refused: the one called like the channel, or `<channel>_<purpose>`."""
    for name, given in consents.items():
        for channel in addresses:
            if not given and (name == channel or name.startswith(f"{channel}_")):
                yield channel


def _told(
    connection: Connection, runtime: Runtime, about: Sequence[EventRow], heads: Sequence[DecisionHead]
) -> list[Refusal]:
    """What events about the customer say, those too that were recorded before refusals acted at once.

    Bounces are not among them: they were the address's that was known then.
    """
    strong = [event for event in about if event.name in REFUSALS]
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
    return [refusal for refusal in refusals if refusal is not None and refusal.cause is not Cause.BOUNCED]


def _liftings(connection: Connection, runtime: Runtime, object_: str) -> dict[str, int]:
    """When it was last allowed that a customer or an address be reached again, by channel of what was lifted."""
    found: dict[str, int] = {}
    action = audit.Action.LIFTED.value
    for entry in entries.latest_entries(connection, runtime.tenant, limit=_LIFTINGS, object_=object_, action=action):
        for channel in orjson.loads(entry.details):
            found.setdefault(channel, entry.at_us)
    return found


def _last_us(lifted: Mapping[str, int], channel: str) -> int:
    """When it was last lifted for this channel; before everything if never."""
    return max(lifted.get(channel, -1), lifted.get(EVERY, -1))
