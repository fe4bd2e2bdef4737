"""Commands as they are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.testing import CliRunner, Result

from optimizer.commands import build_app

if TYPE_CHECKING:
    from pathlib import Path


def run(settings: Path, *arguments: str | Path) -> Result:
    """Type a command with the settings of a service."""
    return CliRunner().invoke(build_app([]), [*map(str, arguments), "--config", str(settings)])
