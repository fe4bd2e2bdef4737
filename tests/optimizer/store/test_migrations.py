from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from alembic import command
from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary, MetaData, String, Table, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, UniqueConstraint

from optimizer.ids import IdSource
from optimizer.store import partitions, rows, tables
from optimizer.store.engines import open_engines
from optimizer.store.migrate import configuration, migrate
from tests import databases

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from optimizer.store import Store

INSTANTS = (partitions.Month(2025, 12).start_us + 5, partitions.Month(2026, 2).start_us + 5)
IDS = [IdSource().uuid7(at) for at in INSTANTS]

TENANTLESS = {"api_keys", "idempotency_keys"}
"""What is looked up before the tenant is known, or cleared for all tenants at once."""

ROWS: dict[str, type[NamedTuple]] = {
    "campaign_changes": rows.CampaignChangeRow,
    "campaign_versions": rows.CampaignVersionRow,
    "campaigns": rows.CampaignRow,
    "customers": rows.CustomerRow,
    "decisions": rows.DecisionRow,
    "events": rows.EventRow,
    "rewards": rows.RewardRow,
    "runs": rows.RunRow,
    "snapshots": rows.SnapshotRow,
    "touch_transitions": rows.TransitionRow,
    "touches": rows.TouchRow,
}


def test_the_migrations_make_exactly_the_tables(store: Store) -> None:
    store.write(lambda connection: command.check(configuration(connection)))


def test_the_tables_that_tests_get_at_once_are_those_that_the_migrations_make() -> None:
    made = []
    for making in (migrate, databases.migrate_at_once):
        engines = open_engines("sqlite://")
        with engines.write.begin() as connection:
            making(connection)
            of_tables = connection.exec_driver_sql("select type, name, tbl_name, sql from sqlite_master order by 1, 2")
            made.append([*of_tables, *connection.exec_driver_sql("select * from alembic_version")])
        engines.dispose()
    assert made[0] == made[1]
    assert len(made[0]) > 40


@pytest.mark.databases
def test_processes_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    url = databases.empty_url(tmp_path / "100% new")
    script = "import sys; from optimizer.store import Store; Store(sys.argv[1]).close()"
    opening = [subprocess.Popen([sys.executable, "-c", script, url]) for _ in range(3)]
    assert [process.wait() for process in opening] == [0, 0, 0]


@pytest.mark.databases
def test_a_database_of_the_first_tables_is_upgraded_with_all_that_is_in_it(tmp_path: Path) -> None:
    engines = open_engines(databases.empty_url(tmp_path))
    with engines.write.begin() as connection:
        command.upgrade(configuration(connection), "0001")
        _fill_first_tables(connection)
        before = _contents(connection)
    with engines.write.begin() as connection:
        migrate(connection)
        command.check(configuration(connection))
        after = _contents(connection)
    engines.dispose()
    for table, rows_before in before.items():
        names = (after[table][0].keys() & rows_before[0].keys()) - {"request_hash"}
        kept, expected = (
            [{name: row[name] for name in sorted(names)} for row in t] for t in (after[table], rows_before)
        )
        assert sorted(kept, key=repr) == sorted(expected, key=repr)
    assert {row["request_hash"] for row in after["decisions"]} == {None}
    assert [(row["request_id"], row["decision_id"]) for row in after["request_keys"]] == [("ask", IDS[0])]
    assert [(row["occasion"], row["decision_id"]) for row in after["occasion_keys"]] == [("run", IDS[1])]
    records = {row["event_id"]: row["record_id"] for row in after["events"]}
    assert {row["event_id"]: row["record_id"] for row in after["event_keys"]} == records
    assert [partitions.month_of(records[f"e-{n}"]) for n in range(3)] == [(2025, 12), (2026, 2), (2026, 2)]
    assert after["snapshots"][0]["digest"] == sha256(b"body").hexdigest()
    assert after["snapshots"][0]["resume_digest"] == sha256(b"resume").hexdigest()


def _fill_first_tables(connection: Connection) -> None:
    """One row or more in every table that the first version of this project had, through its own columns."""
    made = MetaData()
    made.reflect(connection)
    common: dict[str, Any] = {"tenant": "default", "campaign_id": "camp", "config_hash": "v1", "subject_id": "s"}
    common |= {"decision_id": IDS[0], "decided_us": INSTANTS[0], "received_us": INSTANTS[0], "event_id": "e-0"}
    rows_of = {
        "decisions": [
            common | {"request_id": "ask", "occasion": None},
            common | {"decision_id": IDS[1], "request_id": None, "occasion": "run", "decided_us": INSTANTS[1]},
        ],
        "events": [
            common | {"event_id": f"e-{n}", "received_us": at}
            for n, at in enumerate((INSTANTS[0], INSTANTS[1], INSTANTS[1]))
        ],
    }
    for table in made.sorted_tables:
        for values in rows_of.get(table.name, [common]) if table.name != "alembic_version" else ():
            row = {column.name: values.get(column.name, _filler(column)) for column in table.columns}
            connection.execute(table.insert(), row)


def _filler(column: Column[Any]) -> object:
    kind = column.type
    if isinstance(kind, LargeBinary):
        return column.name.encode()
    if isinstance(kind, Boolean):
        return True
    return 7 if isinstance(kind, Integer | Float) else column.name


def _contents(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    found = MetaData()
    found.reflect(connection)
    names = found.tables.keys() - {"alembic_version"}
    return {
        name: [dict(row) for row in connection.execute(select(found.tables[name])).mappings()] for name in sorted(names)
    }


@pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=lambda table: table.name)
def test_every_table_and_every_unique_key_begins_with_the_tenant(table: Table) -> None:
    keys = [list(table.primary_key.columns)]
    keys += [list(constraint.columns) for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
    keys += [list(index.columns) for index in table.indexes]
    assert isinstance(table.columns["tenant"].type, String)
    if table.name not in TENANTLESS:
        assert [key[0].name for key in keys] == ["tenant"] * len(keys)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_the_columns_of_its_table_in_order(name: str) -> None:
    assert list(ROWS[name]._fields) == tables.metadata.tables[name].columns.keys()


@pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=lambda table: table.name)
def test_every_table_can_be_said_in_postgresql(table: Table) -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    statements = [str(CreateTable(table).compile(dialect=dialect))]
    statements += [str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes]
    names = [index.name for index in table.indexes] + [constraint.name for constraint in table.constraints]
    assert all(len(str(name or "")) <= 63 for name in names)
    assert 'tenant VARCHAR COLLATE "C" NOT NULL' in statements[0]
