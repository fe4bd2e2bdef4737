from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from optimizer.errors import InvalidInput
from optimizer.evaluation.bootstrap import Bootstrap
from simulator.comparison.comparing import Question, compare
from simulator.engines import EngineName, workers
from simulator.logs.mapping import LogFormat
from simulator.logs.parts import stretches
from simulator.logs.plain import PlainParquet
from simulator.logs.reading import Intake
from simulator.ray_workers import ray_workers
from simulator.replay import Orders
from simulator.workers import Here
from tests.simulator.test_audience import learned_engine, people, scoring
from tests.simulator.test_replay import ATTRIBUTES as DECLARED
from tests.simulator.test_replay import HILLSTROM, synthetic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from simulator.workers import Workers


@pytest.fixture(scope="module")
def cluster() -> Iterator[Workers]:
    """Ray on this machine, with two processes."""
    with ray_workers(2) as found:
        yield found


@pytest.fixture(params=["here", "ray"])
def those(request: pytest.FixtureRequest) -> Workers:
    return Here() if request.param == "here" else request.getfixturevalue("cluster")


def squares(seed: int) -> float:
    """Larger parts take longer, so that later ones are done first."""
    rows = np.random.default_rng(seed).normal(size=(400_000 if seed % 5 == 0 else 1_000, 8))
    return float((rows.T @ rows).sum())


def test_results_come_in_the_order_of_the_parts_and_are_the_same_to_the_last_digit(those: Workers) -> None:
    assert list(those.map(squares, range(12))) == list(Here().map(squares, range(12)))


def test_parts_are_taken_as_they_are_needed(those: Workers) -> None:
    taken = []

    def parts() -> Iterator[int]:
        for part in range(1_000):
            taken.append(part)
            yield part

    results = those.map(squares, parts())
    assert [next(results) for _ in range(3)] == list(Here().map(squares, range(3)))
    assert len(taken) < 20


def refuse(part: int) -> int:
    if part == 3:
        raise InvalidInput("part 3 cannot be read")
    return part


def test_an_error_of_the_function_is_raised_as_it_was(those: Workers) -> None:
    results = those.map(refuse, range(5))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InvalidInput, match="part 3 cannot be read"):
        next(results)


def test_no_parts_give_no_results(those: Workers) -> None:
    assert list(those.map(squares, [])) == []


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simulator.ray_workers", None)
    with pytest.raises(InvalidInput, match=r"campaign-optimizer\[ray\]"), workers(EngineName.RAY):
        pass


def test_a_cluster_scores_an_audience_as_one_process_does(
    cluster: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.logs.parts.CHUNK", 200)
    with learned_engine() as rig:
        scored = scoring(rig)
    pq.write_table(pa.table(people(1_000)), tmp_path / "people.parquet", row_group_size=100)
    parts = stretches([str(tmp_path / "people.parquet")])
    assert len(parts) == 5
    here, there = (pa.concat_tables([part.table for part in one.map(scored, parts)]) for one in (Here(), cluster))
    assert here.equals(there)


def test_a_cluster_replays_orders_as_one_process_does(cluster: Workers) -> None:
    orders = Orders(HILLSTROM, DECLARED, synthetic(300))
    assert list(cluster.map(orders, range(3))) == list(Here().map(orders, range(3)))


def test_a_cluster_compares_policies_as_one_process_does(
    cluster: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.logs.parts.CHUNK", 1_000)
    rng, n = np.random.default_rng(1), 6_000
    columns = {
        "who": rng.integers(0, 900, n).astype(str),
        "age": rng.normal(size=n),
        "arm": rng.choice(["a", "b", "c"], n),
        "reward": rng.normal(size=n),
    }
    columns["age"][17] = np.inf
    pq.write_table(pa.table(columns), tmp_path / "log.parquet", row_group_size=500)
    layout = LogFormat.model_validate(
        {
            "version": 1,
            "customer_id": "who",
            "context": {"age": {"column": "age", "type": "number"}},
            "arm": {"column": "arm"},
            "propensity": 1 / 3,
            "reward": {"column": "reward"},
        }
    )

    def judged(by: Workers) -> bytes:
        question = Question(campaigns={}, interval=Bootstrap(resampled=100, spread=by.map))
        with Intake(tmp_path / "rejects.ndjson") as intake:
            found = compare("log", PlainParquet([str(tmp_path / "log.parquet")], layout), intake, question, by)
        assert (intake.taken, intake.rejected) == (n - 1, 1)
        return found.dumps()

    assert judged(cluster) == judged(Here())
