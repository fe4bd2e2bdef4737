"""What each bucket of context is worth, from decisions that were drawn uniformly."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads the signature
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from optimizer import logs
from optimizer.config import ATTRIBUTES_FILE, load_attributes, load_campaign
from optimizer.errors import InvalidInput
from optimizer.ids import DEFAULT_TENANT
from optimizer.opening import CONFIG, Config, Tenant, opened
from simulator.ablation.campaign_log import campaign_log
from simulator.ablation.estimating import ablate
from simulator.ablation.shares import Ablation
from simulator.logs.opening import open_log
from simulator.logs.reading import Intake

if TYPE_CHECKING:
    from rich.console import RenderableType

    from simulator.ablation.shares import Untold

WORDS = {
    "customer": "customer: who it is",
    "experience": "experience: which message",
    "execution": "execution: where and when",
    "placement": "  channel and time",
    "earlier_touches": "  timing of earlier touches",
}


def ablation(  # noqa: PLR0913 - a service's log, or a file with its campaign
    log: Annotated[str, typer.Argument(metavar="LOG|CAMPAIGN", help="A log, or the id of a service's campaign.")],
    *,
    campaign_file: Annotated[
        Path | None, typer.Option("--campaign", help="With a log: its campaign.", exists=True, dir_okay=False)
    ] = None,
    attributes: Annotated[
        Path | None, typer.Option(help="With a log: the attributes; by default attributes.yaml beside the campaign.")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="With a log: how its columns are read.", exists=True)] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for ablation.json; made if new.", file_okay=False)] = None,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Divide the worth of choosing well among knowing the customer, choosing the message, and the execution.

    Decisions that were drawn uniformly tell it: those of random_control, or of a campaign that explores uniformly.
    """
    if campaign_file is None:
        with opened(config, tenant) as (_, engine):
            found = ablate(*campaign_log(engine, log))
    else:
        logs.configure("warning")
        declared = load_attributes(attributes or campaign_file.parent / ATTRIBUTES_FILE)
        with Intake() as intake:
            found = ablate(open_log(log, mapping).chunks(intake), load_campaign(campaign_file, declared))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        body = orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        (out / "ablation.json").write_bytes(body)
    if not isinstance(found, Ablation):
        raise InvalidInput(_refusal(found))
    Console().print(_table(found))


def _refusal(found: Untold) -> str:
    others = "".join(f"; {n:,} decisions left out: {cause}" for cause, n in found.left_out.items())
    return f"the log cannot tell the shares: {found.why}{others}"


def _table(found: Ablation) -> RenderableType:
    table = Table(
        title=f"What choosing well is worth: {found.worth.text(5, signed=True)} a decision",
        caption=(
            f"{found.decisions:,} decisions of {found.customers:,} customers, drawn uniformly. From every arm alike, "
            f"{found.base.text(5)}, to the best that is seen and chosen, {found.best.text(5)}. Shapley values, and "
            "Owen's within execution; 95% intervals. Correction: by how much the shares were moved for what learned "
            "policies fall short of the best ones; the intervals are widened by it."
        ),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("bucket")
    for heading in ("share", "95% interval", "correction"):
        table.add_column(heading, justify="right")
    for name, share in {**found.shares, **found.within_execution}.items():
        ends = "-" if share.low is None else f"{share.low:.1%} to {share.high:.1%}"
        table.add_row(WORDS[name], f"{share.value:.1%}", ends, f"{found.corrections[name]:+.1%}")
    for cause, n in found.left_out.items():
        table.add_row(f"left out: {cause}", f"{n:,}", "", "")
    return table
