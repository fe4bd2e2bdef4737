from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from optimizer.errors import InvalidInput
from optimizer.registry import body_of
from optimizer.store.customers import Customer
from optimizer.verification import Logged
from simulator.audience import SCHEMA, Scored, Scoring
from simulator.logs.parts import stretches
from simulator.workers import Here
from tests.optimizer.engine_example import ATTRIBUTES, SLOTS, Rig, campaign, message
from tests.optimizer.test_trainer import lived
from tests.simulator.factory import CONFIGS
from tests.simulator.test_commands import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CATALOG: dict[str, Any] = {
    "messages": [
        message("hello", "email", "push"),
        message("offer", "email", "push", eligibility={"all": [{"attr": "plan", "op": "==", "value": "gold"}]}),
    ],
    "channels": [{"id": "email", "cost": 0.01}, {"id": "push", "cost": 0.02, "dispatch": "caller"}],
    "timing": SLOTS,
}
RULES: dict[str, Any] = {"audience": {"all": [{"attr": "age", "op": "<", "value": 70}]}, "catalog": CATALOG}
ZONES = ["Europe/Paris", "America/Lima", None, "Mars/Base"]


@contextmanager
def learned_engine() -> Iterator[Rig]:
    """An engine whose campaign has learned something."""
    with Rig(campaign(settings={"timezone": {"fallback": "UTC", "if_missing": "use_fallback"}}, **RULES)) as rig:
        lived(rig, days=4)
        rig.settle()
        yield rig


@pytest.fixture(scope="module")
def learned() -> Iterator[Rig]:
    with learned_engine() as rig:
        yield rig


def people(n: int, seed: int = 1) -> dict[str, list[Any]]:
    """Columns of an audience's file, some values missing."""
    rng = np.random.default_rng(seed)
    return {
        "customer_id": [f"new-{i:04d}" for i in range(n)],
        "plan": [None if x > 0.8 else ("gold" if x > 0.4 else "free") for x in rng.random(n)],
        "vip": [bool(x > 0.5) for x in rng.random(n)],
        "age": [None if x > 75 else float(x) for x in rng.uniform(18, 80, n)],
        "timezone": [ZONES[i % len(ZONES)] for i in range(n)],
    }


def scoring(rig: Rig) -> Scoring:
    row = rig.snapshot()
    assert row is not None
    current = rig.store.read(lambda connection: rig.engine.versions.current(connection, "camp")).campaign
    return Scoring(current, dict(ATTRIBUTES.types), body_of(row), rig.clock.now())


def score(rig: Rig, path: Path, columns: Mapping[str, Any], group: int = 100) -> Scored:
    pq.write_table(pa.table(columns), path, row_group_size=group)
    parts = list(Here().map(scoring(rig), stretches([str(path)])))
    return Scored(pa.concat_tables([part.table for part in parts]), tuple(p for part in parts for p in part.problems))


def test_scores_are_those_of_first_decisions(learned: Rig, tmp_path: Path) -> None:
    columns = people(300)
    found = score(learned, tmp_path / "people.parquet", columns).table.to_pylist()
    names = ("plan", "vip", "age")
    customers = []
    for i, customer_id in enumerate(columns["customer_id"]):
        facts = {name: columns[name][i] for name in names if columns[name][i] is not None}
        zone = columns["timezone"][i]
        customers.append(Customer(customer_id, facts, None if zone == "Mars/Base" else zone))
    learned.engine.put_customers(customers)
    version = learned.store.read(lambda connection: learned.engine.versions.current(connection, "camp"))
    arms, seen = [arm.id for arm in version.catalog.arms], set()
    for row in found:
        logged = Logged.of(learned.row(learned.ask(row["customer_id"]).decision_id), version)
        p = logged.probabilities()
        best = int(p.argmax())
        nothing = not (logged.removed == 0).any()
        assert row["arm"] == (None if nothing else arms[best])
        if not nothing:
            assert logged.scores is not None
            assert row["probability"] == pytest.approx(p[best], abs=1e-12)
            assert row["score"] == pytest.approx(float(logged.scores[0, best]) * 10, abs=1e-5)
            assert row["no_send_score"] == pytest.approx(float(logged.scores[0, -1]) * 10, abs=1e-5)
        assert row["send_probability"] == pytest.approx(p[:-1].sum(), abs=1e-12)
        assert (row["reason"] is None) == bool((logged.removed[0, :-1] == 0).any())
        if row["reason"] is not None:
            assert row["reason"] == logged.row.reason
        seen.add((row["reason"], row["arm"]))
    assert len(seen) >= 3


