from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.evaluation.estimators import IPS, SNIPS, ClippedIPS
from optimizer.evaluation.judged import Judged
from optimizer.evaluation.log import Log
from optimizer.evaluation.slope import CLIPPED_IPS, DR_OS, SWITCH_DR, accepted, choose, intervals, tuned
from optimizer.evaluation.support import Support
from optimizer.evaluation.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.evaluation.estimators import Estimator

ONE_ROW = Log(arms=("a",), chosen=np.zeros(1, np.intp), propensity=np.ones(1), reward=np.ones(1))
NO_MATTER = Support.of(ONE_ROW, np.ones((1, 1)))


def rows(n: int, seed: int, *, heavy: float = 1.0) -> Judged:
    """Weights of mean 1, the heavier the tail the larger `heavy` is, and rewards that do not depend on them."""
    rng = np.random.default_rng(seed)
    weight = rng.lognormal(-(heavy**2) / 2, heavy, n)
    return Judged(
        reward=rng.random(n),
        propensity=np.full(n, 0.1),
        target=0.1 * weight,
        weight=weight,
        predicted=np.full(n, 0.5),
        baseline=np.full(n, 0.5),
    )


def test_estimates_are_believed_until_one_does_not_meet_an_earlier_one() -> None:
    # sqrt(6) - 1 is 1.449: 10 and 8 differ by 2 <= .9 + 1.449; 10 and 7 by 3 > .5 + 1.449.
    assert accepted([10.0, 8.0, 7.0, 10.0], [1.0, 0.9, 0.5, 0.4]) == 2
    assert accepted([10.0, 8.0, 8.1, 9.0], [1.0, 0.9, 0.5, 0.4]) == 4
    # It has to meet all of them: 8.4 and 10 differ by 1.6 <= .2 + 1.449, and 8.4 and 7.7 by .7 > .2 + 1.449 x .3.
    assert accepted([10.0, 7.7, 8.4], [1.0, 0.9, 0.2]) == 3
    assert accepted([10.0, 7.7, 8.4], [1.0, 0.3, 0.2]) == 1
    assert accepted([3.0], [1.0]) == 1


def test_a_width_is_that_of_the_one_sided_t_interval() -> None:
    judged = Judged(reward=np.array([1.0, 2.0, 4.0]), propensity=np.ones(3), target=np.ones(3), weight=np.ones(3))
    values, widths = intervals([IPS()], Tally.of(judged, NO_MATTER, [IPS()]).sums)
    # The squares of the deviations from 7/3 sum to 14/3; t of 2 degrees of freedom at .9 is 1.885618.
    assert values == pytest.approx([7 / 3])
    assert widths == pytest.approx([1.885618 * np.sqrt(14 / 3 / 2 / 3)], rel=1e-6)


def test_a_bias_that_shows_is_not_bought() -> None:
    light = Tally.of(rows(20_000, 1, heavy=0.5), NO_MATTER, (ClippedIPS(100.0), ClippedIPS(0.5)))
    assert choose(light.estimators, light.sums) == 0


def test_less_variance_is_bought_where_no_bias_shows() -> None:
    heavy = Tally.of(rows(2_000, 2, heavy=2.0), NO_MATTER, SWITCH_DR)
    assert choose(heavy.estimators, heavy.sums) == len(SWITCH_DR) - 1


def test_with_one_customer_the_plain_estimator_is_chosen() -> None:
    judged = replace(rows(50, 3), customer=np.zeros(50, np.uint64))
    tally = Tally.of(judged, NO_MATTER, CLIPPED_IPS)
    assert CLIPPED_IPS[choose(CLIPPED_IPS, tally.sums)] == ClippedIPS(float("inf"))


@given(st.integers(0, 99), st.lists(st.integers(0, 300), max_size=4))
def test_of_each_family_one_is_left_in_its_place_whatever_the_shards(seed: int, inner: list[int]) -> None:
    whole = rows(300, seed, heavy=1.5)
    estimators: Sequence[Estimator] = (SNIPS(), *SWITCH_DR, IPS(), *DR_OS, *CLIPPED_IPS)
    ends = [0, *sorted(inner), 300]
    fields = ("reward", "propensity", "target", "weight", "predicted", "baseline")
    shards = [
        Tally.of(Judged(**{name: getattr(whole, name)[start:stop] for name in fields}), NO_MATTER, estimators)
        for start, stop in pairwise(ends)
    ]
    families: Sequence[Sequence[Estimator]] = [SWITCH_DR, DR_OS, CLIPPED_IPS]
    left, once = tuned(Tally.join(shards), families), tuned(Tally.of(whole, NO_MATTER, estimators), families)
    assert left.estimators == once.estimators
    assert [each.name.partition(" (")[0] for each in left.estimators] == [
        "snips",
        "switch-dr",
        "ips",
        "dr-os",
        "clipped ips",
    ]
    alone = Tally.of(whole, NO_MATTER, left.estimators)
    np.testing.assert_allclose(left.sums.moments().sums, alone.sums.moments().sums, rtol=1e-12)


def test_customers_with_many_alike_rows_make_the_intervals_wider() -> None:
    judged = rows(100, 5)
    each = np.repeat(np.arange(100), 10)
    ten = Judged(
        reward=judged.reward[each],
        propensity=judged.propensity[each],
        target=judged.target[each],
        weight=judged.weight[each],
        customer=each.astype(np.uint64),
    )
    _, alone = intervals([IPS()], Tally.of(judged, NO_MATTER, [IPS()]).sums)
    _, grouped = intervals([IPS()], Tally.of(ten, NO_MATTER, [IPS()]).sums)
    assert grouped == pytest.approx(alone)
