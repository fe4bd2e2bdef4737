from __future__ import annotations

import zoneinfo
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from optimizer.doctor import Level, machine

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_recent_zone_data_is_found() -> None:
    found = machine.zones()
    assert found.level is Level.OK
    assert found.what.startswith(tuple(f"{n} zones" for n in range(400, 1000)))


@pytest.fixture
def zone_data(tmp_path: Path) -> Iterator[Path]:
    """A folder of zone data that is used instead of all other."""
    before = zoneinfo.TZPATH
    (tmp_path / "America").mkdir()
    zoneinfo.reset_tzpath([tmp_path])
    zoneinfo.ZoneInfo.clear_cache()
    yield tmp_path
    zoneinfo.reset_tzpath(before)
    zoneinfo.ZoneInfo.clear_cache()


def test_rules_that_are_too_old_are_a_warning(zone_data: Path) -> None:
    """La Paz has the offset that Asuncion had in winter, until its rule was changed."""
    old = files("tzdata.zoneinfo.America") / "La_Paz"
    (zone_data / "America" / "Asuncion").write_bytes(old.read_bytes())
    found = machine.zones()
    assert found.level is Level.WARNING
    assert str(zone_data) in found.what
    assert "pip install --upgrade tzdata" in found.advice


def test_without_a_system_s_zone_data_the_package_s_is_named(zone_data: Path) -> None:
    assert zone_data.exists()
    assert machine.zones().what.endswith(f"the package tzdata {version('tzdata')}")


def test_a_disk_with_room_is_fine_and_one_without_is_failing(tmp_path: Path) -> None:
    assert machine.disk("disk", tmp_path).level in {Level.OK, Level.WARNING}
    full = machine.disk("disk", tmp_path, failing_bytes=1 << 60)
    assert full.level is Level.FAILING
    assert full.advice.startswith("free space now")


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_above(tmp_path: Path) -> None:
    assert machine.disk("disk", tmp_path / "a" / "b").level in {Level.OK, Level.WARNING}
    assert machine.writable("outbox", tmp_path / "a" / "b").what.endswith("will be made")
    assert machine.writable("outbox", tmp_path).what.endswith("can be written")


def test_a_folder_that_cannot_be_written_is_failing() -> None:
    """Not even the superuser writes there."""
    found = machine.writable("outbox", Path("/proc/1"))
    assert found.level is Level.FAILING
    assert found.what == "/proc/1 cannot be written"


def test_a_file_in_the_place_of_a_folder_is_failing(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("")
    assert machine.writable("outbox", tmp_path / "outbox").level is Level.FAILING


@pytest.mark.parametrize(("mode", "level"), [(0o600, Level.OK), (0o400, Level.OK), (0o640, Level.FAILING)])
def test_the_secret_is_its_owner_s_alone(tmp_path: Path, mode: int, level: Level) -> None:
    path = tmp_path / "secret"
    path.write_text("x" * 40)
    path.chmod(mode)
    found = machine.secret_file(path)
    assert found.level is level
    assert found.advice == ("" if level is Level.OK else f"chmod 600 {path}")


def test_a_secret_that_is_not_there_yet_is_a_warning(tmp_path: Path) -> None:
    assert machine.secret_file(tmp_path / "secret").level is Level.WARNING
