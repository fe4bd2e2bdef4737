"""The commands that keep the database in order: `rebuild` and `retention`."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from optimizer.errors import InvalidInput
from optimizer.opening import CONFIG, Config, opened, operator, span
from optimizer.tenants import Tenants
from optimizer.upkeep.rebuild import Rebuild
from optimizer.upkeep.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optimizer.trainer import Relearned
    from optimizer.upkeep.rebuild import Rebuilt


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(rebuild)
    app.command()(retention)


def rebuild(
    *,
    restored: Annotated[
        bool,
        typer.Option(
            "--restored", help="The database is a backup's: touches due by now may have been sent, and become unknown."
        ),
    ] = False,
    config: Config = CONFIG,
) -> None:
    """Make touches, ledgers, rewards and models again from the logs, for every tenant. Nothing is sent.

    Stop the workers first. The exit code is 1 where a model is not what the log comes to; it is replaced by what is.
    """
    same = True
    with opened(config) as (_, engine), _telling() as tell:
        tenants = Tenants(engine)
        try:
            for each in tenants.engines():
                done = Rebuild(each, tell=tell, restored=restored).run()
                _show(each.runtime.tenant, done)
                same = same and all(model.same is not False for model in done.models)
        finally:
            tenants.release()
    if not same:
        raise typer.Exit(1)


def _show(tenant: str, done: Rebuilt) -> None:
    page = done.projected
    typer.echo(
        f"{tenant}: {page.subjects:,} subjects with {page.decisions:,} decisions; of {page.touches:,} touches "
        f"{page.touches_changed:,} differed and {page.unknown:,} are unknown now; {page.ledgers_changed:,} ledgers "
        f"and {page.claims_changed:,} claims of exclusion groups differed; {done.events:,} events, {done.parked:,} of "
        f"them waiting; {done.strays:,} stray rows removed; {done.rewards:,} decisions closed again"
    )
    for model in done.models:
        typer.echo(f"{tenant}: {model.campaign_id}: {model.learned:,} decisions learned again, {_compared(model)}")


def _compared(model: Relearned) -> str:
    if model.same is None:
        return "no model was there before"
    return "the same weights" if model.same else "DIFFERENT weights: the new ones are published"


def retention(
    *,
    keep: Annotated[str, typer.Option(help="How much of the logs stays, such as 400d; whole months go.")],
    export: Annotated[
        Path | None, typer.Option(help="Write what goes into this folder first, as Parquet.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would go, and what stays and why.")
    ] = False,
    config: Config = CONFIG,
) -> None:
    """Take old months of decisions and events out of the database, of every tenant, with all that belongs to them.

    A month goes only when everything of it is closed and learned. A service may run meanwhile.
    """
    kept = span("--keep", keep)
    if kept < timedelta(days=1):
        raise InvalidInput(f"--keep: expected 1d at least, got {keep}")
    with opened(config) as (_, engine), _telling() as tell:
        retaining = Retention(Tenants(engine), kept, tell=tell)
        findings = retaining.look() if dry_run else retaining.run(export, by=operator())
    for found in findings:
        counts = f"{found.decisions:,} decisions and {found.events:,} events"
        if found.kept is not None:
            typer.echo(f"{found.month}: kept, {counts}: {found.kept}")
        else:
            typer.echo(f"{found.month}: {'would go' if dry_run else 'dropped'}, {counts}")
    if not findings:
        typer.echo(f"no month is older than {keep}")


@contextmanager
def _telling() -> Iterator[Callable[[str, int], None]]:
    """Shows on a terminal what is being done."""
    with Console(stderr=True).status("") as status:

        def tell(what: str, done: int) -> None:
            status.update(f"{what}: {done:,}" if done else what)

        yield tell
