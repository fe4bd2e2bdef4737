"""How a service stands, by what its tables say: what waits and since when. For `/metrics` and `optimizer doctor`.

It reads the tables alone, no campaign is compiled, so that it can be asked from beside the service too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from optimizer.store import campaigns, decisions, events, lags, leases

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.store.leases import LeaseRow
    from optimizer.store.rows import CampaignRow

_SECOND_US: Final = 1_000_000
_START: Final = (-1, "")


@dataclass(frozen=True, slots=True)
class CampaignStanding:
    """How far one campaign is behind.

    Attributes:
        closing_lag_s: how long its first decision without a reward has been mature; 0 where none is.
        learning_lag_s: how long its first closed decision has waited to be in a published model; 0 where none does.
        snapshot_id, snapshot_age_s: its newest model, and since when it is published; None without one.
    """

    campaign_id: str
    closing_lag_s: float
    learning_lag_s: float
    snapshot_id: str | None
    snapshot_age_s: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one tenant's service is behind.

    Attributes:
        touches: how many there are in each open state.
        due, due_lag_s: touches to be sent whose time has come, and for how long the first of them.
        parked: events that name a decision which is not known.
        leases: who holds what.
    """

    touches: Mapping[str, int]
    due: int
    due_lag_s: float
    parked: int
    campaigns: Sequence[CampaignStanding]
    leases: Sequence[LeaseRow]


def look(connection: Connection, tenant: str, now_us: int) -> Standing:
    """Ask the tables. Every answer costs no more than a bounded part of an index."""
    loaded = campaigns.all_campaigns(connection, tenant)
    due, due_since_us = lags.due_touches(connection, tenant, now_us)
    return Standing(
        lags.count_touches(connection, tenant),
        due,
        _since_s(due_since_us, now_us),
        events.count_parked(connection, tenant),
        [_campaign(connection, row, now_us) for row in loaded],
        leases.all_leases(connection, tenant),
    )


def _campaign(connection: Connection, row: CampaignRow, now_us: int) -> CampaignStanding:
    tenant, campaign_id = row.tenant, row.campaign_id
    mature_us = decisions.next_mature_us(connection, tenant, campaign_id)
    newest = lags.newest_snapshot(connection, tenant, campaign_id)
    watermark = _START
    if newest is not None and newest.learner_key == _learner(connection, row):
        watermark = (newest.watermark_us, newest.watermark_id)
    closed_us = lags.first_unlearned_us(connection, tenant, campaign_id, watermark)
    return CampaignStanding(
        campaign_id,
        _since_s(mature_us, now_us),
        _since_s(closed_us, now_us),
        newest.snapshot_id if newest else None,
        _since_s(newest.published_us, now_us) if newest else None,
    )


def _learner(connection: Connection, row: CampaignRow) -> str | None:
    version = campaigns.campaign_version(connection, row.tenant, row.campaign_id, row.config_hash)
    return version and campaigns.learner_name(connection, row.tenant, row.campaign_id, version.learner_key)


def _since_s(instant_us: int | None, now_us: int) -> float:
    """Seconds since then; 0 for what is still to come or was never."""
    return 0.0 if instant_us is None else max(0.0, (now_us - instant_us) / _SECOND_US)
