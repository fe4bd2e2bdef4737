from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import add
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.errors import InvalidInput
from optimizer.evaluation.estimators import IPS, MIPS, SNIPS, ClippedIPS, Estimator, Replay
from optimizer.evaluation.forms import Form
from optimizer.evaluation.judged import Judged, judge
from optimizer.evaluation.log import Log
from optimizer.evaluation.model_based import DR, SNDR, DirectMethod, DRos, SwitchDR
from optimizer.evaluation.support import Support
from optimizer.evaluation.tally import Tally

if TYPE_CHECKING:
    from optimizer.evaluation.totals import Floats

ALL: tuple[Estimator, ...] = (
    DirectMethod(),
    IPS(),
    ClippedIPS(2.0),
    SNIPS(),
    DR(),
    SNDR(),
    SwitchDR(2.0),
    DRos(3.0),
    MIPS("kind"),
    Replay(bound=20.0),
)
ONE_ROW = Log(arms=("a",), chosen=np.zeros(1, np.intp), propensity=np.ones(1), reward=np.ones(1))
NO_MATTER = Support.of(ONE_ROW, np.ones((1, 1)))

# Three rows by hand: the weights are .5 / .25 = 2, .9 / .1 = 9 and 0, the kinds' weights 1, 3 and .5.
BY_HAND = Judged(
    reward=np.array([1.0, 3.0, 5.0]),
    propensity=np.array([0.25, 0.1, 0.5]),
    target=np.array([0.5, 0.9, 0.0]),
    weight=np.array([2.0, 9.0, 0.0]),
    predicted=np.array([0.5, 2.0, 1.0]),
    baseline=np.array([0.4, 1.8, 0.2]),
    marginal={"kind": np.array([1.0, 3.0, 0.5])},
    uniform=np.array([0.05, 0.89, 0.0]),
)
EXPECTED = {
    DirectMethod(): 2.4 / 3,
    IPS(): 29 / 3,
    ClippedIPS(4.0): 14 / 3,
    SNIPS(): 29 / 11,
    # The corrections are 2 x .5 = 1, 9 x 1 = 9 and 0.
    DR(): 12.4 / 3,
    SNDR(): 2.4 / 3 + 10 / 11,
    SwitchDR(2.0): 3.4 / 3,
    SwitchDR(1.9): 2.4 / 3,
    # With lambda 9 the weights become 18 / 13, 81 / 90 and 0.
    DRos(9.0): (2.4 + 9 / 13 + 0.9) / 3,
    MIPS("kind"): 12.5 / 3,
    # With a bound of 10 the chances are .2, .9 and 0: the first two rows are accepted.
    Replay(bound=10.0): 2.0,
}


def value(estimator: Estimator, rows: Judged) -> float:
    terms = estimator.terms(rows)
    return float(estimator.form.estimate(np.array([len(rows), *terms.sum(axis=0)])))


def some_rows(n: int, seed: int, customers: int) -> Judged:
    rng = np.random.default_rng(seed)
    propensity, target = rng.uniform(0.05, 1, n), rng.uniform(0, 1, n)
    return Judged(
        reward=rng.normal(size=n),
        propensity=propensity,
        target=target,
        weight=target / propensity,
        predicted=rng.normal(size=n),
        baseline=rng.normal(size=n),
        marginal={"kind": rng.uniform(0, 3, n)},
        uniform=rng.random(n),
        customer=rng.integers(0, customers, n).astype(np.uint64),
    )


def part(rows: Judged, which: slice) -> Judged:
    fields = {name: getattr(rows, name)[which] for name in ("reward", "propensity", "target", "weight")}
    assert rows.predicted is not None
    assert rows.baseline is not None
    assert rows.uniform is not None
    return Judged(
        **fields,
        predicted=rows.predicted[which],
        baseline=rows.baseline[which],
        marginal={name: each[which] for name, each in rows.marginal.items()},
        uniform=rows.uniform[which],
        customer=None if rows.customer is None else rows.customer[which],
    )


def estimates(tally: Tally) -> list[float]:
    moments, found, first = tally.sums.moments(), [], 0
    for each in tally.estimators:
        mine = range(first, first + each.form.terms)
        first = mine.stop
        found.append(float(each.form.estimate(moments.take(mine).sums)))
    return found


@pytest.mark.parametrize("estimator", EXPECTED, ids=lambda each: each.name)
def test_three_rows_give_what_was_worked_out_by_hand(estimator: Estimator) -> None:
    assert value(estimator, BY_HAND) == pytest.approx(EXPECTED[estimator], rel=1e-14)


@pytest.mark.parametrize("estimator", ALL, ids=lambda each: each.name)
def test_an_estimator_has_as_many_terms_as_its_form_takes(estimator: Estimator) -> None:
    assert estimator.terms(BY_HAND).shape == (3, estimator.form.terms)


