"""The command that sends a message to a campaign's test list."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.dispatch.trials import Came
from optimizer.ids import DEFAULT_TENANT
from optimizer.opening import CONFIG, Config, Tenant, opened, operator


def register(app: typer.Typer) -> None:
    """Add `test-send` to the command line."""
    app.command("test-send")(send_tests)


def send_tests(  # noqa: PLR0913, PLR0917 -- what can be asked for
    campaign_id: Annotated[str, typer.Argument(help="The campaign's id.", metavar="CAMPAIGN")],
    message: Annotated[str, typer.Option(help="The message's id.")],
    channel: Annotated[str, typer.Option(help="The channel's id; one on which the service sends.")],
    customer_ids: Annotated[
        list[str] | None,
        typer.Option("--customer", help="Only to this customer of the test list; may be repeated.", show_default=False),
    ] = None,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Send a message to the campaign's test_list at once, marked as a test; it counts for nothing.

    The exit code is 1 unless it was sent to each of them.
    """
    with opened(config, tenant) as (_, engine):
        trials = engine.send_tests(campaign_id, message, channel, customer_ids or None, by=operator())
    for trial in trials:
        typer.echo(f"{trial.customer_id}: {trial.came}{f': {trial.detail}' if trial.detail else ''}")
    if any(trial.came is not Came.SENT for trial in trials):
        raise typer.Exit(1)
