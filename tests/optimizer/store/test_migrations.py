from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from alembic import command
from sqlalchemy import String, Table, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, UniqueConstraint

from optimizer.store import Store, rows, tables
from optimizer.store.engines import open_engines
from optimizer.store.migrate import configuration, migrate

if TYPE_CHECKING:
    from pathlib import Path

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


def test_a_database_migrates_up_down_and_up_again(tmp_path: Path) -> None:
    engines = open_engines(f"sqlite:///{tmp_path / 'store.db'}")
    with engines.write.begin() as connection:
        migrate(connection)
        command.downgrade(configuration(connection), "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
        migrate(connection)
        command.check(configuration(connection))
    engines.dispose()


def test_two_processes_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / '100% new' / 'store.db'}"
    with Store(url) as one, Store(url) as other:
        assert one.read(lambda c: inspect(c).get_table_names()) == other.read(lambda c: inspect(c).get_table_names())


@pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=lambda table: table.name)
def test_every_table_and_every_unique_key_begins_with_the_tenant(table: Table) -> None:
    keys = [list(table.primary_key.columns)]
    keys += [list(constraint.columns) for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
    keys += [list(index.columns) for index in table.indexes]
    assert isinstance(table.columns["tenant"].type, String)
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
    assert "tenant VARCHAR NOT NULL" in statements[0]
