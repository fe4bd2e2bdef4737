"""Published models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from optimizer.store.bulk import insert_rows
from optimizer.store.rows import SnapshotRow
from optimizer.store.tables import snapshots

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ALL = select(*snapshots.columns)


def insert_snapshot(connection: Connection, row: SnapshotRow) -> None:
    """Publish a model.

    Only the newest keeps what the trainer goes on from: earlier ones of the same learner lose their `resume`, but for
    those that a rebuild starts from.
    """
    connection.execute(
        update(snapshots)
        .where(snapshots.c.tenant == row.tenant, snapshots.c.campaign_id == row.campaign_id)
        .where(snapshots.c.learner_key == row.learner_key, snapshots.c.resume.is_not(None))
        .where(~snapshots.c.base)
        .values(resume=None)
    )
    insert_rows(connection, snapshots, [row])


def latest_snapshot(
    connection: Connection, tenant: str, campaign_id: str, learner_key: str | None = None
) -> SnapshotRow | None:
    """The campaign's model that was published last, of one learner or of any."""
    query = _ALL.where(snapshots.c.tenant == tenant, snapshots.c.campaign_id == campaign_id)
    if learner_key is not None:
        query = query.where(snapshots.c.learner_key == learner_key)
    row = connection.execute(
        query.order_by(snapshots.c.published_us.desc(), snapshots.c.snapshot_id.desc()).limit(1)
    ).first()
    return SnapshotRow._make(row) if row else None


def oldest_base(connection: Connection, tenant: str, campaign_id: str, learner_key: str) -> SnapshotRow | None:
    """The model from which a rebuild of this learner starts; None where it starts at the beginning of the log."""
    query = _ALL.where(snapshots.c.tenant == tenant, snapshots.c.campaign_id == campaign_id)
    query = query.where(snapshots.c.learner_key == learner_key, snapshots.c.base, snapshots.c.resume.is_not(None))
    row = connection.execute(query.order_by(snapshots.c.published_us, snapshots.c.snapshot_id).limit(1)).first()
    return SnapshotRow._make(row) if row else None


def last_published_us(connection: Connection, tenant: str, campaign_id: str) -> int:
    """When the campaign's newest model was published; -1 where it has none."""
    query = select(func.max(snapshots.c.published_us)).where(snapshots.c.tenant == tenant)
    found = connection.execute(query.where(snapshots.c.campaign_id == campaign_id)).scalar()
    return -1 if found is None else int(found)


def snapshot_by_id(connection: Connection, tenant: str, snapshot_id: str) -> SnapshotRow | None:
    """One model."""
    query = _ALL.where(snapshots.c.tenant == tenant, snapshots.c.snapshot_id == snapshot_id)
    row = connection.execute(query).first()
    return SnapshotRow._make(row) if row else None


def newest_ids(connection: Connection, tenant: str, campaign_id: str, learner_key: str, limit: int) -> list[str]:
    """The ids of a learner's models, the newest first."""
    query = (
        select(snapshots.c.snapshot_id)
        .where(snapshots.c.tenant == tenant, snapshots.c.campaign_id == campaign_id)
        .where(snapshots.c.learner_key == learner_key)
        .order_by(snapshots.c.published_us.desc(), snapshots.c.snapshot_id.desc())
        .limit(limit)
    )
    return list(connection.execute(query).scalars())
