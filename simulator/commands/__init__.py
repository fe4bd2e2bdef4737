"""The commands of the simulator, a module for each subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.commands import rehearsing, scoring

if TYPE_CHECKING:
    import typer


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    for command in (rehearsing.simulate, rehearsing.replay, rehearsing.demo, scoring.score):
        app.command()(command)
