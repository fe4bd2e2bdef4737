"""Other processes hear of a change once it is committed, and look by themselves where they may have missed one."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from optimizer.store import Store
from optimizer.store.notices import Listener, notify
from tests import databases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


class Ear:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.told = 0
        self._more = threading.Condition()

    def hear(self) -> None:
        with self._more:
            self.told += 1
            self._more.notify_all()

    def waits_for(self, count: int, timeout_s: float = 5) -> bool:
        """Whether it is told so many times in all, in that time."""
        with self._more:
            return self._more.wait_for(lambda: self.told >= count, timeout_s)


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def listening(ear: Ear) -> Iterator[Store]:
    """A store of PostgreSQL whose changes the ear hears of."""
    with databases.on("postgresql"), Store(databases.fresh_url()) as store:
        listener = Listener(store.url, ear.hear)
        assert ear.waits_for(1), "to begin with, for nobody knows what was before"
        yield store
        listener.close()
        listener.close()


def test_a_change_is_heard_of_within_moments_of_its_commit(listening: Store, ear: Ear) -> None:
    listening.write(notify)
    at = time.monotonic()
    assert ear.waits_for(2)
    assert time.monotonic() - at < 0.5


def test_a_change_that_is_taken_back_is_not_heard_of(listening: Store, ear: Ear) -> None:
    def fails(connection: Connection) -> None:
        notify(connection)
        raise RuntimeError("taken back")

    with pytest.raises(RuntimeError, match="taken back"):
        listening.write(fails)
    assert not ear.waits_for(2, timeout_s=0.3)


def test_a_listener_that_is_cut_off_connects_again_and_looks_for_what_it_missed(listening: Store, ear: Ear) -> None:
    """Twice, so that it is seen that it goes on after the first time."""
    for told in (2, 4):
        listening.write(
            lambda c: c.exec_driver_sql(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'optimizer-listen' and datname = current_database()"
            )
        )
        assert ear.waits_for(told), "since it may have missed something"
        listening.write(notify)
        assert ear.waits_for(told + 1)


def test_what_fails_where_a_change_was_heard_of_is_tried_at_the_next_one() -> None:
    ear = Ear()

    def failing() -> None:
        ear.hear()
        raise RuntimeError("not now")

    with databases.on("postgresql"), Store(databases.fresh_url()) as store:
        listener = Listener(store.url, failing)
        assert ear.waits_for(1)
        store.write(notify)
        assert ear.waits_for(2)
        listener.close()


def test_on_sqlite_there_is_nothing_to_hear(ear: Ear) -> None:
    with Store("sqlite://") as store:
        listener = Listener(store.url, ear.hear)
        store.write(notify)
        assert not ear.waits_for(1, timeout_s=0.1)
        listener.close()
