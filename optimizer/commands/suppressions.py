"""The commands by which customers and addresses are suppressed, and may be reached again."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.clock import from_us
from optimizer.ids import DEFAULT_TENANT
from optimizer.opening import CONFIG, Config, Tenant, opened, operator
from optimizer.suppressing import Whom
from optimizer.suppression import EVERY, Cause
from optimizer.suppression_lists import read_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.suppression import Bar

suppressions = typer.Typer(help="Customers and addresses that must not be reached.", no_args_is_help=True)

Customer = Annotated[str | None, typer.Option("--customer", help="A customer, by id.", show_default=False)]
Address = Annotated[str | None, typer.Option("--address", help="An address, as one writes it.", show_default=False)]
Channel = Annotated[str | None, typer.Option("--channel", help="On this channel; by default, on every one.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(suppressions, name="suppressions")


@suppressions.command()
def add(  # noqa: PLR0913, PLR0917 - what a suppression is
    customer_id: Customer = None,
    address: Address = None,
    channel: Channel = None,
    cause: Annotated[Cause, typer.Option(help="Why.")] = Cause.REQUESTED,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Have a customer or an address not be reached any more; what is planned for the customer is cancelled."""
    whom = Whom(customer_id, address, channel or EVERY)
    with opened(config, tenant) as (_, engine):
        engine.suppress([(whom, cause)], by=operator())
        _show(engine.suppressions(whom))


@suppressions.command()
def remove(
    customer_id: Customer = None,
    address: Address = None,
    channel: Channel = None,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Let a customer (with every address that is stored) be reached again, who has agreed anew, or an address alone.

    A customer who unsubscribed or complained stays suppressed by id when only the address is removed.
    """
    whom = Whom(customer_id, address, channel or EVERY)
    with opened(config, tenant) as (_, engine):
        _show(engine.lift(whom, by=operator()))


@suppressions.command()
def check(
    customer_id: Customer = None,
    address: Address = None,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Say whether a customer or an address is suppressed; they cannot be listed, since only digests are kept."""
    whom = Whom(customer_id, address)
    with opened(config, tenant) as (_, engine):
        _show(engine.suppressions(whom))


@suppressions.command("load")
def load_list(
    file: Annotated[Path, typer.Argument(help="A .csv or .ndjson (.jsonl) file.", exists=True, dir_okay=False)],
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Suppress whom a file lists, by customer_id or address, each with a channel and a cause if need be.

    A row that is rejected is reported with its place and does not hold up the others; the exit code is 1 then.
    """
    taken = rejected = 0
    by = operator()
    with opened(config, tenant) as (_, engine):
        try:
            for chunk in read_list(file):
                engine.suppress(chunk.rows, by=by)
                for problem in chunk.problems:
                    typer.echo(str(problem), err=True)
                taken += len(chunk.rows)
                rejected += len(chunk.problems)
        finally:
            typer.echo(f"{taken:,} suppressed, {rejected:,} rejected")
    if rejected:
        raise typer.Exit(1)


def _show(found: Sequence[Bar]) -> None:
    for bar in found:
        where = f"on {bar.channel}" if bar.channel else "on every channel"
        typer.echo(f"the {bar.of} is suppressed {where}: {bar.row.cause}, {from_us(bar.row.at_us).isoformat()}")
    if not found:
        typer.echo("not suppressed")
