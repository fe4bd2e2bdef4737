"""A service over a real engine on either database, with a clock that is moved by hand, and the win-back campaign."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from optimizer.clock import VirtualClock
from optimizer.config import load_attributes, load_campaign
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import FileSender
from optimizer.engine import Engine
from optimizer.ids import IdSource
from optimizer.store import Store
from tests import databases

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(datetime(2026, 1, 12, 15, 0, tzinfo=UTC))


@pytest.fixture(params=databases.KINDS)
def engine(request: pytest.FixtureRequest, clock: VirtualClock, tmp_path: Path) -> Iterator[Engine]:
    attributes = load_attributes(CONFIGS / "attributes.yaml")
    with databases.on(request.param), Store(databases.fresh_url()) as store:
        made = Engine(store, attributes, Routes.to(FileSender(tmp_path / "outbox")), clock=clock, ids=IdSource())
        made.load_campaign(load_campaign(CONFIGS / "winback.yaml", attributes))
        yield made


@pytest.fixture
def client(engine: Engine) -> Iterator[TestClient]:
    with TestClient(create_app(engine), "http://localhost", raise_server_exceptions=False) as made:
        yield made
