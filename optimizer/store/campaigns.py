"""Campaigns: every version that was loaded, where each stands, and what was done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import bindparam, select, update

from optimizer.store.bulk import insert_missing, insert_rows, one_of, run, select_in, upsert_rows
from optimizer.store.rows import CampaignChangeRow, CampaignRow, CampaignVersionRow
from optimizer.store.tables import campaign_changes, campaign_versions, campaigns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

_CURRENT = select(*campaigns.columns)
_BY_ID = _CURRENT.where(campaigns.c.tenant == bindparam("tenant"), campaigns.c.campaign_id == bindparam("campaign_id"))
_KEPT = (
    _CURRENT.where(campaigns.c.tenant == bindparam("tenant"), one_of(campaigns.c.campaign_id))
    .order_by(campaigns.c.campaign_id)
    .with_for_update(read=True)
)
_STATE_AFTER: Final = {"paused": "paused", "resumed": "active"}


def load_version(connection: Connection, row: CampaignVersionRow, change_id: str) -> bool:
    """Make a version the current one; whether that changed anything.

    A campaign that is paused stays paused, a new one is active. A version that was loaded before keeps its first
    `loaded_us`.
    """
    # Of several processes that start with the same files, all but one wait here, and then find it done.
    insert_missing(connection, campaign_versions, [row], ("tenant", "campaign_id", "config_hash"))
    now = campaign_by_id(connection, row.tenant, row.campaign_id)
    if now is None or now.config_hash != row.config_hash:
        now = _hold_campaign(connection, row.tenant, row.campaign_id)
    if now is not None and now.config_hash == row.config_hash:
        return False
    state = now.state if now else "active"
    current = CampaignRow(row.tenant, row.campaign_id, row.config_hash, state, row.loaded_us)
    upsert_rows(connection, campaigns, [current], ("tenant", "campaign_id"), ("config_hash", "changed_us"))
    change = CampaignChangeRow(row.tenant, change_id, row.campaign_id, "loaded", row.config_hash, row.loaded_us)
    insert_rows(connection, campaign_changes, [change])
    return True


def change_state(  # noqa: PLR0913 - which campaign, what, and when
    connection: Connection,
    tenant: str,
    campaign_id: str,
    change: Literal["paused", "resumed"],
    *,
    at_us: int,
    change_id: str,
) -> CampaignRow | None:
    """Pause (`change` is `paused`) or resume (`resumed`) a campaign; how it stands then, or None where there is none.

    Nothing is noted where nothing changes.
    """
    now = _hold_campaign(connection, tenant, campaign_id)
    state = _STATE_AFTER[change]
    if now is None or now.state == state:
        return now
    mine = (campaigns.c.tenant == tenant, campaigns.c.campaign_id == campaign_id)
    connection.execute(update(campaigns).where(*mine).values(state=state, changed_us=at_us))
    row = CampaignChangeRow(tenant, change_id, campaign_id, change, now.config_hash, at_us)
    insert_rows(connection, campaign_changes, [row])
    return now._replace(state=state, changed_us=at_us)


def insert_change(connection: Connection, row: CampaignChangeRow) -> None:
    """Note something that was done to a campaign."""
    insert_rows(connection, campaign_changes, [row])


def last_rejoin(connection: Connection, tenant: str, campaign_id: str) -> CampaignChangeRow | None:
    """The last time that the campaign's reward was applied to the past; None where it never was."""
    query = (
        select(*campaign_changes.columns)
        .where(campaign_changes.c.tenant == tenant, campaign_changes.c.campaign_id == campaign_id)
        .where(campaign_changes.c.change == "rejoined")
        .order_by(campaign_changes.c.at_us.desc(), campaign_changes.c.change_id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return CampaignChangeRow._make(row) if row else None


def campaign_by_id(connection: Connection, tenant: str, campaign_id: str) -> CampaignRow | None:
    """One campaign as it stands."""
    found = run(connection, _BY_ID, tenant=tenant, campaign_id=campaign_id)
    return CampaignRow._make(found[0]) if found else None


def keep_campaigns(connection: Connection, tenant: str, campaign_ids: Iterable[str]) -> dict[str, CampaignRow]:
    """How those campaigns stand, by id; nobody changes how any stands until this transaction ends.

    Any number may keep them at a time.
    """
    found = select_in(connection, _KEPT, campaign_ids, tenant=tenant)
    return {row.campaign_id: CampaignRow._make(row) for row in found}


def _hold_campaign(connection: Connection, tenant: str, campaign_id: str) -> CampaignRow | None:
    """Like `campaign_by_id`, and nobody else keeps or changes it until this transaction ends."""
    if connection.dialect.name == "postgresql":
        # Those who keep a row let others join them, without end where many decide; for the table they queue up.
        connection.exec_driver_sql("LOCK TABLE campaigns IN EXCLUSIVE MODE")
    query = _CURRENT.where(campaigns.c.tenant == tenant, campaigns.c.campaign_id == campaign_id).with_for_update()
    row = connection.execute(query).first()
    return CampaignRow._make(row) if row else None


def all_campaigns(connection: Connection, tenant: str) -> list[CampaignRow]:
    """Every campaign as it stands, in the order of their ids."""
    query = _CURRENT.where(campaigns.c.tenant == tenant).order_by(campaigns.c.campaign_id)
    return [CampaignRow._make(row) for row in connection.execute(query)]


def campaign_version(
    connection: Connection, tenant: str, campaign_id: str, config_hash: str
) -> CampaignVersionRow | None:
    """One version of a campaign."""
    query = select(*campaign_versions.columns).where(
        campaign_versions.c.tenant == tenant,
        campaign_versions.c.campaign_id == campaign_id,
        campaign_versions.c.config_hash == config_hash,
    )
    row = connection.execute(query).first()
    return CampaignVersionRow._make(row) if row else None


def learner_name(connection: Connection, tenant: str, campaign_id: str, learner_key: str) -> str:
    """What names a campaign's learner: the key of its version, and the last time that past rewards changed."""
    rejoin = last_rejoin(connection, tenant, campaign_id)
    return f"{learner_key}/{rejoin.change_id}" if rejoin else learner_key


def changes_of(connection: Connection, tenant: str, campaign_id: str) -> list[CampaignChangeRow]:
    """What was done to a campaign, in order."""
    query = (
        select(*campaign_changes.columns)
        .where(campaign_changes.c.tenant == tenant, campaign_changes.c.campaign_id == campaign_id)
        .order_by(campaign_changes.c.at_us, campaign_changes.c.change_id)
    )
    return [CampaignChangeRow._make(row) for row in connection.execute(query)]
