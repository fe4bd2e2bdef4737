from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from optimizer.store import Store
from optimizer.store.campaigns import load_version
from optimizer.store.rows import CampaignVersionRow
from tests import databases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["memory", "file", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An open store with one campaign: SQLite in memory and in a file, and PostgreSQL."""
    with databases.on("postgresql" if request.param == "postgresql" else "sqlite"):
        url = databases.fresh_url(tmp_path / "new folder" if request.param == "file" else None)
        with Store(url) as opened:
            version = CampaignVersionRow("default", "camp", "v1", "{}", "key", 0)
            opened.write(lambda connection: load_version(connection, version, "change-0"))
            yield opened
