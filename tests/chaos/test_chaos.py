"""Every fault in its short form, one after the other under one load. The long forms: `make chaos`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests import databases
from tests.chaos.clock_back import set_back
from tests.chaos.cuts import cut
from tests.chaos.disk import disk
from tests.chaos.dispatch import survive
from tests.chaos.full_disk import fill
from tests.chaos.kills import kill
from tests.chaos.outage import stop
from tests.chaos.postgres import postgres
from tests.chaos.scripts import show
from tests.chaos.service import cluster


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Whether a small disk can be mounted here."""
    try:
        with disk(tmp_path_factory.mktemp("disk") / "tried", 1):
            return True
    except PermissionError:
        return False


def test_nothing_acknowledged_is_lost_on_sqlite(tmp_path: Path, *, small: bool) -> None:
    faults = {"killed": partial(kill, seconds=1), "clock set back": partial(set_back, seconds=2)}
    if small:
        faults["disk full"] = partial(fill, seconds=2)
    with cluster(tmp_path, None, small=small) as service:
        counted = service.live_through(faults)
    show(counted)
    assert not small or counted["disk full"]["answered 503"]


def test_nothing_acknowledged_is_lost_on_postgresql(*, small: bool) -> None:
    faults = {
        "killed": partial(kill, seconds=2),
        "connections cut": partial(cut, seconds=2),
        "clock set back": partial(set_back, seconds=2),
        "server stopped": partial(stop, seconds=3),
    }
    if small:
        faults["disk full"] = partial(fill, seconds=2)
    with postgres(durable=False) as server, TemporaryDirectory(prefix="optimizer-chaos-") as folder:
        Path(folder).chmod(0o755)  # the server's user has to come to the disk
        with cluster(Path(folder), server, small=small) as service:
            counted = service.live_through(faults)
    show(counted)
    assert counted["server stopped"]["answered 503"]
    assert not small or counted["disk full"]["answered 503"]


@pytest.mark.parametrize("kind", databases.KINDS)
def test_touches_go_out_once_and_as_they_may(kind: str) -> None:
    counted = survive(kind, seconds=12, kills=8, durable=False)
    show({f"dispatch, {kind}": counted})
    assert counted["provider: touches taken"]


def test_full_disks_are_tried_where_one_can_be_mounted(*, small: bool) -> None:
    if not small:
        pytest.skip("this user may not mount a small disk: a full disk was not tried")
