"""The decision log as Parquet says what the tables say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from optimizer.clock import from_us, to_us
from optimizer.store import rewards, touches
from simulator.logs import service
from simulator.logs.service import LogWriter, read_log
from tests.simulator.factory import FACTORIAL, log, rehearsed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from simulator.loop import ClosedLoop


@pytest.fixture(scope="module")
def loop() -> Iterator[ClosedLoop]:
    """Two runs over 60 people, of which the first is closed."""
    finished = rehearsed(days=3, customers=60)
    yield finished
    finished.close()


def written(loop: ClosedLoop, path: Path) -> Path:
    with LogWriter(path) as writer:
        for page in read_log(loop.engine, FACTORIAL.id):
            writer.write(page)
    return path


def test_a_row_has_the_decision_and_what_became_of_it(loop: ClosedLoop, tmp_path: Path) -> None:
    found = pq.read_table(written(loop, tmp_path / "log.parquet")).to_pylist()
    rows, runtime = log(loop), loop.engine.runtime
    ids = [row.decision_id for row in rows]
    closed = runtime.store.read(lambda c: rewards.rewards_by_ids(c, runtime.tenant, ids))
    known = runtime.store.read(lambda c: touches.touches_by_ids(c, runtime.tenant, ids))
    assert len(found) == len(rows) == 120
    assert 0 < len(closed) < 120
    for got, row in zip(found, rows, strict=True):
        touch, reward = known.get(row.decision_id), closed.get(row.decision_id)
        assert got["decision_id"] == row.decision_id
        assert (got["subject_id"], got["group"], got["arm"]) == (row.subject_id, row.group_name, row.arm)
        assert (got["propensity"], got["reason"]) == (row.propensity, row.reason)
        assert to_us(got["decided_at"]) == row.decided_us
        assert got["matures_at"] == from_us(row.mature_us)
        assert got["send_at"] == (None if row.send_us is None else from_us(row.send_us))
        assert json.loads(got["context"]) == json.loads(row.context)
        assert json.loads(got["history"]) == json.loads(row.history)
        assert got["touch"] == (touch.state if touch else None)
        assert got["sent_at"] == (from_us(touch.sent_us) if touch and touch.sent_us is not None else None)
        assert (got["reward"], got["learn"]) == ((reward.reward, reward.learn) if reward else (None, None))


def test_candidates_are_the_arms_that_it_drew_from(loop: ClosedLoop, tmp_path: Path) -> None:
    found = pq.read_table(written(loop, tmp_path / "log.parquet"), columns=["decision_id", "candidates"]).to_pylist()
    for row in found[::20]:
        told = loop.engine.explain(row["decision_id"]).candidates
        assert row["candidates"] == [candidate.arm.id for candidate in told if candidate.reason is None]


def test_the_size_of_a_page_changes_no_row_and_equal_logs_are_equal_files(
    loop: ClosedLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = written(loop, tmp_path / "whole.parquet")
    assert written(loop, tmp_path / "again.parquet").read_bytes() == whole.read_bytes()
    monkeypatch.setattr(service, "PAGE", 7)
    pages = written(loop, tmp_path / "pages.parquet")
    assert pq.read_metadata(pages).num_row_groups == 18
    assert pq.read_table(pages).to_pylist() == pq.read_table(whole).to_pylist()


def test_same_seed_same_file_to_the_byte_and_another_seed_another_one(loop: ClosedLoop, tmp_path: Path) -> None:
    first = written(loop, tmp_path / "first.parquet").read_bytes()
    for seed in (1, 2):
        other = rehearsed(days=3, customers=60, seed=seed)
        assert (written(other, tmp_path / f"{seed}.parquet").read_bytes() == first) == (seed == 1)
        other.close()
