"""The draws of the decision log, as an auditor reads them: which arm was drawn, and from what distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from optimizer.store.tables import decisions

if TYPE_CHECKING:
    from sqlalchemy import Connection


class DrawRow(NamedTuple):
    """A logged draw, without the customer's facts; the last two are bytes, `scores` empty without a model."""

    decision_id: str
    config_hash: str
    arm: str
    propensity: float
    snapshot_id: str | None
    exploration: str
    candidates: bytes
    scores: bytes


_DRAWS = select(*(decisions.columns[name] for name in DrawRow._fields))


def newest_draws(connection: Connection, tenant: str, campaign_id: str, after_id: str, limit: int) -> list[DrawRow]:
    """The campaign's newest decisions after that id ('' to begin with) that drew an arm, the newest first."""
    query = (
        _DRAWS.where(decisions.c.tenant == tenant, decisions.c.campaign_id == campaign_id)
        .where(decisions.c.decision_id > after_id, decisions.c.arm.is_not(None))
        .order_by(decisions.c.decision_id.desc())
        .limit(limit)
    )
    return [DrawRow._make(row) for row in connection.execute(query)]
