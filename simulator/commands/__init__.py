"""The commands of the simulator, a module for each subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.commands import ablation, evaluating, exporting, rehearsing, scoring, what_if

if TYPE_CHECKING:
    import typer


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    rehearsed = (rehearsing.simulate, rehearsing.replay, rehearsing.demo)
    judged = (evaluating.evaluate, what_if.whatif, ablation.ablation)
    for command in (*rehearsed, exporting.export, *judged, scoring.score):
        app.command()(command)
