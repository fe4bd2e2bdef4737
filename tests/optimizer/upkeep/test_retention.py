"""Old months go whole, only when they are at their end, and what is kept is what it would have been without it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from optimizer import history
from optimizer.errors import Conflict, Unavailable
from optimizer.recording import Status
from optimizer.store import partitions, retention
from optimizer.store.partitions import Month
from optimizer.store.tables import metadata
from optimizer.tenants import Tenants
from optimizer.upkeep import archive
from optimizer.upkeep.retention import Retention
from tests import databases
from tests.optimizer.engine_example import Rig, campaign, only
from tests.optimizer.upkeep.test_rebuild import Killed, projections, rebuild, wreck

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from optimizer.campaign import CampaignFile
    from optimizer.upkeep.retention import Finding

pytestmark = pytest.mark.databases

JANUARY, FEBRUARY, MARCH = Month(2026, 1), Month(2026, 2), Month(2026, 3)
KEEP = timedelta(days=30)
OF_DECISIONS = (
    "decisions",
    "touches",
    "touch_transitions",
    "touch_attempts",
    "rewards",
    "voids",
    "request_keys",
    "occasion_keys",
)
CUSTOMERS = 5


def three_months(rig: Rig) -> None:
    """Decisions and events from January to April; those of April are still open at the end."""
    ids = rig.customers(CUSTOMERS, plan="gold")
    for n in range(11):
        for each in ids:
            made = rig.ask(each)
            if made.arm is not None and made.arm.channel == "push":
                rig.tell(f"{each}-{n}-shown", "shown", decision_id=made.decision_id)
            if made.arm is not None and made.arm.message == "hello":
                rig.tell(f"{each}-{n}-clicked", "clicked", customer_id=each)
                rig.tell(f"{each}-{n}-opened", "opened", campaign_id="camp", request_id=made.request_id)
        rig.engine.void([rig.ask(ids[0]).decision_id], "test_send")
        rig.engine.run("camp", f"o{n}")
        rig.jobs()
        for _ in range(2):
            rig.pass_by(days=4)
            rig.jobs()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(campaign(groups={"holdout": 0.1, "random_control": 0.2})) as made:
        three_months(made)
        yield made


def retaining(rig: Rig, keep: timedelta = KEEP, dies_after: int | None = None) -> Retention:
    told = 0

    def tell(_what: str, _done: int) -> None:
        nonlocal told
        told += 1
        if told == dies_after:
            raise Killed

    return Retention(Tenants(rig.engine), keep, tell=tell, wait=lambda _: None)


def months_of(rig: Rig, *names: str) -> dict[str, set[Month | None]]:
    """The months in which the decisions were made that rows of these tables belong to."""
    found: dict[str, set[Month | None]] = {}
    for name, rows in rig.dump(*names).items():
        place = metadata.tables[name].columns.keys().index("record_id" if name == "events" else "decision_id")
        found[name] = {partitions.month_of(row[place]) for row in rows}
    return found


def dropped(findings: list[Finding]) -> list[Month]:
    return [found.month for found in findings if found.kept is None]


def test_whole_months_that_are_old_enough_go_with_all_that_belongs_to_their_decisions(rig: Rig) -> None:
    assert rig.clock.now() > datetime(2026, 4, 5, tzinfo=UTC)
    seen = retaining(rig).look()
    assert dropped(seen) == [JANUARY, FEBRUARY]
    assert sum(found.decisions for found in seen) == sum(
        partitions.month_of(row.decision_id) in {JANUARY, FEBRUARY} for row in rig.log()
    )
    assert months_of(rig, "decisions")["decisions"] >= {JANUARY, FEBRUARY, MARCH}, "looking changes nothing"
    assert retaining(rig).run(by="cli:ops") == seen
    for name, months in months_of(rig, *OF_DECISIONS, "events").items():
        assert months, name
        assert not months & {JANUARY, FEBRUARY}, name
    records = {row[1] for row in rig.dump("events")["events"]}
    assert {row[2] for row in rig.dump("event_keys")["event_keys"]} == records
    if databases.kind() == "postgresql":
        assert JANUARY not in rig.store.read(lambda c: partitions.partitions_of(c, "decisions"))
        assert JANUARY not in rig.store.read(lambda c: partitions.partitions_of(c, "events"))
    assert rig.dump("audit")["audit"] >= {
        row for row in rig.dump("audit")["audit"] if row[3:6] == ("cli:ops", "dropped", "log")
    }
    assert rig.store.read(lambda c: retention.cut_of(c, "default")) == MARCH.bound
    assert retaining(rig).run() == []


def test_what_is_kept_is_as_before_and_the_service_goes_on(rig: Rig) -> None:
    ledgers = {row[1]: history.loads(row[2]) for row in rig.dump("ledger")["ledger"]}
    kept = {row for row in projections(rig)["rewards"] if partitions.month_of(row[3]) not in {JANUARY, FEBRUARY}}
    retaining(rig).run()
    for _, subject_id, body in rig.dump("ledger")["ledger"]:
        book = history.loads(body)
        assert book._replace(archived={}) == ledgers[subject_id]
        assert book.archived.get("camp", 0) <= book.touches.get("camp", 0)
    assert projections(rig)["rewards"] == kept
    checked, failed = rig.engine.verify_campaign("camp")
    assert (checked, failed) == (len(rig.log()), [])
    rig.ask("c000")
    rig.settle()
    assert rig.engine.campaign("camp").left_out >= 0


@pytest.mark.parametrize("lost", [False, True])
def test_a_rebuild_afterwards_starts_from_the_kept_snapshot_and_comes_to_the_same(rig: Rig, lost: bool) -> None:  # noqa: FBT001 - a case
    retaining(rig).run()
    rig.ask("c001")
    rig.settle()
    before, snapshot, ledger = projections(rig), rig.snapshot(), rig.dump("ledger")["ledger"]
    assert snapshot is not None
    if lost:
        wreck(rig)
        for row in ledger:
            rig.execute("insert into ledger values (?, ?, ?)", *row)
    done = rebuild(rig)
    assert [model.same for model in done.models] == [True]
    assert done.models[0].learned < snapshot.learned
    # Of an event that names the request of a decision that has gone nobody can tell any more that it was known.
    assert projections(rig) | {"parked": set()} == before | {"parked": set()}
    assert rig.snapshot() == snapshot


def test_a_newer_base_takes_the_place_of_an_older_one(rig: Rig) -> None:
    retaining(rig, timedelta(days=60)).run()
    first = rig.store.read(lambda c: [row[1] for row in c.exec_driver_sql("select * from snapshots where base")])
    rig.ask("c001")
    rig.settle()
    rig.settle()
    assert dropped(retaining(rig).run()) == [FEBRUARY]
    second = rig.store.read(lambda c: [row[1] for row in c.exec_driver_sql("select * from snapshots where base")])
    assert len(first) == len(second) == 1
    assert first != second
    resumes = rig.store.read(
        lambda c: [row[0] for row in c.exec_driver_sql("select snapshot_id from snapshots where resume is not null")]
    )
    assert resumes == second
    assert [model.same for model in rebuild(rig).models] == [True]


def test_snapshots_go_that_no_kept_decision_names(rig: Rig) -> None:
    def ids() -> set[str]:
        return {row[1] for row in rig.dump("snapshots")["snapshots"]}

    before = ids()
    retaining(rig).run()
    named = {row.snapshot_id for row in rig.log() if row.snapshot_id is not None}
    assert named <= ids() < before


def test_a_month_stays_while_something_of_it_is_not_at_its_end_and_so_do_those_after_it(rig: Rig) -> None:
    rows = [row for row in rig.log() if partitions.month_of(row.decision_id) == JANUARY and row.send_us is not None]
    decision_id = rows[0].decision_id
    (was,) = rig.dump("touches")["touches"] & {row for row in rig.dump("touches")["touches"] if row[1] == decision_id}
    rig.execute("update touches set state = 'planned' where decision_id = ?", decision_id)
    seen = retaining(rig).run()
    assert [found.kept for found in seen] == ["1 touches of it are not at their end yet", "2026-01 is kept"]
    rig.execute("update touches set state = ? where decision_id = ?", was[7], decision_id)
    rig.execute("delete from rewards where decision_id = ?", decision_id)
    assert retaining(rig).run()[0].kept == "1 decisions of it are not closed yet"
    assert months_of(rig, "decisions")["decisions"] >= {JANUARY, FEBRUARY}


def test_what_another_learner_has_not_learned_yet_stays(rig: Rig) -> None:
    other: CampaignFile = campaign(features=[{"name": "plan", "bucket": "customer", "type": "category"}])
    rig.engine.load_campaign(other)
    kept = retaining(rig).look()[0].kept
    assert kept is not None
    assert kept.endswith("decisions of campaign 'camp' are not learned yet")
    rig.jobs()
    assert dropped(retaining(rig).run()) == [JANUARY, FEBRUARY]


@pytest.mark.parametrize("dies_after", [2, 12, 14, 16])
def test_killed_at_any_moment_it_is_finished_by_beginning_again(rig: Rig, dies_after: int, tmp_path: Path) -> None:
    counted = {row[1]: history.loads(row[2]).touches for row in rig.dump("ledger")["ledger"]}
    try:
        retaining(rig, dies_after=dies_after).run(tmp_path)
    except Killed:
        rig.restart()
        assert [model.same for model in rebuild(rig).models] == [True]
    retaining(rig).run(tmp_path)
    assert not any(months & {JANUARY, FEBRUARY} for months in months_of(rig, *OF_DECISIONS, "events").values())
    assert {row[1]: history.loads(row[2]).touches for row in rig.dump("ledger")["ledger"]} == counted
    assert [model.same for model in rebuild(rig).models] == [True]
    assert {row[1]: history.loads(row[2]).touches for row in rig.dump("ledger")["ledger"]} == counted
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}-2026-{month:02}.parquet" for name in retention.ID for month in (1, 2)
    )


def test_what_goes_is_exported_whole_with_the_columns_of_its_table(rig: Rig, tmp_path: Path) -> None:
    before = {name: rig.dump(name)[name] for name in retention.ID}
    retaining(rig).run(tmp_path)
    for name, rows in before.items():
        written = set()
        for month in (JANUARY, FEBRUARY):
            table = pq.read_table(archive.path_of(tmp_path, name, month))
            assert table.column_names == metadata.tables[name].columns.keys()
            written |= {tuple(row.values()) for row in table.to_pylist()}
        assert written == rows - rig.dump(name)[name]
        assert written


def test_nothing_is_dropped_over_a_file_of_another_log(rig: Rig, tmp_path: Path) -> None:
    with Rig(only("push"), seed=9) as other:
        three_months(other)
        retaining(other).run(tmp_path)
    before = rig.dump("decisions")
    with pytest.raises(Conflict, match="is not this log's"):
        retaining(rig).run(tmp_path)
    assert rig.dump("decisions") == before


def test_events_that_name_what_has_gone_wait_and_an_old_event_id_is_new_again(rig: Rig) -> None:
    gone = rig.log()[0].decision_id
    retaining(rig).run()
    assert rig.tell("late", "clicked", decision_id=gone) is Status.PARKED
    assert rig.tell("c000-0-clicked", "clicked", customer_id="c000") is Status.ACCEPTED


def test_a_partition_that_others_read_is_waited_for_and_nothing_is_lost_where_they_do_not_end(rig: Rig) -> None:
    if databases.kind() == "sqlite":
        return  # it has no partitions
    waited: list[float] = []
    patient = Retention(Tenants(rig.engine), KEEP, tell=lambda *_: None, wait=waited.append, tries=2)

    def read(connection: Connection) -> None:
        connection.exec_driver_sql("select count(*) from events")
        with pytest.raises(Unavailable, match="lock timeout"):
            patient.run()

    rig.store.read(read)
    assert waited == [1]
    assert dropped(patient.run()) == [JANUARY, FEBRUARY]
