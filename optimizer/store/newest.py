"""The latest time that the tables know of: no process may take it to be earlier.

What comes later has to be dated later. The learner has a place in the order of maturity, and a decision that is dated
before that would never be learned; a pause would seem to follow the end of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, func, select

from optimizer.ids import made_us
from optimizer.store.bulk import run
from optimizer.store.campaigns import all_campaigns
from optimizer.store.tables import campaign_changes, decisions, events, rewards, snapshots
from optimizer.store.tenants import tenants_with_campaigns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import BindParameter, Connection

_TENANT: Final[BindParameter[str]] = bindparam("tenant")
_CAMPAIGN: Final[BindParameter[str]] = bindparam("campaign_id")
_IDS: Final = [
    select(func.max(ids)).where(ids.table.c.tenant == _TENANT) for ids in (decisions.c.decision_id, events.c.record_id)
]
_TIMES: Final = [
    select(func.max(times)).where(times.table.c.tenant == _TENANT, times.table.c.campaign_id == _CAMPAIGN)
    for times in (rewards.c.mature_us, snapshots.c.published_us, campaign_changes.c.at_us)
]
_MS_US: Final = 1000


def newest_us(connection: Connection) -> int:
    """When the newest row of any tenant was written, rounded up to the millisecond; 0 where there is none."""
    return max(_times(connection), default=0)


def _times(connection: Connection) -> Iterator[int]:
    for tenant in tenants_with_campaigns(connection):
        for query in _IDS:
            [(newest,)] = run(connection, query, tenant=tenant)
            if newest is not None and (at_us := made_us(newest)) is not None:
                # The id tells only the millisecond that it was made in.
                yield at_us + _MS_US
        for campaign in all_campaigns(connection, tenant):
            for query in _TIMES:
                [(newest,)] = run(connection, query, tenant=tenant, campaign_id=campaign.campaign_id)
                if newest is not None:
                    yield newest + 1
