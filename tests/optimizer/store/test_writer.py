from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from optimizer.errors import Unavailable
from optimizer.store import Store
from optimizer.store.ledgers import ledgers_by_subjects, put_ledgers
from optimizer.store.tables import ledger
from tests import databases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy import Connection


class Failed(Exception):
    """What a change of these tests raises."""


def put(connection: Connection, keys: Sequence[str]) -> Sequence[str]:
    """Store ledgers under these keys; one that begins with `!` raises."""
    put_ledgers(connection, "default", dict.fromkeys(keys, "[]"))
    for key in keys:
        if key.startswith("!"):
            raise Failed(key)
    return keys


def put_one(key: str) -> Callable[[Connection], str]:
    return lambda connection: put(connection, [key])[0]


class Held:
    """Keeps the writer busy until it is let go."""

    def __init__(self, store: Store) -> None:
        self._go, entered = threading.Event(), threading.Event()

        def hold(_connection: Connection, items: Sequence[str]) -> Sequence[str]:
            entered.set()
            self._go.wait()
            return items

        self.future = store.gather(hold, ["held"])
        entered.wait()

    def let_go(self) -> None:
        self._go.set()
        self.future.result()


def stored(store: Store) -> set[str]:
    return set(store.read(lambda connection: connection.execute(select(ledger.c.subject_id)).scalars().all()))


@given(callers=st.lists(st.lists(st.sampled_from("abc!"), max_size=4), max_size=12))
@settings(max_examples=25, deadline=None)
def test_every_caller_gets_the_results_of_their_own_items_and_their_own_error(callers: list[list[str]]) -> None:
    with Store("sqlite://") as store:
        held = Held(store)
        sent = [[f"{kind}{n}-{place}" for place, kind in enumerate(kinds)] for n, kinds in enumerate(callers)]
        futures = [store.gather(put, keys) for keys in sent]
        held.let_go()
        for keys, future in zip(sent, futures, strict=True):
            failing = [key for key in keys if key.startswith("!")]
            if failing:
                with pytest.raises(Failed, match=f"^{failing[0]}$"):
                    future.result()
            else:
                assert future.result() == keys
        assert stored(store) == {key for keys in sent if not any(k.startswith("!") for k in keys) for key in keys}


@pytest.mark.databases
def test_many_threads_each_see_their_own_results_and_failures(tmp_path: Path) -> None:
    with Store(databases.fresh_url(tmp_path)) as store:
        wrong: list[str] = []

        def work(thread: int) -> None:
            for n in range(60):
                fail = (thread + n) % 3 == 0
                key = f"{'!' * fail}{thread}-{n}"
                try:
                    [result] = store.gather(put, [key]).result()
                    if fail or result != key:
                        wrong.append(key)
                except Failed as error:
                    if not fail or error.args != (key,):
                        wrong.append(key)
                visible = store.read(partial(ledgers_by_subjects, tenant="default", subject_ids=[key]))
                if (key in visible) == fail:
                    wrong.append(f"{key} visible")

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(stored(store)) == 12 * 40


def test_what_waits_together_is_one_call_and_one_commit(store: Store) -> None:
    calls: list[int] = []
    commits: list[object] = []

    def count(connection: Connection, keys: Sequence[str]) -> Sequence[str]:
        calls.append(len(keys))
        return put(connection, keys)

    store.write(lambda connection: event.listen(connection.engine, "commit", commits.append))
    held = Held(store)
    futures = [store.gather(count, [f"{n:03}"]) for n in range(100)]
    commits.clear()
    held.let_go()
    assert [future.result() for future in futures] == [[f"{n:03}"] for n in range(100)]
    assert calls == [100]
    assert len(commits) == 2


def test_items_come_in_the_order_in_which_they_were_queued(store: Store) -> None:
    held = Held(store)
    seen: list[str] = []

    def note(_connection: Connection, keys: Sequence[str]) -> Sequence[str]:
        seen.extend(keys)
        return keys

    futures = [store.gather(note, [f"{n:02}", f"{n:02}+"]) for n in range(20)]
    held.let_go()
    for future in futures:
        future.result()
    assert seen == sorted(seen)


