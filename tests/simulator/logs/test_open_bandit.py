"""The Open Bandit Dataset is read to the figures that were published for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from optimizer.errors import InvalidInput
from optimizer.evaluation.judged import judge
from optimizer.evaluation.log import Log
from optimizer.evaluation.policies import Table, Uniform
from simulator.logs.open_bandit import OpenBanditLog, read_items
from simulator.logs.opening import open_log
from simulator.logs.reading import Intake

if TYPE_CHECKING:
    from optimizer.evaluation.judged import Judged, Policy

OBD = Path(os.environ.get("SHARED_DATA", Path(__file__).parents[4] / "shared" / "data")) / "obd"
published = pytest.mark.skipif(not OBD.exists(), reason="the Open Bandit Dataset is not there: set SHARED_DATA")


def read(path: Path) -> Log:
    return Log.join(list(open_log(path).chunks(Intake(strict=True))))


def judged(log: Log, policy: Policy) -> Judged:
    return judge(log, policy.probabilities(log))


@published
def test_the_random_log_under_thompson_sampling_has_the_published_figures() -> None:
    log = read(OBD / "random_all.csv.gz")
    assert (len(log), len(log.arms), log.reward.mean()) == (10_000, 80, 0.0038)
    assert log.arms == tuple(str(item) for item in range(80))
    assert np.bincount(np.asarray(log.position)).shape == (3,)
    assert set(log.propensity.tolist()) == {1 / 80}
    rows = judged(log, Table("bts", np.load(OBD / "bts_action_dist_all.npy")))
    w = rows.weight
    assert (w @ rows.reward) / len(w) == pytest.approx(0.004553, abs=5e-7)
    assert (w @ rows.reward) / w.sum() == pytest.approx(0.004776, abs=5e-7)
    assert w.mean() == pytest.approx(0.9533, abs=5e-5)
    assert w.max() == pytest.approx(19.60, abs=5e-3)
    assert w.sum() ** 2 / (w @ w) == pytest.approx(1639.5, abs=0.05)


@published
def test_the_thompson_log_under_a_uniform_policy_has_the_published_figures() -> None:
    log = read(OBD / "bts_all.csv.gz")
    assert log.reward.mean() == 0.0042
    rows = judged(log, Uniform())
    w = rows.weight
    assert (w @ rows.reward) / len(w) == pytest.approx(0.002360, abs=5e-7)
    assert (w @ rows.reward) / w.sum() == pytest.approx(0.002334, abs=5e-7)
    assert w.mean() == pytest.approx(1.0111, abs=5e-5)
    assert w.max() == pytest.approx(277.8, abs=0.05)
    assert w.sum() ** 2 / (w @ w) == pytest.approx(340.4, abs=0.05)


@published
def test_facts_and_rows_are_those_of_the_file_in_the_order_of_time() -> None:
    log = read(OBD / "random_all.csv.gz")
    frame = pl.read_csv(OBD / "random_all.csv.gz").sort("timestamp", maintain_order=True)
    assert [log.arms[k] for k in log.chosen] == [str(item) for item in frame["item_id"]]
    assert (np.asarray(log.position) + 1).tolist() == frame["position"].to_list()
    assert log.reward.tolist() == frame["click"].to_list()
    assert log.context["user_feature_2"].tolist() == frame["user_feature_2"].to_list()
    name = "user-item_affinity_24"
    assert log.context[name].tolist() == frame[name].to_list()
    times = frame["timestamp"].str.to_datetime(time_unit="us", time_zone="UTC").dt.epoch("us")
    assert np.asarray(log.time_us).tolist() == times.to_list()


@published
def test_items_come_in_the_order_of_the_arms() -> None:
    items = read_items(OBD / "random_all_item_context.csv.gz", ("7", "0"))
    assert items["item_feature_0"][1] == -0.49917162609493676
    assert items["item_feature_1"][1] == "aed790911d0344f149be2fb9470d6f0a"
    assert items["item_feature_0"].shape == (2,)
    with pytest.raises(InvalidInput, match="expected a row for each of the 1 items"):
        read_items(OBD / "random_all_item_context.csv.gz", ("80",))


def test_equal_timestamps_stay_in_the_files_order_and_wrong_rows_are_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        ",timestamp,item_id,position,click,propensity_score,user_feature_0\n"
        "0,2019-11-24 00:00:02+00:00,10,3,0,0.5,x\n"
        "1,2019-11-24 00:00:01+00:00,9,1,1,0.25,y\n"
        "2,2019-11-24 00:00:01+00:00,10,3,0,0.125,\n"
        "3,2019-11-24 00:00:01+00:00,9,1,0,0.0,y\n"
        "4,soon,9,1,0,0.5,y\n"
    )
    intake = Intake()
    (log,) = OpenBanditLog(path).chunks(intake)
    assert log.arms == ("9", "10")
    assert log.chosen.tolist() == [0, 1, 1]
    assert log.propensity.tolist() == [0.25, 0.125, 0.5]
    assert np.asarray(log.position).tolist() == [0, 1, 1]
    assert log.context["user_feature_0"].tolist() == ["y", None, "x"]
    assert [(problem.line, problem.field) for problem in intake.problems] == [
        (5, "propensity_score"),
        (6, "timestamp"),
    ]


def test_a_file_without_rows_is_an_empty_log(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("timestamp,item_id,position,click,propensity_score\n")
    assert list(open_log(path).chunks(Intake())) == []
