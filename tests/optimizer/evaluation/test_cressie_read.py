"""IPS, SNIPS and empirical likelihood against vw-estimators, on random rows and on the Open Bandit sample."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import reduce
from math import inf
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from estimators.bandits import clopper_pearson as vw_clopper_pearson
from estimators.bandits import cressieread, gaussian, ips, snips
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from optimizer.evaluation.clopper_pearson import clopper_pearson
from optimizer.evaluation.cressie_read import CressieRead, Likelihood
from optimizer.evaluation.estimators import IPS, SNIPS
from optimizer.evaluation.intervals import StudentT
from optimizer.evaluation.judged import Judged, judge
from optimizer.evaluation.log import Log
from optimizer.evaluation.policies import Table
from optimizer.evaluation.support import Refusal, Support
from optimizer.evaluation.tally import Tally
from optimizer.evaluation.totals import Totals
from optimizer.evaluation.weights import Weights

if TYPE_CHECKING:
    from typing import Any

SHARED = Path(os.environ.get("SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


def judged(weight: Any, reward: Any) -> Judged:  # noqa: ANN401 - what numpy makes an array of
    w, r = np.asarray(weight, np.float64), np.asarray(reward, np.float64)
    propensity = np.full(len(w), 0.01)
    return Judged(reward=r, propensity=propensity, target=w * propensity, weight=w)


@st.composite
def some_rows(draw: st.DrawFn) -> Judged:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    # Of fewer rows theirs loses an end to rounding now and then, and gives the smallest reward for the upper one.
    n = draw(st.integers(5, 60))
    weight = random.exponential(draw(st.sampled_from([0.5, 1.0, 2.0])), n) * (random.random(n) < 0.7)
    return judged(weight, draw(st.sampled_from([random.random(n), random.binomial(1, 0.2, n)])))


def fed(estimator: Any, rows: Judged) -> Any:  # noqa: ANN401 - vw-estimators has no types
    for p, r, t in zip(rows.propensity.tolist(), rows.reward.tolist(), rows.target.tolist(), strict=True):
        estimator.add_example(p, r, t)
    return estimator


def points(rows: Judged) -> list[float]:
    every = Support(len(rows), 0, np.ones(1), np.ones(1), np.zeros(1))
    found = Tally.of(rows, every, [IPS(), SNIPS()]).estimates("p", ["a"], StudentT())
    assert not isinstance(found, Refusal)
    return [each.value for each in found]


@given(some_rows())
def test_ips_and_snips_are_vw_estimators(rows: Judged) -> None:
    expected = [fed(ips.Estimator(), rows).get(), fed(snips.Estimator(), rows).get()]
    if rows.weight.any():
        assert points(rows) == pytest.approx(expected)


UNIT = Likelihood(reward=(0.0, 1.0))
BOUNDS = st.sampled_from([(0.0, inf), (0.0, 40.0), (0.5, 3.0)])


@given(some_rows(), BOUNDS)
def test_the_estimate_is_vw_estimators(rows: Judged, weight: tuple[float, float]) -> None:
    assert CressieRead.of(rows).value(weight) == pytest.approx(
        fed(cressieread.Estimator(*weight), rows).get(), rel=1e-9, abs=1e-9
    )


@given(some_rows(), BOUNDS, st.sampled_from([0.5, 0.9, 0.95]))
def test_the_interval_is_vw_estimators(rows: Judged, weight: tuple[float, float], confidence: float) -> None:
    expected = fed(cressieread.Interval(*weight, rmin=0, rmax=1), rows).get(1.0 - confidence)
    found = CressieRead.of(rows).ends(Likelihood(confidence, weight, (0.0, 1.0)))
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-8)


@given(some_rows(), st.lists(st.integers(0, 60), max_size=3))
def test_shards_add_up(rows: Judged, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    whole = CressieRead.of(rows)
    shards = [
        CressieRead.of(judged(rows.weight[a:b], rows.reward[a:b]))
        for a, b in zip(edges, edges[1:], strict=False)  # noqa: RUF007 - one more import
    ]
    added = reduce(add, shards, CressieRead())
    assert added.value() == pytest.approx(whole.value())
    assert added.ends(UNIT) == pytest.approx(whole.ends(UNIT))


@given(some_rows(), st.floats(-3.0, 3.0), st.floats(0.1, 10.0))
def test_rewards_on_another_scale_give_the_same_on_that_scale(rows: Judged, shift: float, scale: float) -> None:
    moved = replace(rows, reward=shift + scale * rows.reward)
    low, high = CressieRead.of(rows).ends(UNIT)
    ends = CressieRead.of(moved).ends(Likelihood(reward=(shift, shift + scale)))
    assert ends == pytest.approx((shift + scale * low, shift + scale * high), abs=1e-6)
    assert CressieRead.of(moved).value() == pytest.approx(shift + scale * CressieRead.of(rows).value(), abs=1e-6)


def test_without_bounds_the_rewards_seen_are_the_bounds() -> None:
    rows = judged([0.0, 2.0, 1.0, 1.5], [0.2, 0.4, 0.9, 0.5])
    assert CressieRead.of(rows).ends(Likelihood()) == CressieRead.of(rows).ends(Likelihood(reward=(0.2, 0.9)))


def test_where_every_weight_is_one_it_is_the_mean_reward() -> None:
    rows = judged(np.ones(50), np.arange(50) % 2)
    assert CressieRead.of(rows).value() == pytest.approx(0.5)
    assert CressieRead.of(rows).value((0.5, 2.0)) == pytest.approx(0.5, abs=0.02)


def test_nothing_is_said_of_no_rows() -> None:
    assert np.isnan([CressieRead().value(), *CressieRead().ends(Likelihood())]).all()


def log() -> Log:
    random = np.random.default_rng(1)
    chosen = random.integers(0, 2, 400)
    return Log(
        arms=("a", "b"),
        chosen=chosen,
        propensity=np.full(400, 0.5),
        reward=random.binomial(1, 0.2, 400).astype(float),
        customer=np.arange(400, dtype=np.uint64) // 2,
    )


def test_a_row_of_a_report_says_what_is_assumed() -> None:
    rows = judge(log(), np.tile([0.8, 0.2], (400, 1)))
    sums, weights = CressieRead.of(rows), Weights.of(rows.weight)
    found = UNIT.row("p", sums, weights, 200)
    assert (found.value, found.low, found.high) == (sums.value(), *sums.ends(UNIT))
    assert (found.rows, found.customers, found.matched) == (400, 200, 1.0)
    assert "taken to be independent" in found.warnings[-1]
    assert UNIT.row("p", sums, weights, 400).warnings == ()


@given(some_rows(), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_binomial_interval_is_vw_estimators(rows: Judged, confidence: float) -> None:
    theirs = fed(vw_clopper_pearson.Interval(), rows).get(1.0 - confidence)
    ends = clopper_pearson(float(rows.weight @ rows.reward), Weights.of(rows.weight), confidence)
    if rows.weight.any():
        assert ends == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    else:
        assert np.isnan(ends).all()


def test_the_binomial_interval_is_that_of_the_binomial_distribution() -> None:
    low, high = clopper_pearson(7.0, Weights.of(np.ones(40)))
    assert stats.binom.sf(6, 40, low) == pytest.approx(0.025)
    assert stats.binom.cdf(7, 40, high) == pytest.approx(0.025)


@pytest.mark.skipif(not (SHARED / "obd").exists(), reason="the Open Bandit sample is not there: set SHARED_DATA")
def test_the_open_bandit_sample_gives_the_figures_of_vw_estimators() -> None:
    import polars as pl  # noqa: PLC0415 - only here

    frame = pl.read_csv(SHARED / "obd" / "random_all.csv.gz").sort("timestamp", maintain_order=True)
    positions = frame["position"].to_numpy() - 1
    random = Log(
        arms=tuple(map(str, range(80))),
        chosen=frame["item_id"].to_numpy(),
        propensity=frame["propensity_score"].to_numpy(),
        reward=frame["click"].to_numpy().astype(np.float64),
        position=positions,
    )
    policy = Table("thompson", np.load(SHARED / "obd" / "bts_action_dist_all.npy").reshape(80, 3))
    rows = judge(random, policy.probabilities(random))
    sums = CressieRead.of(rows)
    assert round(sums.value(), 6) == 0.00473
    assert sums.value() == pytest.approx(fed(cressieread.Estimator(), rows).get(), rel=1e-9)
    assert sums.ends(UNIT) == pytest.approx(fed(cressieread.Interval(), rows).get(), abs=1e-9)
    assert points(rows) == pytest.approx([0.004553, 0.004776], abs=5e-7)
    # Its Gaussian interval is Student's t with the normal quantile.
    published = fed(gaussian.Interval(), rows).get()
    assert published == pytest.approx([0.000457, 0.008649], abs=5e-7)
    (ours,) = StudentT().ends([IPS()], Totals.of(IPS().terms(rows), None))
    factor = stats.t.ppf(0.975, 9_999) / stats.norm.ppf(0.975)
    middle = (published[0] + published[1]) / 2
    assert ours == pytest.approx((middle + factor * (published[0] - middle), middle + factor * (published[1] - middle)))
    ends = clopper_pearson(float(rows.weight @ rows.reward), Weights.of(rows.weight))
    assert ends == pytest.approx([0.000687, 0.015074], abs=5e-7)
