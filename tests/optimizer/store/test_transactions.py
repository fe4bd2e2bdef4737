from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from optimizer.errors import Unavailable
from optimizer.store import Store
from optimizer.store.ledgers import put_ledgers
from optimizer.store.tables import ledger
from optimizer.store.transactions import StartAgain, after_commit, before_commit, notes
from tests import databases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

pytestmark = pytest.mark.databases


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(databases.fresh_url(tmp_path)) as opened:
        yield opened


def keys(connection: Connection) -> list[str]:
    return list(connection.execute(select(ledger.c.subject_id)).scalars())


def test_what_is_to_follow_a_commit_sees_what_was_committed(store: Store) -> None:
    seen: list[list[str]] = []

    def change(connection: Connection) -> None:
        put_ledgers(connection, "default", {"a": "[]"})
        after_commit(connection, lambda: seen.append(["done"]))
        assert seen == []

    store.write(change)
    assert (seen, store.read(keys)) == ([["done"]], ["a"])


def test_nothing_follows_a_change_that_is_taken_back_nor_does_it_follow_the_next_one(store: Store) -> None:
    seen: list[str] = []

    def fail(connection: Connection) -> None:
        after_commit(connection, lambda: seen.append("failed"))
        raise ValueError("taken back")

    with pytest.raises(ValueError, match="taken back"):
        store.write(fail)
    store.write(lambda c: after_commit(c, lambda: seen.append("next")))
    assert seen == ["next"]


def test_a_change_that_is_tried_again_is_followed_once(store: Store) -> None:
    seen: list[int] = []
    attempts = iter(range(10))

    def change(connection: Connection) -> int:
        attempt = next(attempts)
        after_commit(connection, lambda: seen.append(attempt))
        if attempt < 2:
            raise IntegrityError("another was first", None, ValueError())
        return attempt

    assert store.write(change) == 2
    assert seen == [2]


def test_a_lost_cause_is_given_up_and_not_counted(store: Store) -> None:
    seen: list[str] = []

    def change(connection: Connection) -> None:
        after_commit(connection, lambda: seen.append("never"))
        raise Unavailable("not now")

    with pytest.raises(Unavailable):
        store.write(change)
    assert seen == []


def test_what_is_done_last_comes_after_the_change_and_is_part_of_its_transaction(store: Store) -> None:
    order: list[str] = []

    def change(connection: Connection) -> None:
        before_commit(connection, lambda: put_ledgers(connection, "default", {"last": "[]"}))
        before_commit(connection, lambda: order.append("last"))
        order.append("change")

    store.write(change)
    assert order == ["change", "last"]
    assert store.read(keys) == ["last"]


def test_what_is_done_last_may_find_that_everything_has_to_begin_anew(store: Store) -> None:
    begun: list[dict[str, object]] = []

    def last() -> None:
        if len(begun) < 3:
            raise StartAgain

    def change(connection: Connection) -> None:
        begun.append(dict(notes(connection)))
        notes(connection)["attempt"] = len(begun)
        put_ledgers(connection, "default", {f"attempt {len(begun)}": "[]"})
        before_commit(connection, last)

    store.write(change)
    assert store.read(keys) == ["attempt 3"]
    assert begun == [{}, {}, {}], "what is kept in mind ends with its transaction"
