"""A consent that is taken away is heard at once: what was planned by it is taken back, in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from optimizer.reasons import Reason
from optimizer.store import decisions
from optimizer.store.planned import planned_of_subjects
from optimizer.touches import cancel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.runtime import Runtime
    from optimizer.store.customers import Customer
    from optimizer.store.rows import CustomerRow
    from optimizer.versions import Versions


def withdraw(
    connection: Connection,
    runtime: Runtime,
    versions: Versions,
    stored: Sequence[Customer],
    before: Mapping[str, CustomerRow],
) -> None:
    """Cancel the planned touches of these customers whose channel asks for a consent that is no longer given.

    `before` is what was known of them, by customer id; the transaction holds them.
    """
    taken = {
        before[row.customer_id].subject_id: lost
        for row in stored
        if row.customer_id in before and (lost := _lost(orjson.loads(before[row.customer_id].consents), row.consents))
    }
    if not taken:
        return
    planned = planned_of_subjects(connection, runtime.tenant, taken)
    heads = decisions.heads_by_ids(connection, runtime.tenant, [touch.decision_id for touch in planned])
    refused = []
    for touch in planned:
        if touch.decision_id not in heads:
            continue
        version = versions.get(connection, touch.campaign_id, heads[touch.decision_id].config_hash)
        asked = {channel.id: channel.consent for channel in version.catalog.channels}
        if touch.channel is not None and asked.get(touch.channel) in taken[touch.subject_id]:
            refused.append(touch.decision_id)
    cancel(connection, runtime.tenant, refused, Reason.NO_CONSENT.value, runtime.now_us())


def _lost(before: Mapping[str, bool], now: Mapping[str, bool]) -> frozenset[str]:
    """The consents that were given and are no longer."""
    return frozenset(name for name, given in before.items() if given and not now.get(name, False))
