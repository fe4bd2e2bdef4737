"""What retention asks of the logs, and how whole months of them are taken away.

A month is the rows whose id was made in it: `[first, last)` are the texts that bound its ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from sqlalchemy import and_, exists, func, select, tuple_, update

from optimizer.ids import made_us
from optimizer.store import partitions
from optimizer.store.audit import latest_entries
from optimizer.store.partitions import Month
from optimizer.store.tables import (
    decisions,
    events,
    rewards,
    snapshots,
    touch_attempts,
    touch_transitions,
    touches,
    voids,
)
from optimizer.store.touches import OPEN_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row, Table

LOG: Final = "log"
"""What the audit log calls the decision and event logs."""

ID: Final = {
    "decisions": "decision_id",
    "events": "record_id",
    "touch_transitions": "decision_id",
    "touch_attempts": "decision_id",
    "voids": "decision_id",
    "rewards": "decision_id",
}
"""The tables that are exported, and the column whose id tells the month of a row."""

_TABLES: Final[Mapping[str, Table]] = {
    table.name: table for table in (decisions, events, touch_transitions, touch_attempts, voids, rewards)
}
_REWARDED: Final = exists().where(
    rewards.c.tenant == decisions.c.tenant, rewards.c.decision_id == decisions.c.decision_id
)


class Standing(NamedTuple):
    """What in a month of one tenant is not at its end yet."""

    unclosed: int
    open_touches: int


def cut_of(connection: Connection, tenant: str) -> str:
    """The text below which ids of decisions and events have left the log, '' where none has."""
    found = latest_entries(connection, tenant, limit=1, object_=LOG)
    return str(orjson.loads(found[0].details)["cut"]) if found else ""


def months(connection: Connection, tenants: Sequence[str], before_us: int) -> list[Month]:
    """The months of the logs that ended by that instant, in order: those that have rows, or a partition."""
    found: set[Month] = set()
    for name in partitions.TABLES:
        if connection.dialect.name == "postgresql":
            found |= set(partitions.partitions_of(connection, name))
        for tenant in tenants:
            found |= _with_rows(connection, name, tenant)
    return sorted(month for month in found if month.next.start_us <= before_us)


def _with_rows(connection: Connection, name: str, tenant: str) -> set[Month]:
    table, found, after = _TABLES[name], set[Month](), ""
    column = table.columns[ID[name]]
    # Each takes the first row after the month before, by the index.
    query = select(column).where(table.columns["tenant"] == tenant).order_by(column).limit(1)
    while (first := connection.execute(query.where(column > after)).scalar()) is not None:
        at_us = made_us(first)
        if at_us is None:
            after = first
        else:
            month = Month.at(at_us)
            found.add(month)
            after = month.next.bound
    return found


def standing(connection: Connection, tenant: str, month: Month) -> Standing:
    """Of one tenant's decisions of a month, those without a reward, and their touches that are not at their end."""
    unclosed = (
        select(func.count())
        .where(decisions.c.tenant == tenant, _within(decisions.c.decision_id, month))
        .where(~_REWARDED)
    )
    waiting = select(func.count()).where(
        touches.c.tenant == tenant, _within(touches.c.decision_id, month), touches.c.state.in_(OPEN_STATES)
    )
    return Standing(connection.execute(unclosed).scalar_one(), connection.execute(waiting).scalar_one())


def unlearned(connection: Connection, tenant: str, campaign_id: str, month: Month, watermark: tuple[int, str]) -> int:
    """How many of a campaign's decisions of a month are to be learned, and lie after that place in the order."""
    query = (
        select(func.count())
        .where(rewards.c.tenant == tenant, rewards.c.campaign_id == campaign_id, rewards.c.learn)
        .where(rewards.c.mature_us >= watermark[0], _within(rewards.c.decision_id, month))
        .where(tuple_(rewards.c.mature_us, rewards.c.decision_id) > tuple_(*watermark))
    )
    return connection.execute(query).scalar_one()


def count_rows(connection: Connection, name: str, month: Month) -> int:
    """How many rows of a table belong to a month, of all tenants."""
    table = _TABLES[name]
    query = select(func.count()).select_from(table).where(_within(table.columns[ID[name]], month))
    return connection.execute(query).scalar_one()


def rows_after(
    connection: Connection, name: str, month: Month, last: Sequence[Any] | None, limit: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The next rows of a table that belong to a month, in the order of its key; `last` is the row before them."""
    table = _TABLES[name]
    query = select(*table.columns).where(_within(table.columns[ID[name]], month))
    key = list(table.primary_key.columns)
    if last is not None:
        places = [table.columns.keys().index(column.name) for column in key]
        query = query.where(tuple_(*key) > tuple_(*(last[place] for place in places)))
    return connection.execute(query.order_by(*key).limit(limit)).all()


def last_row(connection: Connection, name: str, month: Month) -> Row[*tuple[Any, ...]] | None:
    """The key of a table's last row of a month, in the order of the keys."""
    table = _TABLES[name]
    key = list(table.primary_key.columns)
    query = select(*key).where(_within(table.columns[ID[name]], month))
    return connection.execute(query.order_by(*(column.desc() for column in key)).limit(1)).first()


def mark_base(connection: Connection, tenant: str) -> list[str]:
    """Keep the newest snapshot of each learner as that from which a rebuild starts, in the place of earlier ones.

    The ids of those that were marked. Those that have nothing to go on from cannot be.
    """
    newer = snapshots.alias()
    newest = (
        select(snapshots.c.campaign_id, snapshots.c.learner_key, snapshots.c.snapshot_id)
        .where(snapshots.c.tenant == tenant, snapshots.c.resume.is_not(None))
        .where(
            ~exists().where(
                newer.c.tenant == snapshots.c.tenant,
                newer.c.campaign_id == snapshots.c.campaign_id,
                newer.c.learner_key == snapshots.c.learner_key,
                tuple_(newer.c.published_us, newer.c.snapshot_id)
                > tuple_(snapshots.c.published_us, snapshots.c.snapshot_id),
            )
        )
        .with_for_update(of=snapshots)
    )
    found = connection.execute(newest).all()
    for campaign_id, learner_key, snapshot_id in found:
        mine = (
            snapshots.c.tenant == tenant,
            snapshots.c.campaign_id == campaign_id,
            snapshots.c.learner_key == learner_key,
        )
        earlier = update(snapshots).where(*mine, snapshots.c.base, snapshots.c.snapshot_id != snapshot_id)
        connection.execute(earlier.values(base=False, resume=None))
        connection.execute(update(snapshots).where(*mine, snapshots.c.snapshot_id == snapshot_id).values(base=True))
    return [row.snapshot_id for row in found]


def _within(column: Any, month: Month) -> Any:  # noqa: ANN401 - a column of text, and a condition
    return and_(column >= month.bound, column < month.next.bound)
