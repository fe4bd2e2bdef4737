"""Write a campaign's log into a file, with its data card."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import Annotated

import typer
from rich.console import Console

from optimizer.ids import DEFAULT_TENANT
from optimizer.opening import CONFIG, Config, Tenant, opened
from simulator.logs.export import Format, export_log


def export(  # noqa: PLR0913 - what, where, as what
    campaign_id: Annotated[str, typer.Argument(help="The campaign's id.", metavar="CAMPAIGN")],
    *,
    kind: Annotated[
        Format, typer.Option("--format", help="parquet, flat csv, or Vowpal Wabbit's dsjson as the campaign learned.")
    ] = Format.PARQUET,
    out: Annotated[Path, typer.Option(help="The file; its data card goes beside it.", dir_okay=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Write every decision of a campaign with what became of it; a service may run meanwhile.

    `optimizer evaluate` reads the file again. Subject ids in it are pseudonyms.
    """
    with opened(config, tenant) as (_, engine), Console(stderr=True).status("") as status:
        done = export_log(
            engine,
            campaign_id,
            out,
            kind,
            overwrite=overwrite,
            tell=lambda read: status.update(f"{read:,} decisions"),
        )
    held = done.contents
    typer.echo(
        f"{done.data}: {held.decisions:,} decisions, {held.closed:,} closed, {held.learned:,} learned from; "
        f"what is in it: {done.page}, {done.card}"
    )
