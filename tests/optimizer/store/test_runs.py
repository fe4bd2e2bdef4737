from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.store.rows import RunRow
from optimizer.store.runs import advance_run, finish_run, run_by_id, runs_of, start_run, unfinished_runs

if TYPE_CHECKING:
    from optimizer.store import Store


def run(run_id: str, occasion: str, scheduled_us: int = 0) -> RunRow:
    return RunRow("default", run_id, "camp", occasion, scheduled_us, "", "running", 1, None, 0)


def test_an_occasion_has_one_run_however_often_it_is_started(store: Store) -> None:
    first = run("run-1", "monday")
    assert store.write(lambda c: start_run(c, first)) == first
    assert store.write(lambda c: start_run(c, run("run-2", "monday"))) == first
    assert store.read(lambda c: run_by_id(c, "default", "run-2")) is None


def test_a_run_goes_on_from_its_cursor_until_it_is_finished(store: Store) -> None:
    store.write(lambda c: start_run(c, run("run-2", "tuesday", 2)))
    store.write(lambda c: start_run(c, run("run-1", "monday", 1)))
    store.write(lambda c: advance_run(c, "default", "run-1", "customer-7", 7))
    advanced = run("run-1", "monday", 1)._replace(cursor="customer-7", decided=7)
    assert store.read(lambda c: unfinished_runs(c, "default")) == [advanced, run("run-2", "tuesday", 2)]
    store.write(lambda c: finish_run(c, "default", "run-1", 9))
    finished = advanced._replace(state="finished", finished_us=9)
    assert store.read(lambda c: unfinished_runs(c, "default")) == [run("run-2", "tuesday", 2)]
    assert store.read(lambda c: runs_of(c, "default", "camp", 9)) == [run("run-2", "tuesday", 2), finished]