@given(st.data())
@settings(max_examples=40)
def test_no_cut_into_shards_and_no_grouping_of_customers_changes_an_estimate(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    rows = some_rows(n, data.draw(st.integers(0, 99)), data.draw(st.integers(1, 80)))
    inner = data.draw(st.lists(st.integers(0, n), max_size=5))
    shards = [
        Tally.of(part(rows, slice(start, stop)), NO_MATTER, ALL) for start, stop in pairwise([0, *sorted(inner), n])
    ]
    alone = replace(rows, customer=None)
    whole = estimates(Tally.of(alone, NO_MATTER, ALL))
    assert estimates(Tally.join(shards)) == pytest.approx(whole, rel=1e-9, abs=1e-9, nan_ok=True)
    # Of the same shards in the same order, to the last digit, whether they are joined at once or one by one.
    np.testing.assert_array_equal(estimates(reduce(add, shards)), estimates(Tally.join(shards)))


def test_parameters_at_their_ends_give_the_estimators_between_which_they_lead() -> None:
    rows = some_rows(500, 1, 500)
    inf = float("inf")
    assert value(ClippedIPS(inf), rows) == value(IPS(), rows)
    assert value(SwitchDR(inf), rows) == value(DRos(inf), rows) == value(DR(), rows)
    assert value(SwitchDR(0.0), rows) == value(DRos(0.0), rows) == value(DirectMethod(), rows)
    assert value(DRos(1e12), rows) == pytest.approx(value(DR(), rows), rel=1e-9)


@given(st.integers(1, 200), st.floats(-5, 5), st.floats(0.1, 10))
@settings(max_examples=30)
def test_self_normalised_estimators_move_with_the_rewards(n: int, shift: float, scale: float) -> None:
    rows = some_rows(n, 3, n)
    assert rows.predicted is not None
    assert rows.baseline is not None
    moved = replace(rows, reward=rows.reward + shift)
    assert value(SNIPS(), moved) == pytest.approx(value(SNIPS(), rows) + shift, abs=1e-9)
    assert value(SNDR(), moved) == pytest.approx(value(SNDR(), rows) + shift, abs=1e-9)
    heavier = replace(rows, weight=scale * rows.weight)
    assert value(SNIPS(), heavier) == pytest.approx(value(SNIPS(), rows), rel=1e-9)


@pytest.mark.parametrize("estimator", [DirectMethod(), DR(), SNDR(), SwitchDR(1.0), DRos(1.0), MIPS("message")])
def test_an_estimator_says_what_it_misses(estimator: Estimator) -> None:
    ones = np.ones(2)
    with pytest.raises(ValueError, match="needs the"):
        estimator.terms(Judged(reward=ones, propensity=ones, target=ones, weight=ones))


def test_replay_takes_no_bound_that_a_weight_exceeds() -> None:
    with pytest.raises(InvalidInput, match=r"given 8 as a bound of the weights, and one is 9"):
        Replay(bound=8.0).terms(BY_HAND)


def test_replay_accepts_what_the_target_would_have_drawn() -> None:
    """Of a uniform log of 4 arms a quarter is accepted, with the target's frequencies; alarms with 1e-6 at most."""
    rng, n, k = np.random.default_rng(7), 40_000, 4
    log = Log(
        arms=("a", "b", "c", "d"),
        chosen=rng.integers(0, k, n),
        propensity=np.full(n, 1 / k),
        reward=rng.normal(size=n),
    )
    target = np.array([0.1, 0.2, 0.3, 0.4])
    rows = judge(log, np.broadcast_to(target, (n, k)), uniform=rng.random(n))
    accepted = Replay(bound=k).terms(rows)[:, 1] > 0
    count = np.bincount(log.chosen[accepted], minlength=k)
    assert abs(accepted.sum() - n / k) < 4.9 * np.sqrt(n / k * (1 - 1 / k))
    assert np.all(np.abs(count - count.sum() * target) < 5.2 * np.sqrt(count.sum() * target * (1 - target)))
    # Where the target always does the same, exactly the rows in which that was logged.
    always = judge(log, np.broadcast_to(np.eye(k)[2], (n, k)), uniform=rows.uniform)
    assert value(Replay(bound=k), always) == pytest.approx(log.reward[log.chosen == 2].mean(), rel=1e-12)


@pytest.mark.parametrize("form", Form)
def test_gradients_of_the_forms_are_those_of_finite_differences(form: Form) -> None:
    sums: Floats = np.array([7.0, 3.0, 2.5, 4.0])[: 1 + form.terms]
    steps = 1e-6 * np.eye(len(sums))
    numeric = [(form.estimate(sums + step) - form.estimate(sums - step)) / 2e-6 for step in steps]
    assert form.gradient(sums) == pytest.approx(numeric, rel=1e-7, abs=1e-9)
