"""Small rehearsals to look at."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from optimizer.campaign import CampaignFile
from optimizer.config import load_attributes, load_campaign
from optimizer.store import decisions
from simulator.loop import ClosedLoop
from simulator.worlds import FactorialConfig, FactorialWorld

if TYPE_CHECKING:
    from optimizer.store.rows import DecisionRow

CONFIGS: Final = Path(__file__).parents[2] / "configs"
ATTRIBUTES: Final = load_attributes(CONFIGS / "attributes.yaml")
FACTORIAL: Final = load_campaign(CONFIGS / "factorial.yaml", ATTRIBUTES)
STARTS: Final = FACTORIAL.campaign.starts_at


def ending(ends_at: datetime) -> CampaignFile:
    """The factorial campaign, over at this instant."""
    data = FACTORIAL.model_dump(mode="json", by_alias=True)
    return CampaignFile.model_validate({**data, "campaign": {**data["campaign"], "ends_at": ends_at.isoformat()}})


def rehearsed(days: int, *, customers: int = 200, seed: int = 1, campaign: CampaignFile = FACTORIAL) -> ClosedLoop:
    """A loop that has run for so many days."""
    world = FactorialWorld(FactorialConfig(), customers, seed)
    loop = ClosedLoop(campaign, ATTRIBUTES, world, seed=seed, starts=STARTS)
    for _ in loop.run(STARTS + timedelta(days=days)):
        pass
    return loop


def log(loop: ClosedLoop) -> list[DecisionRow]:
    """Every decision."""
    runtime, campaign_id = loop.engine.runtime, loop.campaign.id
    return runtime.store.read(
        lambda c: decisions.decision_page(c, runtime.tenant, campaign_id, after_id="", limit=100_000)
    )
