"""The examination of real services, each with one thing wrong."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine

from optimizer.clock import SystemClock, VirtualClock
from optimizer.doctor import Finding, Level, examine
from optimizer.keys import Keys, Scope
from optimizer.settings import Settings
from optimizer.store import partitions
from tests import databases
from tests.optimizer.engine_example import START, Rig, campaign, only

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optimizer.clock import Clock

pytestmark = pytest.mark.databases


class Patient(Rig):
    """A service that works, and whose settings are those that are examined."""

    def __init__(self, folder: Path) -> None:
        super().__init__(campaign(), url=databases.fresh_url(folder))
        secret = folder / "secret"
        secret.write_text("x" * 40)
        secret.chmod(0o600)
        self.settings = Settings(
            version=1, database=self.store.url, outbox=folder / "outbox", secret_file=secret, host="127.0.0.1"
        )
        self.store.write(lambda c: partitions.make_ahead(c, self.now_us))
        self.jobs()

    def examined(self, *, beating: bool = True, clock: Clock | None = None) -> dict[str, Finding]:
        """Every finding by what was looked at; while the worker beats, or does not."""
        found = examine(self.settings, clock or self.clock, lambda _s: self.beat() if beating else None)
        return {finding.check: finding for finding in found}

    def beat(self) -> None:
        self.execute("update leases set beat = beat + 1 where name = 'worker/rig'")

    @property
    def on_postgresql(self) -> bool:
        return databases.kind() == "postgresql"

    def wrong(self, *, beating: bool = True, clock: Clock | None = None) -> dict[str, Level]:
        """What is not as it should be."""
        found = self.examined(beating=beating, clock=clock)
        if self.on_postgresql:
            # The server of the tests keeps nothing over a power cut, and is not of the time of the tests.
            assert found.pop("durability").level is found.pop("clock").level is Level.FAILING
        return {check: finding.level for check, finding in found.items() if finding.level is not Level.OK}


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    with Patient(tmp_path) as made:
        yield made


def test_nothing_is_wrong_with_a_service_that_works(patient: Patient) -> None:
    for i in range(3):
        patient.ask(f"c{i:03}")
    patient.settle()
    assert patient.wrong() == {}
    found = patient.examined()
    assert list(found)[:4] == ["time zones", "outbox", "outbox disk", "secret"]
    assert found["leases"].what == "1 campaign held by 1 worker"
    assert found["model of camp"].what.startswith("3 decisions learned, ")
    assert found["sending"].what == found["closing of camp"].what == found["learning of camp"].what == "nothing waits"
    assert not any(finding.advice for finding in found.values() if finding.level is Level.OK)


def test_a_database_that_is_not_there_yet_or_does_not_answer_ends_the_examination(
    patient: Patient, tmp_path: Path
) -> None:
    gone = databases.empty_url(tmp_path)
    if patient.on_postgresql:
        gone = gone.replace("optimizer_template", "nowhere")
    patient.settings = patient.settings.model_copy(update={"database": gone})
    *_, last = patient.examined().values()
    assert last.check == "database"
    assert last.level is (Level.FAILING if patient.on_postgresql else Level.WARNING)
    assert last.advice


def test_a_database_without_the_newest_tables_is_failing_and_is_not_migrated(patient: Patient, tmp_path: Path) -> None:
    url = databases.empty_url(tmp_path)
    engine = create_engine(url)
    with closing(engine.connect()) as connection:
        connection.exec_driver_sql("select 1")
    if not patient.on_postgresql:
        with engine.begin() as connection:
            connection.exec_driver_sql("create table something (a integer)")
    patient.settings = patient.settings.model_copy(update={"database": url})
    for _ in range(2):
        found = patient.examined()
        assert list(found)[-1] == "migrations"
        assert found["migrations"].level is Level.FAILING
        assert "no tables yet" in found["migrations"].what
    engine.dispose()


def test_tables_of_a_newer_version_are_failing(patient: Patient) -> None:
    patient.execute("update alembic_version set version_num = '9999'")
    found = patient.examined()["migrations"]
    assert (found.level, found.what) == (Level.FAILING, "the tables are at 9999, which this program does not know")


def test_a_clock_behind_the_log_is_failing(patient: Patient) -> None:
    patient.pass_by(hours=1)
    patient.ask()
    behind = VirtualClock(START + timedelta(minutes=59))
    found = patient.examined(clock=behind)["clock"]
    assert found.level is Level.FAILING
    if not patient.on_postgresql:
        assert "2026-01-12 16:00:00 UTC, 60.0 s from now" in found.what
        assert patient.examined()["clock"].level is Level.OK


def test_the_clock_of_this_machine_agrees_with_the_database_s(patient: Patient) -> None:
    assert patient.examined(clock=SystemClock())["clock"].level is Level.OK
    ahead = VirtualClock(SystemClock().now() + timedelta(minutes=2))
    found = patient.examined(clock=ahead)["clock"]
    assert found.level is (Level.FAILING if patient.on_postgresql else Level.OK)


def test_a_worker_that_beats_no_more_is_failing(patient: Patient) -> None:
    assert patient.wrong(beating=False) == {"leases": Level.FAILING}


def test_without_any_worker_it_is_said_what_does_not_happen(patient: Patient) -> None:
    patient.engine.leases.release()
    found = patient.examined()["leases"]
    assert (found.level, found.what) == (Level.WARNING, "no worker is running")
    assert "nothing is sent, closed or learned" in found.advice


def test_a_dead_worker_beside_one_that_lives_is_a_warning(patient: Patient) -> None:
    patient.execute("insert into leases values ('default', 'worker/dead', '', 1, 7)")
    found = patient.examined()["leases"]
    assert (found.level, found.what) == (Level.WARNING, "no beat of dead")


def test_what_waits_is_a_warning_and_after_an_hour_failing(patient: Patient) -> None:
    patient.engine.load_campaign(only("email", "mails"))
    patient.engine.leases.beat()
    row = patient.row(patient.ask(of="mails").decision_id)
    patient.pass_by(minutes=10)
    assert patient.wrong()["sending"] is Level.WARNING
    patient.pass_by(minutes=60)
    assert patient.wrong()["sending"] is Level.FAILING
    patient.engine.outbox.dispatch_due()
    patient.clock.advance_to(START + timedelta(microseconds=row.mature_us - row.decided_us, minutes=20))
    assert patient.wrong()["closing of mails"] is Level.WARNING
    patient.engine.leases.each(["mails"], lambda _: 0)
    patient.engine.closing.close_due()
    patient.pass_by(hours=2)
    assert patient.wrong()["learning of mails"] is Level.FAILING


def test_many_events_of_unknown_decisions_are_a_warning(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.doctor.service.MANY_PARKED", 1)
    patient.tell("e1", "clicked", decision_id="none")
    assert patient.wrong() == {}
    patient.tell("e2", "clicked", decision_id="none")
    assert patient.wrong() == {"parked events": Level.WARNING}


@pytest.mark.parametrize("column", ["body", "resume"])
def test_a_model_that_is_not_the_published_one_is_failing(patient: Patient, column: str) -> None:
    patient.ask()
    patient.settle()
    patient.store.write(lambda c: databases.execute(c, f"update snapshots set {column} = ?", b"another"))  # noqa: S608
    found = patient.examined()["model of camp"]
    assert found.level is Level.FAILING
    assert "has the digest" in found.what


def test_keys_that_end_soon_are_a_warning_and_none_that_is_good_is_failing(patient: Patient) -> None:
    keys = Keys(patient.engine.runtime)
    keys.create([Scope.READ], lifetime=timedelta(days=20))
    assert patient.examined()["keys"].what == "1 active"
    patient.pass_by(days=10)
    found = patient.examined()["keys"]
    assert found.level is Level.WARNING
    assert "in 10.0 days" in found.what
    patient.pass_by(days=11)
    assert patient.examined()["keys"].level is Level.FAILING


def test_without_keys_only_a_loopback_address_is_fine(patient: Patient) -> None:
    assert patient.examined()["keys"].level is Level.OK
    patient.settings = patient.settings.model_copy(update={"host": "0.0.0.0"})  # noqa: S104 - that it is refused
    assert patient.examined()["keys"].level is Level.FAILING


def test_a_journal_that_is_not_safe_and_a_damaged_file_are_failing(patient: Patient) -> None:
    if patient.on_postgresql:
        found = patient.examined()["durability"]
        assert found.what.startswith("fsync and full_page_writes and synchronous_commit off")
        assert "ALTER SYSTEM SET fsync = on" in found.advice
        return
    patient.store.close()
    path = patient.store.url.removeprefix("sqlite:///")
    engine = create_engine(patient.store.url)
    with engine.connect() as connection:
        connection.exec_driver_sql("pragma journal_mode = delete")
    engine.dispose()
    assert patient.examined(beating=False)["durability"].what == "the journal is kept as 'delete' and not as 'wal'"
    with engine.connect() as connection:
        connection.exec_driver_sql("pragma journal_mode = wal")
    engine.dispose()
    with open(path, "r+b") as file:  # noqa: PTH123 - to change it in the middle
        file.seek(8 * 4096)
        file.write(b"\xff" * 4096 * 20)
    *_, found = patient.examined(beating=False).values()
    assert found.level is Level.FAILING
    assert "malformed" in found.what
    assert "estore the last backup" in found.advice


def test_months_that_are_not_made_and_rows_beside_them_are_warnings(patient: Patient) -> None:
    if not patient.on_postgresql:
        assert "partitions" not in patient.examined()
        return
    assert patient.examined()["partitions"].what == "made up to 2026-02"
    patient.execute("drop table events_2026_02")
    assert patient.examined()["partitions"].what == "not made yet: events_2026_02"
    decision_id = patient.ask().decision_id
    patient.execute(f"update decisions set decision_id = 'none' where decision_id = '{decision_id}'")  # noqa: S608
    found = patient.examined()["partitions"]
    assert (found.level, found.what) == (Level.WARNING, "there are rows in decisions_default")


def test_each_tenant_is_examined(patient: Patient) -> None:
    patient.engine.of_tenant("other").load_campaign(campaign())
    found = patient.examined()
    assert found["default: leases"].level is Level.OK
    assert found["other: leases"].level is Level.WARNING
    assert {"default: sending", "other: sending", "other: model of camp"} <= found.keys()
