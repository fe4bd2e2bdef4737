"""The settings of a service on a new database, for the commands that are typed on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.optimizer.example import ATTRIBUTES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "service.yaml"
    path.write_text(
        f"version: 1\ndatabase: sqlite:///{tmp_path}/it.db\nattributes_file: {ATTRIBUTES}\noutbox: {tmp_path}/outbox\n"
        f"secret_file: {tmp_path}/secret\n"
    )
    return path
