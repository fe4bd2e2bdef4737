from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from optimizer.evaluation.estimators import IPS, MIPS
from optimizer.evaluation.folds import fold_of
from optimizer.evaluation.intervals import StudentT
from optimizer.evaluation.judged import judge
from optimizer.evaluation.log import Log
from optimizer.evaluation.marginal import ArmGivenKind, kinds_of, marginal_weights, support_by_kinds
from optimizer.evaluation.support import Refusal, Support
from optimizer.evaluation.tally import Tally

if TYPE_CHECKING:
    from optimizer.evaluation.totals import Floats

CHANNELS = kinds_of(np.array(["email", "email", "sms", "sms"]))


def by_hand() -> tuple[Log, Floats]:
    distribution = np.array([[0.4, 0.1, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25]])
    target = np.array([[0.0, 0.6, 0.1, 0.3], [1.0, 0.0, 0.0, 0.0]])
    log = Log(
        arms=("1e", "2e", "1s", "2s"),
        chosen=np.array([0, 3]),
        propensity=np.array([0.4, 0.25]),
        reward=np.array([1.0, 5.0]),
        distribution=distribution,
    )
    return log, target


def world(n: int, seed: int, arms: int) -> tuple[Log, Floats, float]:
    """Arms of one kind earn alike, and the target does what was never logged: the odd arms. With its true value."""
    rng = np.random.default_rng(seed)
    kinds, x = np.arange(arms) // 4, rng.normal(size=n)
    logged = np.where(np.arange(arms) % 2 == 0, np.exp(0.5 * np.outer(x, np.cos(np.arange(arms)))), 0.0)
    logged /= logged.sum(axis=1, keepdims=True)
    target = np.where(np.arange(arms) % 2 == 1, np.exp(np.outer(x, np.sin(np.arange(arms)))), 0.0)
    target /= target.sum(axis=1, keepdims=True)
    chosen = (logged.cumsum(axis=1) > rng.random((n, 1)) * (1 - 1e-12)).argmax(axis=1)
    mean = 1 / (1 + np.exp(-np.outer(x, np.linspace(-1, 1, arms // 4))))[:, kinds]
    log = Log(
        arms=tuple(map(str, range(arms))),
        chosen=chosen,
        propensity=logged[np.arange(n), chosen],
        reward=(rng.random(n) < mean[np.arange(n), chosen]).astype(np.float64),
        distribution=logged,
        context={"x": x},
    )
    return log, target, float((target * mean).sum(axis=1).mean())


def test_a_kinds_weight_is_the_ratio_of_the_sums_of_its_arms() -> None:
    log, target = by_hand()
    weights = marginal_weights(log, target, {"channel": CHANNELS, "arm": np.arange(4)}, {})
    # E-mail: .6 / .5. SMS: 0 / .5.
    assert weights["channel"] == pytest.approx([1.2, 0.0])
    assert weights["arm"] == pytest.approx(judge(log, target).weight)
    rows = judge(log, target, marginal=weights)
    assert MIPS("channel").terms(rows)[:, 0] == pytest.approx([1.2, 0.0])
    assert MIPS("arm").terms(rows) == pytest.approx(IPS().terms(rows))


def test_with_the_logged_arms_propensity_alone_its_chance_among_its_kind_gives_the_same() -> None:
    log, target = by_hand()
    without = replace(log, distribution=None)
    assert marginal_weights(without, target, {"channel": CHANNELS}, {}) == {}
    given = marginal_weights(without, target, {"channel": CHANNELS}, {"channel": np.array([0.8, 0.5])})
    assert given["channel"] == pytest.approx(marginal_weights(log, target, {"channel": CHANNELS}, {})["channel"])


def test_arms_that_agree_in_all_attributes_are_one_kind() -> None:
    attributes = np.array([["a", "x"], ["a", "y"], ["a", "x"], ["b", "x"]], object)
    kinds = kinds_of(attributes)
    assert kinds[0] == kinds[2]
    assert len(set(kinds.tolist())) == 3


def test_by_kinds_a_policy_is_valued_that_the_log_has_no_support_for() -> None:
    """4.9 standard errors: a false alarm in a million."""
    log, target, truth = world(20_000, 5, 24)
    weights = marginal_weights(log, target, {"kind": np.arange(24) // 4}, {})
    rows = judge(log, target, marginal=weights)
    terms = MIPS("kind").terms(rows)[:, 0]
    assert np.all(IPS().terms(rows) == 0.0)
    assert abs(terms.mean() - truth) < 4.9 * terms.std() / np.sqrt(len(log))
    assert terms.std() / np.sqrt(len(log)) < 0.01


def test_a_policy_is_refused_by_arms_and_judged_by_kinds_where_only_these_have_support() -> None:
    log, target, truth = world(5_000, 8, 24)
    kind = np.arange(24) // 4
    rows = judge(log, target, marginal=marginal_weights(log, target, {"kind": kind}, {}))
    assert isinstance(Tally.of(rows, Support.of(log, target), [IPS()]).estimates("p", log.arms, StudentT()), Refusal)
    kinds = [f"kind {k}" for k in range(6)]
    by_kind = replace(rows, weight=rows.marginal["kind"])
    (found,) = Tally.of(by_kind, support_by_kinds(log, target, kind), [MIPS("kind")]).estimates("p", kinds, StudentT())  # type: ignore[misc]
    assert abs(found.value - truth) < 1.5 * (found.high - found.low)
    assert found.mean_weight == pytest.approx(1.0, abs=0.1)
    elsewhere = np.broadcast_to(np.eye(24)[5], target.shape)
    rest = log.take(kind[log.chosen] != 1)
    refused = support_by_kinds(rest, elsewhere[: len(rest)], kind).refusal("p", kinds)
    assert refused is not None
    assert refused.arms == {"kind 1": 1.0}


def test_without_the_logs_distribution_the_estimated_chances_give_the_same_value_with_little_more_variance() -> None:
    log, target, truth = world(8_000, 6, 24)
    known = MIPS("kind").terms(
        judge(log, target, marginal=marginal_weights(log, target, {"kind": np.arange(24) // 4}, {}))
    )
    without = replace(log, distribution=None, allowed=log.distribution > 0 if log.distribution is not None else None)
    with threadpool_limits(1):
        model = ArmGivenKind.fit(without, np.arange(24) // 4)
    chance = np.concatenate(
        [model.given_kind(without.take(slice(start, start + 3_000)), first=start) for start in range(0, 8_000, 3_000)]
    )
    weights = marginal_weights(without, target, {"kind": np.arange(24) // 4}, {"kind": chance})
    terms = MIPS("kind").terms(judge(without, target, marginal=weights))[:, 0]
    assert abs(terms.mean() - truth) < 4.9 * terms.std() / np.sqrt(len(log))
    assert terms.std() < 1.05 * known.std()


def test_chances_among_the_arms_of_a_kind_sum_to_one_over_the_candidates() -> None:
    log, _, _ = world(400, 7, 8)
    assert log.distribution is not None
    kinds = np.arange(8) // 4
    log = replace(log, distribution=None, allowed=log.distribution > 0)
    model = ArmGivenKind.fit(log, kinds)
    per_arm = np.stack([model.given_kind(replace(log, chosen=np.full(400, k)), first=0) for k in (0, 2)])
    assert per_arm.sum(axis=0) == pytest.approx(np.ones(400))


def test_an_arm_that_is_alone_among_its_kinds_candidates_is_certain() -> None:
    log, _, _ = world(400, 7, 8)
    both = np.zeros((400, 8), np.bool_)
    both[:, [0, 2]] = True
    alone = both.copy()
    alone[:200, 2] = False
    log = replace(log, distribution=None, chosen=np.where(np.arange(400) < 200, 0, 2 * (np.arange(400) % 2)))
    model = ArmGivenKind.fit(replace(log, allowed=alone), np.arange(8) // 4)
    chance = model.given_kind(replace(log, allowed=alone), first=0)
    np.testing.assert_array_equal(chance[:200], 1.0)
    assert np.all(chance[200:] < 0.99)
    assert np.all(model.given_kind(replace(log, allowed=both), first=0)[:200] < 0.999)


def test_a_chance_is_estimated_without_the_rows_own_customer() -> None:
    log, _, _ = world(400, 9, 8)
    kinds = np.arange(8) // 4
    mine = fold_of(log, folds=3, seed=0, first=0) == 0
    other = replace(log, distribution=None, chosen=np.where(mine, 4, log.chosen))
    without = replace(log, distribution=None)
    chance = ArmGivenKind.fit(without, kinds).given_kind(without, first=0)
    np.testing.assert_array_equal(ArmGivenKind.fit(other, kinds).given_kind(without, first=0)[mine], chance[mine])
    assert not np.array_equal(ArmGivenKind.fit(other, kinds).given_kind(without, first=0), chance)
