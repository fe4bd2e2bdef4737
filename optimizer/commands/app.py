"""The command `optimizer`: its own commands, and those that other packages add by entry points."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from typer.core import TyperGroup

from optimizer.campaign import CampaignFile
from optimizer.commands import doctor, keys, operations, preview, suppressions, test_sends, touches, upkeep
from optimizer.config import check_files
from optimizer.errors import OptimizerError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "optimizer.commands"
"""The group of entry points under which a package names its function `register(app)`, which adds commands."""


class _Commands(TyperGroup):
    """Commands whose expected errors are a message on stderr and exit code 1."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 -- the type of a context is private to typer
        try:
            return super().invoke(ctx)
        except OptimizerError as error:
            typer.echo(error.message, err=True)
            raise typer.Exit(1) from error


def build_app(packages: Iterable[EntryPoint]) -> typer.Typer:
    """The command line with the commands of these packages; one that cannot be loaded is an error."""
    app = typer.Typer(
        name="optimizer",
        cls=_Commands,
        help="Pick message, channel and time for each customer, and learn from what happens.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.command()(validate)
    app.command()(schema)
    operations.register(app)
    upkeep.register(app)
    keys.register(app)
    suppressions.register(app)
    touches.register(app)
    preview.register(app)
    test_sends.register(app)
    doctor.register(app)
    for package in packages:
        package.load()(app)
    return app


def main() -> None:
    """Run the command line with the commands of every installed package."""
    build_app(sorted(entry_points(group=ENTRY_POINTS), key=lambda package: package.name))()


def validate(
    files: Annotated[
        list[Path], typer.Argument(help="Files of campaigns, declared attributes, or settings of the service.")
    ],
    attributes: Annotated[
        Path | None,
        typer.Option(help="The declared attributes; by default, the attributes.yaml beside each campaign."),
    ] = None,
) -> None:
    """Check configuration files without a server; exit code 1 if anything is wrong in them."""
    problems = check_files(files, attributes)
    for problem in problems:
        typer.echo(str(problem))
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{len(files)} file{'s' if len(files) > 1 else ''} checked: no problems found")


def schema() -> None:
    """Print the JSON Schema of campaign files, from which editors complete and explain fields."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **CampaignFile.model_json_schema()}
    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
