from __future__ import annotations

import doctest
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.exc import InternalError

import optimizer.store.store
from optimizer.errors import Unavailable
from optimizer.store import Store
from optimizer.store.ledgers import ledgers_by_subjects, put_ledgers
from optimizer.store.rewards import insert_rewards
from optimizer.store.tables import rewards
from tests import databases
from tests.optimizer.store.example import reward

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy import Connection


def count(store: Store) -> int:
    found: int = store.read(lambda connection: connection.exec_driver_sql("SELECT count(*) FROM ledger").scalar_one())
    return found


def test_the_example_in_the_documentation_runs() -> None:
    assert doctest.testmod(optimizer.store.store).failed == 0


@pytest.mark.databases
def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    url = databases.fresh_url(tmp_path)
    with Store(url) as store:
        store.write(lambda connection: put_ledgers(connection, "default", {"s": "[]"}))
    with Store(url) as store:
        assert store.read(lambda connection: ledgers_by_subjects(connection, "default", ["s"])) == {"s": "[]"}


def test_a_read_changes_nothing(store: Store) -> None:
    # In memory, where readers and the writer share a connection, what a read writes is taken back in silence.
    with suppress(InternalError, Unavailable):
        store.read(lambda connection: put_ledgers(connection, "default", {"s": "[]"}))
    assert count(store) == 0


@pytest.mark.databases
def test_a_read_sees_one_state_from_its_first_look_to_its_last(tmp_path: Path) -> None:
    with Store(databases.fresh_url(tmp_path)) as store:

        def look(connection: Connection) -> tuple[dict[str, str], dict[str, str]]:
            before = ledgers_by_subjects(connection, "default", ["s"])
            writer = threading.Thread(
                target=store.write, args=(lambda change: put_ledgers(change, "default", {"s": "[]"}),)
            )
            writer.start()
            writer.join()
            return before, ledgers_by_subjects(connection, "default", ["s"])

        assert store.read(look) == ({}, {})
        assert count(store) == 1


def test_using_the_store_inside_a_change_is_refused_instead_of_waiting_for_ever(store: Store) -> None:
    with pytest.raises(RuntimeError, match="connection it was given"):
        store.write(lambda _connection: store.read(lambda _inner: None))
    with pytest.raises(RuntimeError, match="connection it was given"):
        store.write(lambda _connection: store.write(lambda _inner: None))


@pytest.mark.databases
def test_closing_writes_what_is_queued_and_refuses_what_comes_later(tmp_path: Path) -> None:
    def put(connection: Connection, keys: Sequence[str]) -> Sequence[str]:
        put_ledgers(connection, "default", dict.fromkeys(keys, "[]"))
        return keys

    url = databases.fresh_url(tmp_path)
    store = Store(url)
    futures = [store.gather(put, [str(n)]) for n in range(700)]
    store.close()
    store.close()
    assert all(future.done() and future.exception() is None for future in futures)
    with pytest.raises(Unavailable, match="closed"):
        store.gather(put, ["late"])
    with Store(url) as again:
        assert count(again) == 700


@pytest.mark.parametrize("scalar", [np.int64(7), np.int32(7), np.uint8(7), np.float32(7)])
def test_a_numpy_scalar_is_stored_as_a_number(store: Store, scalar: np.generic) -> None:
    row = reward("d", reward=scalar, mature_us=int(scalar))
    store.write(lambda connection: insert_rewards(connection, [row]))
    found = store.read(lambda connection: connection.execute(select(rewards.c.reward, rewards.c.mature_us)).one())
    assert tuple(found) == (7.0, 7)
    assert [type(value) for value in found] == [float, int]


def test_the_log_is_forced_to_the_disk_at_every_commit(tmp_path: Path) -> None:
    def pragmas(connection: Connection) -> list[object]:
        return [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    with Store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        assert store.write(pragmas) == ["wal", 2, 1]
