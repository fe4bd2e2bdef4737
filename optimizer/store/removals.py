"""The removed arms of the decision log, as whoever counts them reads it: without customers and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, select

from optimizer.store.bulk import run
from optimizer.store.tables import decisions

if TYPE_CHECKING:
    from sqlalchemy import Connection


class RemovedRow(NamedTuple):
    """A decision's removed arms: a byte each, the code of its reason."""

    decision_id: str
    decided_us: int
    removed: bytes


_PAGE = (
    select(*(decisions.columns[name] for name in RemovedRow._fields))
    .where(decisions.c.tenant == bindparam("tenant"), decisions.c.campaign_id == bindparam("campaign_id"))
    .where(decisions.c.decision_id > bindparam("after_id"), decisions.c.decision_id < bindparam("before_id"))
    .order_by(decisions.c.decision_id)
    .limit(bindparam("size"))
)


def removed_page(  # noqa: PLR0913 - of which decisions
    connection: Connection, tenant: str, campaign_id: str, *, after_id: str, before_id: str, limit: int
) -> list[RemovedRow]:
    """The next decisions of a campaign between those ids, in the order of their making."""
    named = {"tenant": tenant, "campaign_id": campaign_id, "after_id": after_id, "before_id": before_id}
    return [RemovedRow._make(row) for row in run(connection, _PAGE, **named, size=limit)]
