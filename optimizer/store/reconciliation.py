"""How the decisions of a campaign are counted, each with the touch that carries it out, if any."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, func, select

from optimizer.store import partitions
from optimizer.store.tables import decisions, touches

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Counted(NamedTuple):
    """So many decisions.

    Attributes:
        reason: why nothing was to be sent; None where something was.
        state, because: their touches' state, and why they are in it; None where there is no touch.
    """

    reason: str | None
    state: str | None
    because: str | None
    n: int


def count_decisions(
    connection: Connection, tenant: str, campaign_id: str, since_us: int | None = None, until_us: int | None = None
) -> list[Counted]:
    """A campaign's decisions by why nothing is sent, or by the state of their touch and its reason.

    Those made from `since_us` on and before `until_us`, to the millisecond; None: all. Decisions without a touch are
    counted from an index alone.
    """
    mine = [decisions.c.tenant == tenant, decisions.c.campaign_id == campaign_id]
    if since_us is not None:
        mine.append(decisions.c.decision_id >= partitions.bound(since_us))
    if until_us is not None:
        mine.append(decisions.c.decision_id < partitions.bound(until_us))
    unsent = (
        select(decisions.c.reason, func.count())
        .where(*mine, decisions.c.reason.is_not(None))
        .group_by(decisions.c.reason)
    )
    its_touch = and_(touches.c.tenant == decisions.c.tenant, touches.c.decision_id == decisions.c.decision_id)
    sent = (
        select(touches.c.state, touches.c.reason, func.count())
        .select_from(decisions.outerjoin(touches, its_touch))
        .where(*mine, decisions.c.reason.is_(None))
        .group_by(touches.c.state, touches.c.reason)
    )
    found = [Counted(reason, None, None, n) for reason, n in connection.execute(unsent)]
    return found + [Counted(None, state, because, n) for state, because, n in connection.execute(sent)]
