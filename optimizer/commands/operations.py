"""The commands that work on a service's database; a service may run beside them, since both read it in each change."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from optimizer.audit import customer_object
from optimizer.clock import from_us, to_us
from optimizer.customers import read_customers
from optimizer.errors import InvalidInput
from optimizer.ids import DEFAULT_TENANT
from optimizer.opening import CONFIG, Config, Tenant, opened, operator, read_campaigns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.verification import Check

_WIDE: Final = 200
_INSTANTS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]

CampaignId = Annotated[str, typer.Argument(help="The campaign's id.", metavar="CAMPAIGN")]

customers = typer.Typer(help="The customer table.", no_args_is_help=True)
campaign = typer.Typer(help="The campaigns of a service.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(customers, name="customers")
    app.add_typer(campaign, name="campaign")
    app.command()(run)
    app.command()(verify)
    app.command()(removals)
    app.command()(audit)


@customers.command("load")
def load_customers(
    file: Annotated[
        Path, typer.Argument(help="A .csv, .ndjson (.jsonl) or .parquet file.", exists=True, dir_okay=False)
    ],
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Load customers from a file, each row replacing what was known of that customer.

    A row that is rejected is reported with its place and does not hold up the others; the exit code is 1 then.
    """
    loaded = rejected = 0
    by = operator()
    with opened(config, tenant) as (_, engine), _progress() as progress:
        task = progress.add_task("", total=None)
        try:
            for chunk in read_customers(file, engine.runtime.attributes):
                engine.put_customers(chunk.customers, by=by)
                for problem in chunk.problems:
                    typer.echo(str(problem), err=True)
                loaded += len(chunk.customers)
                rejected += chunk.rejected
                progress.update(task, description=f"{loaded:,} loaded, {rejected:,} rejected")
        finally:
            typer.echo(f"{_count(loaded, 'customer')} loaded, {_count(rejected, 'row')} rejected")
    if rejected:
        raise typer.Exit(1)


