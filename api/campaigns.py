"""Campaigns: how they stand, their runs, and stopping them at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.models import (
    CampaignOut,
    CampaignState,
    Key,
    ReconciliationOut,
    ReconciliationQuery,
    RemovalsOut,
    RemovalsQuery,
    RunIn,
    RunOut,
)
from api.requests import JsonRoute, TheCaller, TheEngine

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"], route_class=JsonRoute)


@router.get("")
def campaigns(engine: TheEngine) -> list[CampaignOut]:
    """Every campaign that was loaded, in the order of their ids."""
    return [CampaignOut.of(report) for report in engine.campaigns()]


@router.get("/{campaign_id}")
def campaign(campaign_id: Key, engine: TheEngine) -> CampaignOut:
    """How one campaign stands."""
    return CampaignOut.of(engine.campaign(campaign_id))


@router.post("/{campaign_id}/runs")
def run(campaign_id: Key, engine: TheEngine, wanted: RunIn | None = None) -> RunOut:
    """Decide for the campaign's audience, each customer once; answered when the run is finished.

    A run that was cut short goes on where it stopped. Repeating a run changes nothing.
    """
    return RunOut.of(engine.run(campaign_id, wanted.occasion if wanted else None))


@router.get("/{campaign_id}/runs")
def runs(campaign_id: Key, engine: TheEngine) -> list[RunOut]:
    """The campaign's latest runs, the latest first."""
    return [RunOut.of(row) for row in engine.runs(campaign_id)]


@router.get("/{campaign_id}/removals")
def removals(campaign_id: Key, engine: TheEngine, wanted: Annotated[RemovalsQuery, Query()]) -> list[RemovalsOut]:
    """How many arms each reason removed on each day of UTC, and of how many decisions."""
    return [RemovalsOut.of(each) for each in engine.removals(campaign_id, wanted.from_, wanted.until)]


@router.get("/{campaign_id}/reconciliation")
def reconciliation(
    campaign_id: Key, engine: TheEngine, wanted: Annotated[ReconciliationQuery, Query()]
) -> ReconciliationOut:
    """What became of every decision of the campaign; the numbers add up to the decisions."""
    return ReconciliationOut.of(engine.reconcile(campaign_id, wanted.from_, wanted.until))


@router.post("/{campaign_id}/pause")
def pause(campaign_id: Key, engine: TheEngine, caller: TheCaller) -> CampaignState:
    """Stop it at once: no decision sends anything and no touch that is due goes out, until it is resumed."""
    return CampaignState.of(engine.pause(campaign_id, by=caller.by))


@router.post("/{campaign_id}/resume")
def resume(campaign_id: Key, engine: TheEngine, caller: TheCaller) -> CampaignState:
    """Let a paused campaign go on."""
    return CampaignState.of(engine.resume(campaign_id, by=caller.by))
