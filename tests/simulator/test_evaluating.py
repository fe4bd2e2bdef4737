"""The command `optimizer evaluate`, on small files of each kind and on real ones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from optimizer.evaluation.log import Log
from optimizer.evaluation.policies import Table
from simulator.logs.export import Format, export_log
from simulator.logs.open_bandit import OpenBanditLog
from simulator.logs.reading import Intake
from tests.simulator.factory import CONFIGS, rehearsed
from tests.simulator.test_commands import run

if TYPE_CHECKING:
    from typer.testing import Result

SHARED = Path(os.environ.get("SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
MAPPING = """
version: 1
context:
  side: {column: side, type: category}
arm: {column: arm}
propensity: 0.5
reward: {column: hit}
"""
CAMPAIGN = """
version: 1
campaign: {id: ID, name: sides, owner: tests, purpose: tests, objective: hits, kind: experiment, category: marketing,
  starts_at: 2026-01-01T00:00:00Z}
features:
  - {name: side, bucket: customer, type: category}
catalog:
  messages: [{id: a}, {id: b}]
  no_send: false
reward:
  events: [{name: hit, value: 1, window: 1h}]
"""
ATTRIBUTES = """
version: 1
attributes:
  - {name: side, type: category, description: "Which side."}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log in which each of two arms is right for one side, and campaigns for it."""
    rng = np.random.default_rng(4)
    rows = []
    for _ in range(900):
        side, arm = rng.choice(["left", "right"]), rng.choice(["a", "b"])
        hit = int(rng.random() < (0.7 if (side, arm) in {("left", "a"), ("right", "b")} else 0.2))
        rows.append(f"{side},{arm},{hit}")
    (tmp_path / "log.csv").write_text("\n".join(["side,arm,hit", *rows]) + "\n", encoding="utf-8")
    (tmp_path / "mapping.yaml").write_text(MAPPING, encoding="utf-8")
    (tmp_path / "attributes.yaml").write_text(ATTRIBUTES, encoding="utf-8")
    (tmp_path / "one.yaml").write_text(CAMPAIGN.replace("ID", "sides"), encoding="utf-8")
    greedy = CAMPAIGN.replace("ID", "sides") + "policy: {kind: epsilon_greedy, epsilon: 0.1}\n"
    (tmp_path / "greedy.yaml").write_text(greedy, encoding="utf-8")
    return tmp_path


def evaluated(folder: Path, *more: str | int | Path) -> Result:
    mapping = ("--mapping", folder / "mapping.yaml", "--publish-every", 100)
    return run("evaluate", folder / "log.csv", *mapping, "--out", folder / "out", *more)


def result(folder: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads((folder / "out" / "comparison.json").read_bytes())


def policies(body: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {each["name"]: each for each in body["policies"]}


def test_it_writes_a_page_and_all_numbers_and_shows_the_ranking(folder: Path) -> None:
    done = evaluated(folder, "--policy", folder / "one.yaml", "--policy", folder / "greedy.yaml")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["comparison.json", "report.html"]
    found = policies(result(folder))
    # Two campaigns of one id go by the names of their files.
    assert set(found) == {"logged", "uniform", "always a", "always b", "one", "greedy"}
    assert {found["one"]["rank"], found["greedy"]["rank"]} == {1, 2}
    assert found["one"]["verdict"] == "better"
    assert "log.csv: 900 decisions, by dr" in done.stdout
    assert (folder / "out" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_what_cannot_be_read_is_put_aside_with_its_line_and_stops_only_the_strict(folder: Path) -> None:
    with (folder / "log.csv").open("a", encoding="utf-8") as log:
        log.write("left,a,perhaps\nright,b,1\n")
    done = evaluated(folder)
    assert done.exit_code == 0, done.output
    body = result(folder)
    assert (body["log"]["taken"], body["log"]["rejected"], body["log"]["rejects"]) == (901, 1, "rejects.csv")
    assert "left,a,perhaps" in (folder / "out" / "rejects.csv").read_text(encoding="utf-8")
    assert "log.csv:902" in body["log"]["problems"][0]
    assert "1 row could not be taken" in done.stdout.replace("\n", " ")
    strict = evaluated(folder, "--strict")
    assert strict.exit_code == 1
    assert "log.csv:902" in strict.stderr


def test_an_estimator_and_an_interval_can_be_asked_for(folder: Path) -> None:
    done = evaluated(folder, "--estimator", "snips", "--interval", "bootstrap")
    assert done.exit_code == 0, done.output
    method = result(folder)["method"]
    assert (method["estimator"], method["interval"]) == ("snips", "bootstrap")
    hits = [line.split(",") for line in (folder / "log.csv").read_text(encoding="utf-8").splitlines()[1:]]
    of_a = [int(hit) for _, arm, hit in hits if arm == "a"]
    assert policies(result(folder))["always a"]["estimates"][0]["value"] == pytest.approx(sum(of_a) / len(of_a))


def test_a_table_of_probabilities_is_a_policy_where_arms_are_numbers(folder: Path) -> None:
    np.save(folder / "mostly_0.npy", np.array([0.8, 0.2]))
    table = ("--policy", folder / "mostly_0.npy", "--estimator", "ips")
    assert "the log has " in evaluated(folder, *table).stderr
    numbered = (folder / "log.csv").read_text(encoding="utf-8").replace(",a,", ",0,").replace(",b,", ",1,")
    (folder / "log.csv").write_text(numbered, encoding="utf-8")
    assert evaluated(folder, *table).exit_code == 0
    found = policies(result(folder))
    mixed = 0.8 * found["always 0"]["estimates"][0]["value"] + 0.2 * found["always 1"]["estimates"][0]["value"]
    assert found["mostly_0"]["estimates"][0]["value"] == pytest.approx(mixed)
    np.save(folder / "more.npy", np.array([0.5, 0.2, 0.3]))
    assert evaluated(folder, "--policy", folder / "more.npy").exit_code == 0
    assert policies(result(folder))["more"]["refusal"]["arms"] == {"2": pytest.approx(0.3)}
    np.save(folder / "wrong.npy", np.array([0.8, 0.3]))
    assert "have to sum to 1" in evaluated(folder, "--policy", folder / "wrong.npy").stderr
    (folder / "text.npy").write_text("no array", encoding="utf-8")
    assert "not an array that numpy.save wrote" in evaluated(folder, "--policy", folder / "text.npy").stderr


def test_the_audit_looks_where_it_is_told_to(folder: Path) -> None:
    # On the left the log has drawn `a` nine times in ten, and says a half.
    rows = ["side,arm,hit", *(f"left,{'b' if i % 10 == 0 else 'a'},{i % 2}" for i in range(400))]
    rows += [f"right,{'a' if i % 10 == 0 else 'b'},{i % 2}" for i in range(400)]
    (folder / "log.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert evaluated(folder).exit_code == 0
    assert result(folder)["audit"]["holds"]
    assert evaluated(folder, "--audit-by", "side").exit_code == 0
    audit = result(folder)["audit"]
    assert not audit["holds"]
    assert {check["what"] for check in audit["worst"] if check["flagged"]} == {"side = left", "side = right"}


def test_a_log_of_the_service_is_judged_with_what_it_knows(tmp_path: Path) -> None:
    loop = rehearsed(5, customers=100)
    export_log(loop.engine, loop.campaign.id, tmp_path / "decisions.parquet", Format.PARQUET)
    loop.engine.close()
    campaign = ("--policy", CONFIGS / "factorial.yaml", "--publish-every", 80)
    done = run("evaluate", tmp_path / "decisions.parquet", *campaign, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    found = policies(json.loads((tmp_path / "out" / "comparison.json").read_bytes()))
    learning = found["factorial"]["learning"]
    assert learning["learned"] > 0
    assert learning["missing"] == []
    assert learning["unlearnable"] == {}
    # 121 arms and a few hundred decisions: most arms were never drawn, and that is said instead of a number.
    assert found["factorial"]["rank"] is None or found["factorial"]["estimates"][0]["effective"] < 300
    assert "Cannot be judged on this log" in done.stdout


@pytest.mark.skipif(not (SHARED / "obd").exists(), reason="the shared data is not there: set SHARED_DATA")
def test_a_table_goes_by_the_place_on_the_page() -> None:
    log = Log.join(list(OpenBanditLog(SHARED / "obd" / "random_all.csv.gz").chunks(Intake())))
    table = np.load(SHARED / "obd" / "bts_action_dist_all.npy")
    assert log.position is not None
    assert np.array_equal(Table("t", table).probabilities(log)[17], table[:, log.position[17]])
