"""What a changed configuration would have been worth on the decisions that a service has logged."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the signature
from typing import Annotated

import typer
from rich.console import Console

from optimizer.config import load_campaign
from optimizer.errors import InvalidInput
from optimizer.ids import DEFAULT_TENANT
from optimizer.opening import CONFIG, Config, Tenant, opened
from simulator.what_if import reporting
from simulator.what_if.judging import judge_change
from simulator.what_if.prices import prices


def whatif(
    campaign_id: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign, by its id.")],
    changed: Annotated[
        Path, typer.Argument(metavar="CHANGED.yaml", help="Its changed configuration.", exists=True, dir_okay=False)
    ],
    *,
    out: Annotated[Path | None, typer.Option(help="A folder for whatif.json; made if new.", file_okay=False)] = None,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Judge a changed configuration on the decisions that a campaign has logged, and price each of its rules.

    Histories are held as they were. What the log cannot tell is refused by name.
    """
    with opened(config, tenant) as (_, engine):
        campaign = load_campaign(changed, engine.runtime.attributes)
        if campaign.id != campaign_id:
            raise InvalidInput(f"{changed}: campaign.id is {campaign.id!r}: expected a changed {campaign_id!r}")
        judged = judge_change(engine, campaign)
        priced = prices(engine, campaign_id, judged.drawn)
    if out is not None:
        reporting.write(judged, priced, out / "whatif.json")
    Console().print(reporting.shown(judged, priced))
