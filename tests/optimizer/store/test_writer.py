from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
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

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from sqlalchemy import Connection


class Failed(Exception):
    """What a change of these tests raises."""


def put(key: str, *, fail: bool = False) -> Callable[[Connection], str]:
    def change(connection: Connection) -> str:
        put_ledgers(connection, "default", {key: "[]"})
        if fail:
            raise Failed(key)
        return key

    return change


def stored(store: Store) -> set[str]:
    return set(store.read(lambda connection: connection.execute(select(ledger.c.subject_id)).scalars().all()))


@given(fails=st.lists(st.booleans(), max_size=40))
@settings(max_examples=25, deadline=None)
def test_only_the_changes_that_fail_are_taken_back(fails: list[bool]) -> None:
    with Store("sqlite://") as store:
        held = threading.Event()
        store.submit(lambda _connection: held.wait())
        futures = [store.submit(put(str(n), fail=fail)) for n, fail in enumerate(fails)]
        held.set()
        for n, (future, fail) in enumerate(zip(futures, fails, strict=True)):
            if fail:
                with pytest.raises(Failed, match=f"^{n}$"):
                    future.result()
            else:
                assert future.result() == str(n)
        assert stored(store) == {str(n) for n, fail in enumerate(fails) if not fail}


def test_many_threads_each_see_their_own_results_and_failures(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        wrong: list[str] = []

        def work(thread: int) -> None:
            for n in range(60):
                key, fail = f"{thread}-{n}", (thread + n) % 3 == 0
                try:
                    result = store.write(put(key, fail=fail))
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


def test_what_waits_together_is_committed_together(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        commits: list[object] = []
        held = threading.Event()
        first = store.submit(lambda connection: event.listen(connection.engine, "commit", commits.append))
        first.result()
        commits.clear()
        store.submit(lambda _connection: held.wait())
        futures = [store.submit(put(str(n), fail=n == 7)) for n in range(100)]
        held.set()
        assert sum(future.exception() is None for future in futures) == 99
        assert len(commits) <= 2


def test_changes_run_in_the_order_of_their_submission_and_see_the_earlier_ones(store: Store) -> None:
    held = threading.Event()
    store.submit(lambda _connection: held.wait())

    def put_and_count(connection: Connection, n: int) -> int:
        put(f"{n:02}")(connection)
        return len(_keys(connection))

    futures = [store.submit(partial(put_and_count, n=n)) for n in range(20)]
    held.set()
    assert [future.result() for future in futures] == list(range(1, 21))


def _keys(connection: Connection) -> list[str]:
    return list(connection.execute(select(ledger.c.subject_id)).scalars())


def test_a_cancelled_change_does_not_run(store: Store) -> None:
    held = threading.Event()
    store.submit(lambda _connection: held.wait())
    future = store.submit(put("cancelled"))
    assert future.cancel()
    held.set()
    store.write(put("kept"))
    assert stored(store) == {"kept"}


def test_a_change_that_breaks_the_transaction_fails_its_batch_and_the_writer_goes_on(store: Store) -> None:
    held = threading.Event()
    store.submit(lambda _connection: held.wait())
    before = store.submit(put("before"))
    # What SQLite itself does to a transaction when, for example, the disk is full.
    breaking = store.submit(lambda connection: connection.exec_driver_sql("ROLLBACK"))
    held.set()
    for future in (before, breaking):
        with pytest.raises(Unavailable, match="could not commit"):
            future.result()
    store.write(put("after"))
    assert stored(store) == {"after"}


def test_another_process_holding_the_database_delays_a_change_and_loses_none(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path / 'store.db'}") as store, Store(store.url) as other:
        held, entered = threading.Event(), threading.Event()

        def hold(_connection: Connection) -> None:
            entered.set()
            held.wait()

        waiting: list[Future[None]] = [other.submit(hold)]
        entered.wait()
        delayed = store.submit(put("delayed"))
        with suppress(TimeoutError):
            delayed.result(timeout=0.1)
        assert not delayed.done()
        held.set()
        assert delayed.result() == "delayed"
        assert waiting[0].result() is None


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
        store.write(put("and it can be written on"))
