"""The commands `rebuild` and `retention`; what they do is tested beside their modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.optimizer.commands.typing_in import run
from tests.optimizer.example import messages_only

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.fixture
def settings(settings: Path, tmp_path: Path) -> Path:
    """With a campaign that has decided for its only customer."""
    campaign = tmp_path / "c.yaml"
    campaign.write_text(messages_only().replace(", ends_at: 2026-01-07T00:00:00Z", ""))
    customers = tmp_path / "customers.ndjson"
    customers.write_text('{"customer_id": "a", "attributes": {"plan": "gold"}}\n')
    for arguments in (("campaign", "load", campaign), ("customers", "load", customers), ("run", "c")):
        assert run(settings, *arguments).exit_code == 0
    return settings


def test_a_rebuild_tells_what_it_found_of_each_tenant_and_campaign(settings: Path) -> None:
    result = run(settings, "rebuild")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()[-2:]
    assert first.startswith("default: 1 subjects with 1 decisions; of ")
    assert second == "default: c: 0 decisions learned again, no model was there before"


def test_retention_tells_that_nothing_is_old_enough(settings: Path) -> None:
    for more in ((), ("--dry-run",)):
        result = run(settings, "retention", "--keep", "400d", *more)
        assert (result.exit_code, result.stdout) == (0, "no month is older than 400d\n")


@pytest.mark.parametrize("keep", ["soon", "1h", "0d"])
def test_a_span_that_cannot_be_meant_is_refused(settings: Path, keep: str) -> None:
    result = run(settings, "retention", "--keep", keep)
    assert result.exit_code == 1
    assert result.stderr.startswith("--keep: ")