def test_rows_without_an_id_and_infinite_numbers_are_left_out_and_named(learned: Rig, tmp_path: Path) -> None:
    columns = people(120)
    columns["customer_id"][3] = None
    columns["customer_id"][110] = ""
    columns["age"][7] = float("inf")
    columns["age"][8] = float("nan")
    found = score(learned, tmp_path / "people.parquet", columns)
    told = {(problem.line, problem.field) for problem in found.problems}
    assert told == {(4, "customer_id"), (111, "customer_id"), (8, "age")}
    assert len(found.table) == 117


def test_an_audience_without_customers_is_an_empty_table(learned: Rig, tmp_path: Path) -> None:
    pq.write_table(pa.table({"customer_id": pa.array([], pa.string())}), tmp_path / "none.parquet")
    (found,) = [scoring(learned)(part) for part in stretches([str(tmp_path / "none.parquet")])] or [
        Scored(SCHEMA.empty_table(), ())
    ]
    assert found.table.equals(SCHEMA.empty_table())


def test_what_is_no_audience_is_refused_by_name(learned: Rig, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no column 'customer_id', but who"):
        score(learned, tmp_path / "a.parquet", {"who": ["x"]})
    with pytest.raises(InvalidInput, match="column 'age' cannot be read as double"):
        score(learned, tmp_path / "b.parquet", {"customer_id": ["x"], "age": ["old"]})


def test_without_a_model_the_draw_is_uniform(tmp_path: Path) -> None:
    with Rig(campaign(audience=RULES["audience"], catalog={**CATALOG, "timing": None})) as rig:
        rig.pass_by(days=1)
        path = tmp_path / "people.parquet"
        pq.write_table(pa.table({"customer_id": ["a", "b"], "age": [20.0, 90.0]}), path)
        current = rig.store.read(lambda connection: rig.engine.versions.current(connection, "camp")).campaign
        (part,) = stretches([str(path)])
        young, old = Scoring(current, dict(ATTRIBUTES.types), None, rig.clock.now() + timedelta(1))(
            part
        ).table.to_pylist()
    assert young["probability"] == pytest.approx(1 / 3)
    assert young["score"] is None
    assert young["send_probability"] == pytest.approx(2 / 3)
    assert (old["arm"], old["probability"], old["send_probability"], old["reason"]) == (
        None,
        None,
        0,
        "not_in_audience",
    )


def test_the_command_scores_a_file_once(tmp_path: Path) -> None:
    settings = tmp_path / "service.yaml"
    settings.write_text(
        f"version: 1\ndatabase: sqlite:///{tmp_path}/it.db\nattributes_file: {CONFIGS}/attributes.yaml\n"
        f"outbox: {tmp_path}/outbox\nsecret_file: {tmp_path}/secret\n"
    )
    assert run("campaign", "load", CONFIGS / "factorial.yaml", "--config", settings).exit_code == 0
    ids = [f"c{i}" for i in range(250)]
    pq.write_table(pa.table({"customer_id": [*ids, None], "age": [30.0] * 251}), tmp_path / "people.parquet")
    out = tmp_path / "scores.parquet"
    typed = ("score", "factorial", tmp_path / "people.parquet", "--out", out, "--config", settings)
    told = run(*typed)
    assert told.exit_code == 1
    assert "250 customers scored (no model yet: a uniform draw), 1 problems" in told.output
    assert f"{tmp_path}/people.parquet:251: customer_id: empty" in told.output
    assert pq.read_table(out).column("customer_id").to_pylist() == ids
    again = run(*typed)
    assert again.exit_code != 0
    assert "exists already" in str(again.output) + str(again.exception)
    assert [path.name for path in tmp_path.glob("scores*")] == ["scores.parquet"]
