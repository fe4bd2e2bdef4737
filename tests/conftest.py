"""Settings for every test: how long hypothesis searches, and that a slow machine fails no test."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests import databases

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests that are marked so on both databases."""
    if metafunc.definition.get_closest_marker("databases"):
        metafunc.parametrize("database", databases.KINDS, indirect=True)


@pytest.fixture(autouse=True, scope="session")
def tables_at_once() -> Iterator[None]:
    """No migration is run one by one for each of the many databases in memory: `test_migrations` does that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("optimizer.store.store.migrate", databases.migrate_at_once)
        yield


@pytest.fixture(autouse=True)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of database of this test, `sqlite` or `postgresql`; `databases.fresh_url` makes one."""
    with databases.on(getattr(request, "param", databases.KINDS[0])) as kind:
        yield kind


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """The commands set up the log of their process; afterwards it is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()
