"""How far behind the service is: what waits, since when, and how much of it.

Asked again and again by whoever watches, so each answer comes from the beginning of an index, and a count goes no
further than `MANY`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import func, select, tuple_

from optimizer.store.outbox import channels_planned, first_due
from optimizer.store.tables import rewards, snapshots, touches
from optimizer.store.touches import OPEN_STATES

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

MANY: Final = 100_000
"""Where counting ends: more than this is this."""


class SnapshotHead(NamedTuple):
    """A published model without its body."""

    snapshot_id: str
    learner_key: str
    published_us: int
    watermark_us: int
    watermark_id: str


def count(connection: Connection, query: Select[Any]) -> int:
    """How many rows a query has, up to `MANY`."""
    return int(connection.execute(select(func.count()).select_from(query.limit(MANY).subquery())).scalar_one())


def count_touches(connection: Connection, tenant: str) -> dict[str, int]:
    """How many touches are in each of `OPEN_STATES`, up to `MANY`."""
    mine = select(touches.c.send_us).where(touches.c.tenant == tenant)
    return {state: count(connection, mine.where(touches.c.state == state)) for state in OPEN_STATES}


def due_touches(connection: Connection, tenant: str, now_us: int) -> tuple[int, int | None]:
    """How many planned touches the service should have sent by now, up to `MANY`, and since when the first of them."""
    due, first_us = 0, None
    for channel in channels_planned(connection, tenant):
        for at_us, campaign_id in first_due(connection, tenant, channel):
            if at_us > now_us or due >= MANY:
                break
            first_us = min(at_us, first_us or at_us)
            mine = (
                select(touches.c.due_us)
                .where(touches.c.tenant == tenant, touches.c.campaign_id == campaign_id)
                .where(touches.c.dispatch == "service", touches.c.state == "planned", touches.c.channel == channel)
                .where(touches.c.due_us <= now_us)
            )
            due += count(connection, mine)
    return min(due, MANY), first_us


def first_unlearned_us(connection: Connection, tenant: str, campaign_id: str, watermark: tuple[int, str]) -> int | None:
    """When the first closed decision after the watermark, of those to learn, was closed; None where there is none."""
    query = (
        select(rewards.c.closed_us)
        .where(rewards.c.tenant == tenant, rewards.c.campaign_id == campaign_id, rewards.c.learn)
        .where(rewards.c.mature_us >= watermark[0])
        .where(tuple_(rewards.c.mature_us, rewards.c.decision_id) > tuple_(*watermark))
        .order_by(rewards.c.mature_us, rewards.c.decision_id)
        .limit(1)
    )
    return connection.execute(query).scalar()


def newest_snapshot(connection: Connection, tenant: str, campaign_id: str) -> SnapshotHead | None:
    """The campaign's model that was published last."""
    query = (
        select(*(snapshots.columns[name] for name in SnapshotHead._fields))
        .where(snapshots.c.tenant == tenant, snapshots.c.campaign_id == campaign_id)
        .order_by(snapshots.c.published_us.desc(), snapshots.c.snapshot_id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else SnapshotHead._make(row)
