"""What the outbox asks of the touches: which are due, which are too late, and whose lease ran out.

It asks again and again, so each answer is read from the beginning of a range of an index, however many touches are
planned for later, wait in a paused campaign, or wait for a channel that is slow: the index leads through campaign and
channel to the time. Touches of one instant come in any order there; pages are sorted afterwards.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, func, select

from optimizer.store.bulk import one_of, run, select_in
from optimizer.store.rows import TouchRow
from optimizer.store.tables import campaigns, decisions, touches

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import Connection, Select

_PLANNED = (touches.c.dispatch == "service", touches.c.state == "planned")
_OF_CAMPAIGN = (touches.c.tenant == campaigns.c.tenant, touches.c.campaign_id == campaigns.c.campaign_id)
_ACTIVE = (campaigns.c.tenant == bindparam("of_tenant"), campaigns.c.state == "active")

_NEXT_CHANNEL = (
    select(touches.c.channel)
    .where(*_OF_CAMPAIGN, *_PLANNED, touches.c.channel > bindparam("after"))
    .order_by(touches.c.channel)
    .limit(1)
    .correlate(campaigns)
    .scalar_subquery()
)
_CHANNEL = select(func.min(_NEXT_CHANNEL)).select_from(campaigns).where(*_ACTIVE)
_FIRST_DUE = (
    select(touches.c.due_us)
    .where(*_OF_CAMPAIGN, *_PLANNED, touches.c.channel == bindparam("of_channel"))
    .order_by(touches.c.due_us)
    .limit(1)
    .correlate(campaigns)
    .scalar_subquery()
)
_FIRSTS = select(campaigns.c.campaign_id, _FIRST_DUE.label("due_us")).where(*_ACTIVE)
_DUE = (
    select(*touches.columns)
    .where(touches.c.tenant == bindparam("of_tenant"), touches.c.campaign_id == bindparam("of_campaign"), *_PLANNED)
    .where(touches.c.channel == bindparam("of_channel"), touches.c.due_us <= bindparam("now_us"))
    .order_by(touches.c.due_us)
    .limit(bindparam("size"))
    .with_for_update(skip_locked=True)
)
_PLANS = select(decisions.c.decision_id, decisions.c.config_hash, decisions.c.arm, decisions.c.context).where(
    decisions.c.tenant == bindparam("tenant"), one_of(decisions.c.decision_id)
)

_by_due = attrgetter("due_us", "decision_id")


class Plan(NamedTuple):
    """What sending a touch needs of its decision; `context` is its JSON."""

    config_hash: str
    arm: str
    context: str


def channels_planned(connection: Connection, tenant: str) -> list[str]:
    """The channels on which active campaigns have touches that the service is to send, in order."""
    found: list[str] = []
    after = ""
    while (channel := run(connection, _CHANNEL, of_tenant=tenant, after=after)[0][0]) is not None:
        found.append(channel)
        after = channel
    return found


def first_due(connection: Connection, tenant: str, channel: str) -> list[tuple[int, str]]:
    """When the first touch of each active campaign is due on a channel, and which campaign's; the first of all first.

    Touches of a paused campaign wait.
    """
    rows = run(connection, _FIRSTS, of_tenant=tenant, of_channel=channel)
    return sorted((row.due_us, row.campaign_id) for row in rows if row.due_us is not None)


def due_touches(  # noqa: PLR0913, PLR0917 - which of them
    connection: Connection, tenant: str, campaign_id: str, channel: str, now_us: int, limit: int
) -> list[TouchRow]:
    """The planned touches of a campaign that the service sends on a channel and whose time has come, first due first.

    In the order (due_us, decision id); held until this transaction ends, and without those that another one holds.
    """
    page = run(
        connection, _DUE, of_tenant=tenant, of_campaign=campaign_id, of_channel=channel, now_us=now_us, size=limit
    )
    return sorted(map(TouchRow._make, page), key=_by_due)


def plans_by_ids(connection: Connection, tenant: str, decision_ids: Iterable[str]) -> dict[str, Plan]:
    """What was decided about those touches, by decision id."""
    found = select_in(connection, _PLANS, decision_ids, tenant=tenant)
    return {row.decision_id: Plan(row.config_hash, row.arm, row.context) for row in found}


def overdue_touches(connection: Connection, tenant: str, now_us: int, limit: int) -> list[TouchRow]:
    """The planned touches, the service's and the caller's, whose `expires_us` has passed, by decision id."""
    query = (
        select(*touches.columns)
        .where(touches.c.tenant == tenant, touches.c.state == "planned", touches.c.expires_us <= now_us)
        .order_by(touches.c.expires_us)
        .limit(limit)
    )
    return sorted(map(TouchRow._make, connection.execute(query)), key=attrgetter("decision_id"))


def lost_leases(connection: Connection, tenant: str, now_us: int, limit: int) -> list[TouchRow]:
    """The touches whose lease ran out before they were sent, by decision id.

    Held until this transaction ends, and without those that another one holds.
    """
    query = _lease_over(tenant, ("leased", "sending"), now_us, limit).with_for_update(skip_locked=True)
    return sorted(map(TouchRow._make, connection.execute(query)), key=attrgetter("decision_id"))


def doubtful_touches(connection: Connection, tenant: str, now_us: int, limit: int) -> list[TouchRow]:
    """The unknown touches that are to be asked about by now, by decision id."""
    query = _lease_over(tenant, ("unknown",), now_us, limit)
    return sorted(map(TouchRow._make, connection.execute(query)), key=attrgetter("decision_id"))


def next_end_us(connection: Connection, tenant: str) -> int | None:
    """The next instant at which a touch expires, a lease ends or is asked about; None where none will."""
    planned = (touches.c.tenant == tenant, touches.c.state == "planned")
    expiry = select(touches.c.expires_us).where(*planned).order_by(touches.c.expires_us).limit(1)
    leases = select(func.min(touches.c.lease_until_us)).where(
        touches.c.tenant == tenant, touches.c.state.in_(["leased", "sending", "unknown"])
    )
    firsts = (connection.execute(query).scalar() for query in (expiry, leases))
    return min((first_us for first_us in firsts if first_us is not None), default=None)


def _lease_over(tenant: str, states: Collection[str], now_us: int, limit: int) -> Select[*tuple[Any, ...]]:
    return (
        select(*touches.columns)
        .where(touches.c.tenant == tenant, touches.c.state.in_(states), touches.c.lease_until_us <= now_us)
        .limit(limit)
    )
