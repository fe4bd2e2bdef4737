"""What is said of one policy and of the difference of two, and when nothing is."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from operator import add
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from optimizer.evaluation.differences import differences
from optimizer.evaluation.estimators import IPS, SNIPS
from optimizer.evaluation.intervals import StudentT
from optimizer.evaluation.judged import judge, judge_logged
from optimizer.evaluation.log import Log
from optimizer.evaluation.policies import Constant, Uniform
from optimizer.evaluation.support import Refusal, Support
from optimizer.evaluation.tally import Estimate, Tally
from optimizer.evaluation.weights import Weights

if TYPE_CHECKING:
    from optimizer.evaluation.judged import Policy

ARMS = ("a", "b", "c")
ESTIMATORS = (IPS(), SNIPS())


def make_log(seed: int, n: int = 60, *, with_customers: bool = True) -> Log:
    random = np.random.default_rng(seed)
    distribution = random.dirichlet([2.0, 2.0, 2.0], n)
    chosen = (distribution.cumsum(axis=1) < random.random(n)[:, None]).sum(axis=1).clip(max=2)
    return Log(
        arms=ARMS,
        chosen=chosen,
        propensity=distribution[np.arange(n), chosen],
        reward=random.normal(chosen, 1.0),
        distribution=distribution,
        customer=random.integers(0, 15, n).astype(np.uint64) if with_customers else None,
    )


def tally(log: Log, policy: Policy, *, keep: bool = True) -> Tally:
    target = policy.probabilities(log)
    return Tally.of(judge(log, target), Support.of(log, target), ESTIMATORS, keep=keep)


def said(found: list[Estimate] | Refusal) -> list[Estimate]:
    assert not isinstance(found, Refusal), str(found)
    return found


def numbers(found: list[Estimate]) -> list[float]:
    return [x for e in found for x in (e.value, e.low, e.high, e.effective, e.mean_weight, e.largest_weight, e.matched)]


@given(st.integers(0, 2**32), st.lists(st.integers(0, 60), max_size=3), st.tuples(st.booleans(), st.booleans()))
def test_tallies_of_chunks_say_what_the_whole_log_says(seed: int, cuts: list[int], kept: tuple[bool, bool]) -> None:
    with_customers, keep = kept
    log = make_log(seed, with_customers=with_customers)
    policy = Constant("b")
    whole = said(tally(log, policy).estimates("p", ARMS, StudentT()))
    edges = [0, *sorted(cuts), 60]
    parts = [tally(log.take(slice(a, b)), policy, keep=keep) for a, b in pairwise(edges)]
    for found in (Tally.join(parts), reduce(add, parts)):
        estimates = said(found.estimates("p", ARMS, StudentT()))
        assert numbers(estimates) == pytest.approx(numbers(whole), rel=1e-9, nan_ok=True)
        assert [e.customers for e in estimates] == [e.customers for e in whole]
        assert {e.rows for e in estimates} == {60}


def test_a_later_chunk_may_know_more_arms() -> None:
    first = Log(arms=("a",), chosen=np.zeros(3, np.intp), propensity=np.ones(3), reward=np.array([1.0, 2.0, 3.0]))
    later = Log(
        arms=("a", "b"),
        chosen=np.array([0, 1, 1, 1]),
        propensity=np.full(4, 0.5),
        reward=np.array([1.0, 5.0, 6.0, 7.0]),
    )
    for parts in ([first, later], [later, first]):
        both = Tally.join([tally(each, Uniform()) for each in parts])
        assert both.support.drawn.tolist() == [4.0, 3.0]
        assert both.support.wanted.tolist() == [5.0, 2.0]
        estimates = said(both.estimates("uniform", later.arms, StudentT()))
        assert estimates[0].value == pytest.approx((1 + 2 + 3 + 1 + 5 + 6 + 7) / 7)


def test_an_estimate_says_all_of_its_rows_by_hand() -> None:
    log = Log(
        arms=("a", "b"),
        chosen=np.array([0, 1, 1, 0]),
        propensity=np.array([0.5, 0.25, 0.5, 0.8]),
        reward=np.array([1.0, 2.0, 3.0, 4.0]),
    )
    ips, snips = said(tally(log, Constant("b")).estimates("always b", log.arms, StudentT(0.9)))
    weighted = np.array([0.0, 8.0, 6.0, 0.0])
    interval = stats.t.interval(0.9, 3, weighted.mean(), stats.sem(weighted))
    assert (ips.value, ips.low, ips.high) == pytest.approx((3.5, *interval))
    assert snips.value == pytest.approx(14 / 6)
    assert (ips.rows, ips.customers, ips.largest_weight, ips.mean_weight, ips.matched) == (4, 4, 4.0, 1.5, 0.5)
    assert ips.effective == pytest.approx(36 / 20)
    assert (ips.policy, ips.estimator, ips.interval, ips.confidence) == ("always b", "ips", "student t", 0.9)
    assert [w.split(":")[0] for w in ips.warnings] == [
        "the effective sample size is 2",
        "one row has 67% of all weight",
    ]


def test_the_logged_policy_is_the_mean_reward() -> None:
    log = make_log(1, with_customers=False)
    rows = judge_logged(log)
    support = Support.of(log, np.eye(3)[log.chosen])
    for estimate in said(Tally.of(rows, support, ESTIMATORS).estimates("logged", ARMS, StudentT())):
        assert (estimate.value, estimate.mean_weight) == pytest.approx((log.reward.mean(), 1.0))
        assert (estimate.low, estimate.high) == pytest.approx(
            stats.t.interval(0.95, 59, log.reward.mean(), stats.sem(log.reward))
        )


def test_an_arm_that_was_never_logged_is_refused_with_its_share() -> None:
    log = Log(arms=ARMS, chosen=np.array([0, 1]), propensity=np.array([0.5, 0.5]), reward=np.ones(2))
    refusal = tally(log, Uniform()).estimates("uniform", ARMS, StudentT())
    assert refusal == Refusal("uniform", {"c": 1 / 3})
    assert str(refusal) == "uniform cannot be judged: the log has nothing on c (33.33% of its choices)"


def test_an_arm_that_could_not_be_drawn_in_some_rows_is_refused_with_the_share_of_these() -> None:
    """It was drawn in other rows, so its weights look sound: only the candidates tell."""
    log = Log(
        arms=("a", "b"),
        chosen=np.array([0, 1, 0, 0]),
        propensity=np.array([0.5, 0.5, 0.5, 1.0]),
        reward=np.ones(4),
        allowed=np.array([[True, True], [True, True], [True, True], [True, False]]),
        distribution=np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0], [1.0, 0.0]]),
    )
    half = np.full((4, 2), 0.5)
    refusal = Tally.of(judge(log, half), Support.of(log, half), ESTIMATORS).estimates("half", log.arms, StudentT())
    assert refusal == Refusal("half", {"b": 0.25})
    blind = Log(arms=log.arms, chosen=log.chosen, propensity=log.propensity, reward=log.reward, allowed=log.allowed)
    refusal = Tally.of(judge(blind, half), Support.of(blind, half), ESTIMATORS).estimates("half", log.arms, StudentT())
    assert refusal == Refusal("half", {"b": 0.125})


def test_rows_in_which_the_policy_can_do_nothing_are_refused() -> None:
    log = Log(
        arms=("a", "b"),
        chosen=np.array([0, 1]),
        propensity=np.array([1.0, 0.5]),
        reward=np.ones(2),
        allowed=np.array([[True, False], [True, True]]),
    )
    refusal = tally(log, Constant("b")).estimates("always b", log.arms, StudentT())
    assert refusal == Refusal("always b", {}, 0.5)
    assert str(refusal) == "always b cannot be judged: in 50.00% of the rows none of its arms is a candidate"


def test_where_no_row_has_weight_there_is_no_number() -> None:
    log = Log(arms=("a", "b"), chosen=np.array([0, 0, 1]), propensity=np.full(3, 0.5), reward=np.ones(3))
    nothing = Tally.of(
        judge(log.take(slice(0, 2)), np.array([[0.0, 1.0]] * 2)), Support.of(log, np.ones((3, 2)) / 2), [SNIPS()]
    )
    (snips,) = said(nothing.estimates("always b", log.arms, StudentT()))
    assert np.isnan([snips.value, snips.low, snips.high]).all()
    assert "undefined: no row has any weight" in snips.warnings


def test_a_mean_weight_that_is_not_near_one_is_warned_of_and_one_that_is_near_is_not() -> None:
    random = np.random.default_rng(4)
    right, wrong = random.exponential(1.0, 10_000), random.exponential(1.1, 10_000)
    assert Weights.of(right).warnings() == []
    assert [w[:18] for w in Weights.of(wrong).warnings()] == ["the mean weight is"]
    assert Weights.of(np.ones(200)).warnings() == []


def test_other_estimators_are_not_added() -> None:
    log = make_log(5)
    target = Uniform().probabilities(log)
    other = Tally.of(judge(log, target), Support.of(log, target), [SNIPS()])
    with pytest.raises(ValueError, match="other estimators"):
        tally(log, Uniform()) + other


@given(st.integers(0, 2**32))
def test_the_difference_of_two_policies_is_that_of_paired_rows(seed: int) -> None:
    log = make_log(seed, with_customers=False)
    one, other = tally(log, Constant("a")), tally(log, Uniform())
    ips, snips = said(differences(("a", "u"), one, other, ARMS, StudentT()))
    assert (ips.policy, ips.estimator) == ("a - u", "ips")
    w, v = (judge(log, p.probabilities(log)).weight for p in (Constant("a"), Uniform()))
    paired = (w - v) * log.reward
    assert ips.value == pytest.approx(paired.mean())
    assert (ips.low, ips.high) == pytest.approx(stats.t.interval(0.95, 59, paired.mean(), stats.sem(paired)))
    values = [(x * log.reward).sum() / x.sum() for x in (w, v)]
    residual = w * (log.reward - values[0]) / w.mean() - v * (log.reward - values[1]) / v.mean()
    half = stats.t.ppf(0.975, 59) * stats.sem(residual)
    assert (snips.value, snips.high - snips.value) == pytest.approx((values[0] - values[1], half))


def test_the_difference_to_itself_is_zero_without_an_interval() -> None:
    one = tally(make_log(6), Uniform())
    for estimate in said(differences(("u", "u"), one, one, ARMS, StudentT())):
        assert estimate.value == 0.0
        assert np.isnan([estimate.low, estimate.high]).all()


def test_policies_are_compared_by_the_same_estimators_on_kept_totals_and_where_both_can_be_judged() -> None:
    log = make_log(7, with_customers=False)
    one = tally(log, Uniform())
    with pytest.raises(TypeError, match="keep totals"):
        differences(("u", "v"), one, tally(log, Uniform(), keep=False), ARMS, StudentT())
    target = Uniform().probabilities(log)
    with pytest.raises(ValueError, match="same estimators"):
        differences(("u", "v"), one, Tally.of(judge(log, target), Support.of(log, target), [IPS()]), ARMS, StudentT())
    nothing = tally(log, Constant("nowhere"))
    assert differences(("u", "always nowhere"), one, nothing, ARMS, StudentT()) == Refusal("always nowhere", {}, 1.0)
