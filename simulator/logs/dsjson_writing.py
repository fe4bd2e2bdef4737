"""A campaign's decisions as Vowpal Wabbit dsjson."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from optimizer.engine import Engine
    from simulator.logs.counts import ExportCounts


def write_dsjson(engine: Engine, campaign_id: str, path: Path) -> ExportCounts:
    """Write every decision of a campaign, in learning order, with the features as learned."""
    raise NotImplementedError
