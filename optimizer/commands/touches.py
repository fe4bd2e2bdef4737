"""The commands for touches: what became of a campaign's decisions, the dead letters, and what people do with them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.table import Column, Table

from optimizer.clock import from_us
from optimizer.dispatch.handling import Wanted
from optimizer.ids import DEFAULT_TENANT
from optimizer.opening import CONFIG, Config, Tenant, opened, operator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optimizer.reconciliation import Reconciliation

_WIDE: Final = 200
_FORMATS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]

DecisionId = Annotated[str, typer.Argument(help="The id of the touch's decision.", metavar="DECISION")]

touches = typer.Typer(
    help="The touches of a service; those that have failed are its dead letters.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(touches, name="touches")
    app.command()(reconcile)


@touches.command("list")
def list_touches(  # noqa: PLR0913, PLR0917 - what can be asked for
    campaign_id: Annotated[
        str | None, typer.Option("--campaign", help="Only touches of this campaign.", show_default=False)
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(help="Only those in this state, such as failed, unknown or planned.", show_default=False),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only those with this reason.", show_default=False)] = None,
    channel: Annotated[str | None, typer.Option(help="Only those on this channel.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 100,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """List touches, the latest decision first, with the last attempt to send each."""
    names = "decision", "campaign", "channel", "state", "reason", "due", "expires", "tries", "last attempt"
    table = Table(*(Column(name, overflow="fold") for name in names))
    with opened(config, tenant) as (_, engine):
        found = engine.touches(Wanted(campaign_id, state, reason, channel), limit)
    for touch, attempt in ((report.touch, report.attempt) for report in found):
        times = (f"{from_us(at_us):%Y-%m-%d %H:%M:%S}" for at_us in (touch.due_us, touch.expires_us))
        heard = f"{attempt.outcome} {attempt.detail or ''}".strip() if attempt else ""
        whose = (touch.decision_id, touch.campaign_id, touch.channel or "", touch.state, touch.reason or "")
        table.add_row(*whose, *times, str(touch.attempts), heard)
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


@touches.command()
def retry(
    decision_id: DecisionId,
    *,
    even_if_sent: Annotated[
        bool, typer.Option("--even-if-sent", help="Also one that is unknown: it may reach its customer twice.")
    ] = False,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Have a failed touch sent after all, while its window is open; its rules are asked once more before."""
    with opened(config, tenant) as (_, engine):
        touch = engine.retry_touch(decision_id, even_if_sent=even_if_sent, by=operator())
    typer.echo(f"{decision_id}: {touch.state}, until {from_us(touch.expires_us):%Y-%m-%d %H:%M:%S} UTC")


@touches.command()
def cancel(decision_id: DecisionId, config: Config = CONFIG, tenant: Tenant = DEFAULT_TENANT) -> None:
    """Take a touch back that is not sent yet."""
    with opened(config, tenant) as (_, engine):
        touch = engine.cancel_touch(decision_id, by=operator())
    typer.echo(f"{decision_id}: {touch.state}")


def reconcile(  # noqa: PLR0913, PLR0917 - of what
    campaign_id: Annotated[str, typer.Argument(help="The campaign's id.", metavar="CAMPAIGN")],
    since: Annotated[
        datetime | None, typer.Option("--from", help="Only decisions made then (UTC) or later.", formats=_FORMATS)
    ] = None,
    until: Annotated[datetime | None, typer.Option(help="Only decisions made before (UTC).", formats=_FORMATS)] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON, one object.")] = False,  # noqa: FBT002 - an option of the command line
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show what became of every decision of a campaign; the numbers add up to the decisions. Exit code 1 if not."""
    span = [None if at is None else at.replace(tzinfo=UTC) for at in (since, until)]
    with opened(config, tenant) as (_, engine):
        found = engine.reconcile(campaign_id, *span)
    if json:
        typer.echo(orjson.dumps(asdict(found)).decode())
    else:
        for name, n in _lines(found):
            typer.echo(f"{name:40} {n:>12,}")
    if found.accounted != found.decided:
        raise typer.Exit(1)


def _lines(found: Reconciliation) -> Iterator[tuple[str, int]]:
    for name, value in asdict(found).items():
        if isinstance(value, dict):
            yield name.replace("_", " "), sum(value.values())
            yield from ((f"  {reason}", n) for reason, n in value.items())
        else:
            yield name, value
