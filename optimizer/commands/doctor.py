"""The command."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from optimizer.clock import SystemClock
from optimizer.config import load_settings
from optimizer.doctor.examination import examine
from optimizer.doctor.findings import Level
from optimizer.opening import CONFIG, Config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.doctor.findings import Finding

_COLOURS: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILING: "bold red"}


def register(app: typer.Typer) -> None:
    """Add `doctor` to the command line."""
    app.command()(doctor)


def doctor(
    config: Config = CONFIG,
    json: Annotated[bool, typer.Option("--json", help="JSON, an object for each thing looked at.")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """Look at everything that the service needs; say what is wrong and what to do. Exit code 1 if anything is failing.

    It changes nothing, and may be run beside the service or without it.
    """
    settings = load_settings(config)
    with Console(stderr=True).status("Looking"):
        found = list(examine(settings, SystemClock()))
    if json:
        typer.echo(orjson.dumps([asdict(finding) for finding in found], option=orjson.OPT_INDENT_2).decode())
    elif sys.stdout.isatty():
        Console().print(table(found))
    else:
        for finding in found:
            advice = f" -> {finding.advice}" if finding.advice else ""
            typer.echo(f"{finding.level}: {finding.check}: {finding.what}{advice}")
    if any(finding.level is Level.FAILING for finding in found):
        raise typer.Exit(1)


def table(found: Sequence[Finding]) -> Table:
    """The findings, for people."""
    rows = Table("", *(Column(name, overflow="fold") for name in ("what", "how it is", "what to do")))
    for finding in found:
        level = Text(finding.level, _COLOURS[finding.level])
        rows.add_row(level, Text(finding.check), Text(finding.what), Text(finding.advice))
    return rows
