"""Score a whole audience with a campaign's newest model."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import pyarrow.parquet as pq
import typer

from optimizer.errors import Conflict
from optimizer.ids import DEFAULT_TENANT
from optimizer.opening import CONFIG, Config, Tenant, opened
from optimizer.registry import body_of
from optimizer.store.snapshots import latest_snapshot
from simulator.audience import SCHEMA, Scoring
from simulator.engines import EngineName, EngineOption, workers
from simulator.logs.parts import address, parquet_urls, stretches


def score(  # noqa: PLR0913 -- what can be asked for
    campaign_id: Annotated[str, typer.Argument(help="The campaign's id.", metavar="CAMPAIGN")],
    audience: Annotated[
        str, typer.Argument(help="Customers as Parquet: a file, a folder of such, or an address like s3://bucket/x.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="The Parquet file to be written; it must not exist.", dir_okay=False)],
    engine: EngineOption = EngineName.LOCAL,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Tell for each customer of a file what a campaign's newest model would do; nothing is drawn, stored or sent.

    As if nobody had been contacted before: consent, caps, hours and budget are not asked. Rows without an id or with
    infinite numbers are left out and reported; the exit code is then 1.
    """
    if out.exists():
        raise Conflict(f"{out} exists already: name another file, or remove it")
    with opened(config, tenant) as (_settings, service):
        campaign, newest = service.runtime.store.read(
            lambda connection: (
                (version := service.versions.current(connection, campaign_id)).campaign,
                latest_snapshot(connection, tenant, campaign_id, version.campaign.learner_key),
            )
        )
        types = dict(service.runtime.attributes.types)
    scoring = Scoring(campaign, types, body_of(newest) if newest else None, datetime.now(UTC))
    parts, scored, problems = stretches(parquet_urls(address(audience))), 0, 0
    aside = out.with_name(out.name + ".part")
    try:
        with workers(engine) as there, pq.ParquetWriter(aside, SCHEMA, compression="zstd") as writer:
            for part in there.map(scoring, parts):
                writer.write_table(part.table)
                scored += len(part.table)
                problems += len(part.problems)
                for problem in part.problems:
                    typer.echo(str(problem), err=True)
        aside.replace(out)
    finally:
        aside.unlink(missing_ok=True)
    model = f"snapshot {newest.snapshot_id}" if newest else "no model yet: a uniform draw"
    typer.echo(f"{scored:,} customers scored ({model}), {problems:,} problems; written to {out}")
    if problems:
        raise typer.Exit(1)