def test_a_cancelled_caller_is_left_out(store: Store) -> None:
    held = Held(store)
    future = store.gather(put, ["cancelled"])
    assert future.cancel()
    held.let_go()
    store.write(put_one("kept"))
    assert stored(store) == {"kept"}


def test_a_commit_that_fails_fails_everybody_in_it_and_the_writer_goes_on(tmp_path: Path) -> None:
    def last_page(connection: Connection, _items: Sequence[str]) -> Sequence[str]:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        return put(connection, ["x" * 100_000])

    with Store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        held = Held(store)
        futures = [store.gather(last_page, ["one"]), store.gather(last_page, ["two"])]
        held.let_go()
        for future in futures:
            with pytest.raises(Unavailable, match="disk is full"):
                future.result()
        store.gather(lambda c, _: [c.exec_driver_sql("PRAGMA max_page_count = 100000")], [None]).result()
        store.write(put_one("after"))
        assert stored(store) == {"after"}


def test_another_process_holding_the_database_delays_a_change_and_loses_none(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path / 'store.db'}") as store, Store(store.url) as other:
        held = Held(other)
        delayed = store.gather(put, ["delayed"])
        with suppress(TimeoutError):
            delayed.result(timeout=0.1)
        assert not delayed.done()
        held.let_go()
        assert delayed.result() == ["delayed"]


def test_transactions_that_lock_each_other_out_are_tried_again_until_both_are_done() -> None:
    with databases.on("postgresql"), Store(databases.fresh_url()) as store:
        store.write(lambda connection: put(connection, ["a", "b"]))
        meeting = threading.Barrier(2)
        tried: list[str] = []

        def change(connection: Connection, first: str, second: str) -> None:
            tried.append(first)
            put(connection, [first])
            if len(tried) <= 2:
                meeting.wait()
            put(connection, [second])

        threads = [
            threading.Thread(target=store.write, args=[partial(change, first=one, second=other)])
            for one, other in ("ab", "ba")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(tried) >= 3


@pytest.mark.parametrize("acknowledged", [1, 40, 250])
def test_what_was_acknowledged_survives_sigkill(tmp_path: Path, acknowledged: int) -> None:
    script = textwrap.dedent(
        """
        import sys, threading
        from optimizer.store import Store
        from optimizer.store.ledgers import put_ledgers
        store = Store(sys.argv[1])
        lock = threading.Lock()
        def work(thread):
            for n in range(10_000):
                key = f"{thread}-{n}"
                store.write(lambda connection: put_ledgers(connection, "default", {key: "[]"}))
                with lock:
                    print(key, flush=True)
        for thread in range(8):
            threading.Thread(target=work, args=(thread,)).start()
        """
    )
    url = f"sqlite:///{tmp_path / 'store.db'}"
    told = set()
    command = [sys.executable, "-c", script, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.add(line.strip())
            if len(told) == acknowledged:
                process.kill()
    assert len(told) >= acknowledged
    with Store(url) as store:
        assert told <= stored(store)
        store.write(put_one("and it can be written on"))


def test_whoever_waits_longest_is_timed_from_when_they_came(store: Store) -> None:
    assert store.oldest_s == 0.0
    held = Held(store)
    waiting = store.gather(put, ["a"])
    assert store.waiting == 1
    assert store.oldest_s > 0.0
    held.let_go()
    waiting.result()
    store.gather(put, ["b"]).result()
    until_idle(store)
    assert (store.waiting, store.oldest_s) == (0, 0.0)


def until_idle(store: Store) -> None:
    """The last caller is told a moment before the writer waits for the next one."""
    end = time.monotonic() + 10
    while store.oldest_s and time.monotonic() < end:
        time.sleep(0.001)
