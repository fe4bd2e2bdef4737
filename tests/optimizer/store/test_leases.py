"""What one transaction does to a lease, and what it does to another's."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from optimizer.store import Store, leases
from optimizer.store.leases import NOBODY, LeaseRow
from tests import databases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

FREE = LeaseRow("default", "campaign/a", NOBODY, 0, 0)


def test_a_lease_is_taken_as_it_was_seen_or_not_at_all(store: Store) -> None:
    assert store.write(lambda c: leases.take(c, FREE, "w1")) == 1
    assert store.write(lambda c: leases.take(c, FREE, "w2")) is None
    seen = store.read(lambda c: leases.all_leases(c, "default"))
    assert seen == [FREE._replace(holder="w1", token=1)]
    assert store.write(lambda c: leases.take(c, seen[0], "w2")) == 2
    assert store.write(lambda c: leases.hold(c, "default", "campaign/a")) == ("w2", 2)
    assert store.write(lambda c: leases.hold(c, "default", "campaign/b")) is None


def test_only_its_holder_gives_a_lease_back_and_its_token_is_never_used_again(store: Store) -> None:
    store.write(lambda c: leases.take(c, FREE, "w1"))
    store.write(lambda c: leases.give_back(c, "default", FREE.name, "w2", 1))
    assert store.write(lambda c: leases.hold(c, "default", FREE.name)) == ("w1", 1)
    store.write(lambda c: leases.give_back(c, "default", FREE.name, "w1", 1))
    assert store.write(lambda c: leases.take(c, FREE._replace(token=1), "w2")) == 2


def test_a_worker_beats_while_its_name_is_its_own(store: Store) -> None:
    first = store.write(lambda c: leases.advance(c, "default", "worker/w"))
    assert store.write(lambda c: leases.beat(c, "default", "worker/w", first))
    second = store.write(lambda c: leases.advance(c, "default", "worker/w"))
    assert second > first
    assert not store.write(lambda c: leases.beat(c, "default", "worker/w", first))
    store.write(lambda c: leases.leave(c, "default", "worker/w", first))
    assert store.write(lambda c: leases.beat(c, "default", "worker/w", second))
    store.write(lambda c: leases.leave(c, "default", "worker/w", second))
    assert store.read(lambda c: leases.all_leases(c, "default")) == []


def test_a_worker_that_has_beaten_since_is_not_swept(store: Store) -> None:
    token = store.write(lambda c: leases.advance(c, "default", "worker/w"))
    [seen] = store.read(lambda c: leases.all_leases(c, "default"))
    store.write(lambda c: leases.beat(c, "default", "worker/w", token))
    store.write(lambda c: leases.sweep(c, seen))
    [now] = store.read(lambda c: leases.all_leases(c, "default"))
    store.write(lambda c: leases.sweep(c, now))
    assert store.read(lambda c: leases.all_leases(c, "default")) == []


@pytest.fixture
def several() -> Iterator[Store]:
    with databases.on("postgresql"), Store(databases.fresh_url()) as opened:
        yield opened


def test_a_transaction_that_holds_a_lease_is_waited_for_by_who_voids_it_and_by_nobody_else(several: Store) -> None:
    """On PostgreSQL, where transactions run side by side; on SQLite there is one at a time."""
    token = several.write(lambda c: leases.advance(c, "default", "worker/w1"))
    several.write(lambda c: leases.take(c, FREE, "w1"))
    [lease] = [row for row in several.read(lambda c: leases.all_leases(c, "default")) if row.name == FREE.name]
    entered, leave = threading.Event(), threading.Event()

    def working(connection: Connection) -> None:
        assert leases.hold(connection, "default", FREE.name) == ("w1", 1)
        entered.set()
        assert leave.wait(20)

    worker = in_thread(lambda: several.write(working))
    assert entered.wait(20)
    assert several.write(lambda c: leases.hold(c, "default", FREE.name)) == ("w1", 1)
    assert several.write(lambda c: leases.beat(c, "default", "worker/w1", token))
    assert several.write(lambda c: leases.take(c, lease, "w2")) is None
    voiding = in_thread(lambda: several.write(lambda c: leases.advance(c, "default", FREE.name)))
    voiding.join(0.2)
    assert voiding.is_alive()
    leave.set()
    worker.join(20)
    voiding.join(20)
    assert several.write(lambda c: leases.hold(c, "default", FREE.name)) == ("w1", 2)


def in_thread(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread
