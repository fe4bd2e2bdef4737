"""Published figures for the Open Bandit Dataset's samples, and the pipeline's own for single bootstraps."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from benchmarks.open_bandit import BOOTSTRAPS, PUBLISHED, OpenBandit, logged, thompson
from optimizer.evaluation.estimators import IPS, SNIPS, ClippedIPS
from optimizer.evaluation.intervals import StudentT
from optimizer.evaluation.judged import judge
from optimizer.evaluation.policies import Uniform
from optimizer.evaluation.support import Support
from optimizer.evaluation.tally import Estimate, Tally

if TYPE_CHECKING:
    from optimizer.evaluation.judged import Policy
    from optimizer.evaluation.log import Log

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
OBP = json.loads((Path(__file__).parent / "golden" / "open_bandit.json").read_text())

pytestmark = pytest.mark.skipif(
    not (SHARED / "obd" / "random_all.csv.gz").exists(), reason="the shared data is not there: set SHARED_DATA"
)


@pytest.fixture(scope="module")
def table() -> OpenBandit:
    return OpenBandit.read()


@pytest.fixture(scope="module")
def quickstart(table: OpenBandit) -> OpenBandit:
    return replace(table, policy=thompson("bts_action_dist_all.npy", table.log.arms))


def judged(log: Log, policy: Policy) -> dict[str, Estimate]:
    target = policy.probabilities(log)
    tally = Tally.of(judge(log, target), Support.of(log, target), [IPS(), SNIPS(), ClippedIPS(10.0)])
    found = tally.estimates(policy.name, log.arms, StudentT())
    assert isinstance(found, list)
    return {each.estimator: each for each in found}


def printed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}"


def test_the_thompson_policy_is_valued_on_the_random_log_as_published(quickstart: OpenBandit) -> None:
    found = judged(quickstart.log, quickstart.policy)
    ips = found["ips"]
    assert printed(ips.value, 6) == "0.004553"
    assert quickstart.log.reward.mean() == pytest.approx(0.0038, abs=1e-12)
    assert printed(ips.value / quickstart.log.reward.mean(), 6) == "1.198126"
    assert quickstart.truth == pytest.approx(0.0042, abs=1e-12)
    assert printed(abs(ips.value - quickstart.truth) / quickstart.truth, 6) == "0.084019"
    assert printed(found["snips"].value, 6) == "0.004776"
    assert printed(found["clipped ips (10)"].value, 6) == "0.003593"
    assert printed(ips.mean_weight, 4) == "0.9533"
    assert printed(ips.largest_weight, 2) == "19.60"
    assert printed(ips.effective, 1) == "1639.5"


def test_the_published_interval_comes_from_resamples_of_our_terms(quickstart: OpenBandit) -> None:
    rows = judge(quickstart.log, quickstart.policy.probabilities(quickstart.log))
    terms, random = IPS().terms(rows)[:, 0], check_random_state(12345)
    means = [random.choice(terms, size=len(terms)).mean() for _ in range(10_000)]
    low, high = np.percentile(means, [2.5, 97.5])
    assert (printed(low, 6), printed(high, 6)) == ("0.001531", "0.009254")


def test_the_uniform_policy_is_valued_on_the_thompson_log_as_recorded() -> None:
    found = judged(logged("bts"), Uniform())
    assert printed(found["ips"].value, 6) == "0.002360"
    assert printed(found["snips"].value, 6) == "0.002334"
    assert printed(found["ips"].mean_weight, 4) == "1.0111"
    assert printed(found["ips"].largest_weight, 1) == "277.8"
    assert printed(found["ips"].effective, 1) == "340.4"


@pytest.mark.parametrize("name", ["ips", "snips"])
def test_over_30_bootstraps_the_published_errors_come_out_to_all_digits(table: OpenBandit, name: str) -> None:
    errors = np.array([table.errors(seed, models=False)[name] for seed in range(BOOTSTRAPS)])
    assert (printed(errors.mean(), 6), printed(errors.std(ddof=1), 6)) == tuple(printed(v, 6) for v in PUBLISHED[name])


@pytest.mark.parametrize("seed", [0, 7])
def test_estimates_with_a_model_are_the_pipelines_in_single_bootstraps(table: OpenBandit, seed: int) -> None:
    """Their errors, recorded by `benchmarks/obp/open_bandit.py`, which are the published ones over all 30."""
    names = {"ipw": "ips", "snipw": "snips"}
    theirs = {names.get(name, name): errors[seed] for name, errors in OBP["errors"].items()}
    with threadpool_limits(1):  # the threads of many small fits wait for each other on a busy machine
        errors = table.errors(seed)
    assert errors == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_pipelines_recorded_errors_are_the_published_ones(name: str) -> None:
    errors = np.array(OBP["errors"][{"ips": "ipw", "snips": "snipw"}.get(name, name)])
    assert (errors.mean(), errors.std(ddof=1)) == pytest.approx(PUBLISHED[name], rel=2e-4)
