"""Policies are judged on the same rows, and what the log cannot tell is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from optimizer.errors import InvalidInput
from optimizer.evaluation.bootstrap import Bootstrap
from simulator.comparison.comparing import Question, compare
from simulator.logs.reading import Intake
from simulator.workers import Here
from tests.simulator.comparison.worlds import SIDES, Memory, changed, truth, two_sides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from optimizer.evaluation.log import Log
    from simulator.comparison.results import Comparison, PolicyResult


def compared(log: Log, question: Question | None = None, *, size: int = 50_000) -> Comparison:
    return compare("log", Memory(log, size), Intake(), question or Question(campaigns={}), Here())


def named(comparison: Comparison, name: str) -> PolicyResult:
    return next(each for each in comparison.policies if each.name == name)


@pytest.fixture(scope="module")
def sides() -> Comparison:
    question = Question(campaigns={"sides": SIDES}, publish_every=500)
    return compared(two_sides(6_000), question, size=1_700)


@pytest.mark.parametrize(
    ("name", "p"),
    [
        ("always a", [[1, 0, 0], [1, 0, 0]]),
        ("always b", [[0, 1, 0], [0, 1, 0]]),
        ("always no_send", [[0, 0, 1], [0, 0, 1]]),
        ("uniform", [[1 / 3] * 3] * 2),
        ("logged", [[0.2, 0.5, 0.3], [0.5, 0.2, 0.3]]),
    ],
)
def test_the_truth_lies_in_the_interval_of_each_estimator(sides: Comparison, name: str, p: list[list[float]]) -> None:
    # The seed is fixed. Of the direct method nothing is promised: its interval does not know how wrong the model is.
    for estimate in named(sides, name).estimates:
        if estimate.estimator != "dm":
            assert estimate.low < truth(np.array(p)) < estimate.high, estimate


def test_a_policy_that_learns_comes_first_and_is_worth_what_it_has_come_to_do(sides: Comparison) -> None:
    best = sides.judged[0]
    assert (best.name, best.rank, best.verdict) == ("sides", 1, "better")
    optimum = truth(np.eye(3)[[0, 1]])
    assert truth(np.full((2, 3), 1 / 3)) < best.estimates[0].value < optimum
    last = best.over_time[-1].here
    assert last.low is not None
    assert last.high is not None
    assert last.low < optimum < last.high + 0.03  # it explores a little to the end
    assert best.learning is not None
    assert best.learning.learned == 5_500


def test_ranks_go_from_the_best_down_and_steps_are_between_neighbours(sides: Comparison) -> None:
    values = [each.estimates[0].value for each in sides.judged]
    assert values == sorted(values, reverse=True)
    assert [each.rank for each in sides.judged] == list(range(1, 7))
    for step, (better, worse) in zip(sides.steps, pairwise(sides.judged), strict=True):
        assert (step.better, step.worse) == (better.name, worse.name)
        assert step.lift.value == pytest.approx(better.estimates[0].value - worse.estimates[0].value)


def test_a_difference_on_the_same_rows_is_surer_than_of_two_logs(sides: Comparison) -> None:
    # Two constant arms never meet in one row, and the logged policy meets each in every row that drew it.
    constant, logged = named(sides, "always b"), named(sides, "logged")
    assert constant.lift is not None
    apart = sqrt(sum((e.high - e.low) ** 2 for e in (constant.by("snips"), logged.by("snips"))))
    by_snips = compared(two_sides(6_000), Question(campaigns={}, estimator="snips"))
    lift = named(by_snips, "always b").lift
    assert lift is not None
    assert lift.high - lift.low < 0.95 * apart


def test_the_interval_of_a_difference_is_that_of_the_rows_differences() -> None:
    log = two_sides(3_000)
    found = compared(log, Question(campaigns={}, estimator="ips"))
    lift = named(found, "always a").lift
    assert lift is not None
    row = (log.chosen == 0) / log.propensity * log.reward - log.reward
    expected = stats.ttest_1samp(row, 0.0).confidence_interval()
    assert lift.value == pytest.approx(row.mean())
    assert (lift.low, lift.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("each", [1, 3])
def test_chunks_and_workers_make_no_difference(each: int) -> None:
    log = two_sides(2_500, each=each)
    question = Question(campaigns={"sides": SIDES}, publish_every=400, estimator="snips")

    class Elsewhere:
        """Takes all parts first, and sends them through bytes."""

        def map(self, function: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
            import pickle  # noqa: PLC0415

            for part in list(parts):
                yield pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(function))(part)))  # noqa: S301

    here = compare("log", Memory(log, 600), Intake(), question, Here())
    assert compare("log", Memory(log, 600), Intake(), question, Elsewhere()).dumps() == here.dumps()
    whole = compared(log, question)
    for one, other in zip(whole.policies, here.policies, strict=True):
        assert one.name == other.name
        for a, b in zip(one.estimates, other.estimates, strict=True):
            assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), rel=1e-9)


@pytest.mark.parametrize("learning", [False, True])
def test_a_log_in_parts_is_judged_as_one_in_chunks(*, learning: bool) -> None:
    @dataclass(frozen=True)
    class Rows:
        log: Log

        def read(self, intake: Intake | None = None) -> Log:
            if intake is not None:
                intake.taken += len(self.log)
            return self.log

    class Parted(Memory):
        def parts(self) -> list[Rows]:
            return [Rows(self.log.take(slice(start, start + 700))) for start in range(0, len(self.log), 700)]

    log = two_sides(2_000)
    question = Question(campaigns={"sides": SIDES} if learning else {}, publish_every=300)
    chunks, parts = Intake(), Intake()
    one = compare("log", Memory(log, 300), chunks, question, Here())
    other = compare("log", Parted(log, 300), parts, question, Here())
    assert chunks.taken == parts.taken == 2_000
    for a, b in zip(one.policies, other.policies, strict=True):
        assert a.name == b.name
        assert [e.value for e in a.estimates] == pytest.approx([e.value for e in b.estimates])


def test_a_policy_may_not_have_the_name_of_another() -> None:
    with pytest.raises(InvalidInput, match="two policies are called 'uniform'"):
        compared(two_sides(100), Question(campaigns={"uniform": SIDES}))


def test_a_log_that_changes_while_it_is_read_is_an_error() -> None:
    class Growing(Memory):
        def chunks(self, intake: Intake) -> Iterator[Log]:
            # The first look has an intake with a file for rejected rows.
            for _ in range(2 if intake.rejects is None else 1):
                yield from Memory.chunks(self, intake)

    with Intake(Path("none")) as intake, pytest.raises(InvalidInput, match="had 100 decisions, and then 200"):
        compare("log", Growing(two_sides(100)), intake, Question(campaigns={}, estimator="snips"), Here())


def test_customers_with_several_rows_are_one_unit() -> None:
    log = two_sides(4_000, each=40)
    clustered = named(compared(log), "always a").by("ips")
    alone = named(compared(replace(log, customer=None)), "always a").by("ips")
    assert (clustered.customers, alone.customers) == (100, 4_000)
    assert clustered.value == pytest.approx(alone.value)
    assert clustered.high - clustered.low > 1.15 * (alone.high - alone.low)
    distinct = replace(log, customer=np.arange(4_000, dtype=np.uint64))
    assert named(compared(distinct), "always a").by("ips") == alone


def test_a_bootstrap_agrees_with_student_where_there_are_many_rows() -> None:
    log = two_sides(3_000)
    by_t = compared(log, Question(campaigns={}, estimator="snips"))
    resampled = compared(log, Question(campaigns={}, estimator="snips", interval=Bootstrap(resampled=400)))
    for name in ("always a", "uniform"):
        one, other = named(by_t, name), named(resampled, name)
        for estimates in ((one.by("snips"), other.by("snips")), (one.lift, other.lift)):
            assert estimates[0] is not None
            assert estimates[1] is not None
            width = estimates[0].high - estimates[0].low
            assert estimates[1].low == pytest.approx(estimates[0].low, abs=0.1 * width)
            assert estimates[1].high == pytest.approx(estimates[0].high, abs=0.1 * width)


def test_an_arm_that_the_log_has_never_tried_is_a_refusal_with_its_share() -> None:
    more = changed(catalog={"messages": [{"id": "a"}, {"id": "b"}, {"id": "gift"}], "no_send": True})
    found = compared(two_sides(800), Question(campaigns={"more": more}))
    refused = named(found, "more")
    assert refused.rank is None
    assert refused.estimates == ()
    assert refused.refusal is not None
    assert set(refused.refusal.arms) == {"gift"}
    assert 0.05 < refused.refusal.arms["gift"] < 0.5
    assert found.log.arms["gift"] == 0
    assert [each.name for each in found.policies][-1] == "more"


def test_an_arm_that_the_campaign_does_not_have_is_told_with_its_rows() -> None:
    fewer = changed(catalog={"messages": [{"id": "a"}], "no_send": True})
    log = two_sides(1_000)
    learning = named(compared(log, Question(campaigns={"fewer": fewer})), "fewer").learning
    assert learning is not None
    assert learning.unlearnable == {"b": int(np.count_nonzero(log.chosen == 1))}


def test_a_constant_arm_is_replaced_by_no_send_where_it_is_no_candidate_and_refused_without_it() -> None:
    log = two_sides(1_000)
    allowed = np.ones((1_000, 3), np.bool_)
    allowed[:500, 0] = log.chosen[:500] == 0
    part = replace(log, allowed=allowed, distribution=None)
    assert named(compared(part), "always a").rank is not None
    other = compared(replace(part, arms=("a", "b", "c")))
    refusal = named(other, "always a").refusal
    assert refusal is not None
    assert refusal.unable == pytest.approx(np.count_nonzero(~allowed[:, 0]) / 1_000)


def test_a_log_without_context_is_ranked_by_snips_and_has_no_model() -> None:
    found = compared(replace(two_sides(500), context={}))
    assert found.method.estimator == "snips"
    assert found.method.model is None
    assert compared(two_sides(500)).method.estimator == "dr"


def test_propensities_that_cannot_be_right_are_told() -> None:
    assert compared(two_sides(3_000)).audit.holds
    log = replace(two_sides(3_000), distribution=None)
    doubtful = compared(replace(log, propensity=np.full(3_000, 1 / 3))).audit
    assert not doubtful.holds
    assert doubtful.told.startswith("They are doubtful: 4 sums")
    proven = compared(replace(log, propensity=log.propensity / 2.0)).audit
    assert proven.told.startswith("They cannot be right, and whatever rests on them is wrong")


def test_sequences_need_the_bounds_of_rewards_and_hold_the_truth_at_the_end() -> None:
    log = two_sides(4_000)
    found = named(compared(log), "always a")
    always = found.over_time[-1].always
    assert always is not None
    assert always.low is not None
    assert always.high is not None
    assert always.low < truth(np.eye(3)[[0, 0]]) < always.high
    dollars = replace(log, reward=log.reward * 7.0)
    assert named(compared(dollars), "always a").over_time[-1].always is None
    known = named(compared(dollars, Question(campaigns={}, rewards=(0.0, 7.0))), "always a").over_time[-1].always
    assert known is not None
    assert known.low == pytest.approx(7.0 * always.low)
    with pytest.raises(InvalidInput, match="go from 0 to 7, which is not within 0 and 1"):
        compared(dollars, Question(campaigns={}, rewards=(0.0, 1.0)))


def test_a_log_without_any_decision_is_an_error_that_says_what_there_was() -> None:
    with pytest.raises(InvalidInput, match="no decision that could be judged: 0 rows rejected"):
        compare("empty.csv", Memory(two_sides(0)), Intake(), Question(campaigns={}), Here())


def test_the_result_is_json_without_anything_that_json_does_not_have(sides: Comparison) -> None:
    body = json.loads(sides.dumps(), parse_constant=pytest.fail)
    assert body["version"] == 1
    assert {each["name"] for each in body["policies"]} == {each.name for each in sides.policies}
    assert body["policies"][0]["over_time"][-1]["rows"] == 6_000
    assert body["policies"][0]["estimates"][0]["value"] == sides.judged[0].estimates[0].value