@customers.command("erase")
def erase_customer(
    customer_id: Annotated[str, typer.Argument(help="The customer's id.", metavar="CUSTOMER")],
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Erase a customer: who they are goes, what was decided stays under a subject that names nobody any more."""
    with opened(config, tenant) as (_, engine):
        engine.erase_customer(customer_id, by=operator())
    typer.echo("the customer is erased")


@campaign.command("load")
def load_campaigns(
    files: Annotated[list[Path], typer.Argument(help="Campaign files, or folders of them.")],
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Make the versions in these files the current ones, for new decisions; nothing is loaded if anything is wrong."""
    with opened(config, tenant) as (_, engine):
        for read in read_campaigns(files, engine.runtime.attributes):
            standing = "is current now" if engine.load_campaign(read, by=operator()) else "was current already"
            typer.echo(f"{read.id}: version {read.config_hash[:12]} {standing}")


@campaign.command("list")
def list_campaigns(config: Config = CONFIG, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Show every campaign as it stands."""
    columns = "campaign", "state", "version", "decisions", "learned", "touches", "budget left", "name"
    table = Table(*(Column(name, overflow="fold") for name in columns))
    with opened(config, tenant) as (_, engine):
        for found in engine.campaigns():
            touches = ", ".join(f"{n} {state}" for state, n in found.touches.items())
            budget = found.budget
            left = f"{budget.left:,.2f} of {budget.amount:,.2f} {budget.currency}" if budget else "no limit"
            numbers = f"{found.decisions:,}", f"{found.learned:,}", touches or "none", left
            table.add_row(found.campaign_id, found.state, found.config_hash[:12], *numbers, found.name)
    # Away from a terminal there is no width to fit into.
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


@campaign.command()
def pause(campaign_id: CampaignId, config: Config = CONFIG, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Stop it at once: no decision sends anything and no touch that is due goes out, until it is resumed."""
    with opened(config, tenant) as (_, engine):
        typer.echo(f"{campaign_id}: {engine.pause(campaign_id, by=operator()).state}")


@campaign.command()
def resume(campaign_id: CampaignId, config: Config = CONFIG, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Let a paused campaign go on."""
    with opened(config, tenant) as (_, engine):
        typer.echo(f"{campaign_id}: {engine.resume(campaign_id, by=operator()).state}")


@campaign.command()
def rejoin(campaign_id: CampaignId, config: Config = CONFIG, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Apply the campaign's current reward to all its decisions of the past: they close, and are learned, anew."""
    with opened(config, tenant) as (_, engine):
        engine.rejoin(campaign_id, by=operator())
    typer.echo(f"{campaign_id}: its current reward holds for the past; the service closes and learns it anew")


def run(
    campaign_id: CampaignId,
    occasion: Annotated[
        str | None, typer.Option(help="What the run is for; by default the schedule's last one, or else the UTC day.")
    ] = None,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Decide for a campaign's audience now, each customer once; a run that was cut short goes on where it stopped."""
    with opened(config, tenant) as (_, engine), Console(stderr=True).status(f"Running {campaign_id}"):
        done = engine.run(campaign_id, occasion)
    typer.echo(f"{campaign_id}: run {done.occasion} is finished, {_count(done.decided, 'customer')} decided")


def verify(
    decision_id: Annotated[str | None, typer.Argument(help="A decision's id.", show_default=False)] = None,
    campaign_id: Annotated[
        str | None, typer.Option("--campaign", help="Verify every decision of this campaign.", show_default=False)
    ] = None,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Recompute decisions from what is stored with them; the exit code is 1 if any differs."""
    if (decision_id is None) == (campaign_id is None):
        raise InvalidInput("give a decision's id, or --campaign with a campaign's")
    with opened(config, tenant) as (_, engine):
        if decision_id is not None:
            checks = engine.verify(decision_id)
            _show(decision_id, checks)
            holds = all(check.holds for check in checks)
        else:
            with Console(stderr=True).status("Verifying"):
                count, failed = engine.verify_campaign(campaign_id or "")
            for failed_id, checks in failed:
                _show(failed_id, checks)
            typer.echo(f"{_count(count, 'decision')} verified, {len(failed):,} of them differ")
            holds = not failed
    if not holds:
        raise typer.Exit(1)


def removals(
    campaign_id: CampaignId,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            help="Of decisions made then (UTC) or later; by default 30 days before the end.",
            formats=_INSTANTS,
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--until", help="Of those made before; by default now.", formats=_INSTANTS, show_default=False),
    ] = None,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show how many arms each reason removed on each day of UTC, and of how many decisions."""
    table = Table("day", "reason", Column("arms", justify="right"), Column("decisions", justify="right"))
    ends = (None if at is None else at.replace(tzinfo=UTC) for at in (since, until))
    with opened(config, tenant) as (_, engine):
        for each in engine.removals(campaign_id, *ends):
            table.add_row(each.day.isoformat(), each.reason, f"{each.arms:,}", f"{each.decisions:,}")
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


def audit(  # noqa: PLR0913, PLR0917 - what can be asked for
    object_: Annotated[
        str | None,
        typer.Option("--object", help="Only this: campaign:ID, key:ID or customer:DIGEST.", show_default=False),
    ] = None,
    customer_id: Annotated[
        str | None, typer.Option("--customer", help="Only this customer, by id.", show_default=False)
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(help="Only changes made then (UTC) or later.", formats=_INSTANTS),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 100,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List who changed which campaign, key or customer and when, the latest first, as lines of JSON."""
    with opened(config, tenant) as (_, engine):
        named = customer_object(engine.runtime.secret, customer_id) if customer_id is not None else object_
        since_us = None if since is None else to_us(since.replace(tzinfo=UTC))
        for row in engine.changes(limit, object_=named, since_us=since_us):
            line = {"at": from_us(row.at_us), "by": row.actor, "action": row.action, "object": row.object}
            typer.echo(orjson.dumps(line | {"details": orjson.loads(row.details)}, option=orjson.OPT_UTC_Z).decode())


def _show(decision_id: str, checks: Sequence[Check]) -> None:
    for check in checks:
        typer.echo(f"{decision_id}: {check.name}: {'holds' if check.holds else 'DIFFERS'}: {check.detail}")


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
