"""The commands that make, list and end the keys of callers."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from optimizer.ids import DEFAULT_TENANT
from optimizer.keys import Keys, Scope
from optimizer.opening import CONFIG, Config, Tenant, opened, operator, span

_WIDE = 200

keys = typer.Typer(help="The keys of those who may call the service.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(keys, name="keys")


@keys.command()
def create(  # noqa: PLR0913, PLR0917 - what a key is
    scope: Annotated[list[Scope], typer.Option(help="What it is good for; may be given several times.")],
    campaign: Annotated[
        list[str] | None, typer.Option(help="The only campaigns that it is good for.", show_default=False)
    ] = None,
    label: Annotated[str, typer.Option(help="Whose it is, for the list.")] = "",
    expires: Annotated[str | None, typer.Option(help="How long it is good: 90d; by default, until revoked.")] = None,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Make a key and print it: it is shown this once."""
    lifetime = None if expires is None else span("--expires", expires)
    with opened(config, tenant) as (_, engine):
        made = Keys(engine.runtime).create(
            scope, label=label, campaigns=campaign or None, lifetime=lifetime, by=operator()
        )
    typer.echo("Keep it now: it cannot be shown again.", err=True)
    typer.echo(made)


@keys.command("list")
def list_keys(config: Config = CONFIG, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Show every key that there ever was, without its secret."""
    table = Table(*(Column(name, overflow="fold") for name in ("key", "state", "scopes", "campaigns", "made", "ends")))
    table.add_column("label", overflow="fold")
    with opened(config, tenant) as (_, engine):
        reports = Keys(engine.runtime).reports()
    for report in reports:
        campaigns = "all" if report.campaigns is None else " ".join(report.campaigns)
        ends = "" if report.ends_at is None else f"{report.ends_at:%Y-%m-%d %H:%M}"
        made = f"{report.created_at:%Y-%m-%d %H:%M}"
        table.add_row(report.key_id, report.state, " ".join(report.scopes), campaigns, made, ends, report.label)
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="What stands in a key behind co_.", metavar="KEY")],
    after: Annotated[
        str | None, typer.Option(help="How long it is good for still: 24h; by default it ends at once.")
    ] = None,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """End a key within a second, or after some time, in which a new one takes its place."""
    left = None if after is None else span("--after", after)
    with opened(config, tenant) as (_, engine):
        report = Keys(engine.runtime).revoke(key_id, left, by=operator())
    typer.echo(f"{key_id}: {report.state}, ends {report.ends_at:%Y-%m-%d %H:%M:%S} UTC")
