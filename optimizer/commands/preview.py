"""The command that shows what a campaign would send to a customer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.dispatch.channels import templates_of
from optimizer.dispatch.outgoing import outgoing
from optimizer.dispatch.templates import NotRendered
from optimizer.errors import InvalidInput
from optimizer.ids import DEFAULT_TENANT
from optimizer.opening import CONFIG, Config, Tenant, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optimizer.dispatch.templates import Rendered, Templates
    from optimizer.settings import Settings
    from optimizer.store.rows import CustomerRow
    from optimizer.versions import Version


def register(app: typer.Typer) -> None:
    """Add `preview` to the command line."""
    app.command()(preview)


def preview(  # noqa: PLR0913, PLR0917 -- what can be asked for
    campaign_id: Annotated[str, typer.Argument(help="The campaign's id.", metavar="CAMPAIGN")],
    customer_id: Annotated[str, typer.Option("--customer", help="The customer for whom templates are filled.")],
    message: Annotated[str | None, typer.Option(help="Only this message.", show_default=False)] = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel.", show_default=False)] = None,
    config: Config = CONFIG,
    tenant: Tenant = DEFAULT_TENANT,
) -> None:
    """Show what a campaign would send to a customer, every creative of it; nothing is sent or kept.

    The exit code is 1 if a template or a variable is missing.
    """
    with opened(config, tenant) as (settings, engine):
        person = engine.customer(customer_id)
        version = engine.runtime.store.read(lambda connection: engine.versions.current(connection, campaign_id))
        templates = templates_of(settings, engine.runtime.secret)
    chosen = list(_chosen(version, message, channel))
    if not chosen:
        raise InvalidInput(f"campaign {campaign_id} has no such creative; leave --message or --channel out")
    missing = [not _shown(settings, templates, version, person, *each) for each in chosen]
    if any(missing):
        raise typer.Exit(1)


def _chosen(version: Version, message: str | None, channel: str | None) -> Iterator[tuple[str, str]]:
    """The creatives that are asked for, by message and channel; where no channel is named, those that we send."""
    ours = {each.id for each in version.catalog.channels if each.dispatch == "service"}
    for each in version.catalog.messages:
        for place in each.creatives:
            if message in {None, each.id} and (place == channel if channel else place in ours):
                yield each.id, place


def _shown(  # noqa: PLR0913, PLR0917 -- what is shown, and to whom
    settings: Settings, templates: Templates, version: Version, person: CustomerRow, message: str, channel: str
) -> bool:
    """Print one creative; whether nothing is missing of it."""
    touch = outgoing(version, person, message=message, channel=channel, decision_id="preview", send_us=0)
    typer.secho(f"{message} on {channel}: {touch.template} version {touch.version}", bold=True)
    kind = settings.channels.get(channel)
    fills = kind is not None and kind.renders
    if not fills and not templates.has(touch.template, touch.version):
        typer.echo("  its sender hands this reference on and fills no template\n")
        return True
    try:
        rendered = templates.render(touch, subject=kind is not None and kind.titled)
    except NotRendered as error:
        typer.secho(f"  cannot be sent: {error.why}\n", fg="red")
        return False
    if touch.address is None:
        typer.echo("  the customer has no address for this channel")
    for line in _lines(rendered):
        typer.echo(f"  {line}".rstrip())
    typer.echo()
    return True


def _lines(rendered: Rendered) -> Iterator[str]:
    if rendered.subject is not None:
        yield f"Subject: {rendered.subject}"
        yield ""
    yield from rendered.body.rstrip().splitlines()
    if rendered.html is not None:
        yield ""
        yield from rendered.html.rstrip().splitlines()
