"""Our estimates beside those of the Open Bandit Pipeline, recorded in `golden` by `benchmarks/obp/golden.py`."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from optimizer.evaluation.estimators import IPS, MIPS, SNIPS, ClippedIPS, Replay
from optimizer.evaluation.judged import Judged, judge
from optimizer.evaluation.log import Log
from optimizer.evaluation.marginal import kinds_of, marginal_weights
from optimizer.evaluation.model_based import DR, SNDR, DirectMethod, DRos, SwitchDR
from optimizer.evaluation.slope import accepted, intervals, tuned
from optimizer.evaluation.support import Support
from optimizer.evaluation.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from optimizer.evaluation.estimators import Estimator

GOLDEN = Path(__file__).parent / "golden"
OBP = json.loads((GOLDEN / "obp.json").read_text())
EQUAL = 1e-6
FAMILIES: dict[str, Callable[[float], Estimator]] = {"clipped ips": ClippedIPS, "switch-dr": SwitchDR, "dr-os": DRos}
ATTRIBUTES = ["".join(some) for size in (1, 2, 3) for some in combinations("012", size)]

Case = tuple[Log, np.ndarray[Any, np.dtype[np.float64]], Judged]


@pytest.fixture(params=OBP["cases"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def said(name: str) -> dict[str, Any]:
    found: dict[str, Any] = OBP["cases"][name]
    return found


@pytest.fixture
def case(name: str) -> Case:
    rows = np.load(GOLDEN / f"{name}.npz")
    chosen, logged = rows["action"], rows["logged"]
    log = Log(
        arms=tuple(f"a{k}" for k in range(logged.shape[1])),
        chosen=chosen,
        propensity=logged[np.arange(len(chosen)), chosen],
        reward=rows["reward"],
        distribution=logged,
    )
    attributes = np.array(OBP["kinds"])
    kinds = {some: kinds_of(attributes[:, [int(d) for d in some]]) for some in ATTRIBUTES}
    marginal = marginal_weights(log, rows["target"], kinds, {})
    return log, rows["target"], judge(log, rows["target"], predictions=rows["q"], marginal=marginal)


def value(estimator: Estimator, rows: Judged) -> float:
    terms = estimator.terms(rows)
    return float(estimator.form.estimate(np.array([len(rows), *terms.sum(axis=0)])))


@pytest.mark.parametrize("estimator", [DirectMethod(), IPS(), SNIPS(), DR(), SNDR()], ids=lambda each: each.name)
def test_estimates_without_a_parameter_are_the_pipelines(
    case: Case, said: dict[str, Any], estimator: Estimator
) -> None:
    assert value(estimator, case[2]) == pytest.approx(said[estimator.name], abs=EQUAL)


@pytest.mark.parametrize("family", FAMILIES)
def test_estimates_and_intervals_with_each_value_of_a_parameter_are_the_pipelines(
    case: Case, said: dict[str, Any], family: str
) -> None:
    log, target, rows = case
    candidates = [FAMILIES[family](parameter) for parameter in OBP["parameters"]]
    tally = Tally.of(rows, Support.of(log, target), candidates)
    values, widths = intervals(candidates, tally.sums, 1 - OBP["delta"])
    assert values == pytest.approx(said[family]["values"], abs=EQUAL)
    assert widths == pytest.approx(said[family]["widths"], abs=EQUAL)


@pytest.mark.parametrize("family", FAMILIES)
def test_slope_chooses_in_one_pass_what_the_pipeline_chooses(case: Case, said: dict[str, Any], family: str) -> None:
    log, target, rows = case
    candidates = [FAMILIES[family](parameter) for parameter in reversed(OBP["parameters"])]
    tally = Tally.of(rows, Support.of(log, target), [IPS(), *candidates, SNDR()], keep=False)
    left = tuned(tally, [candidates], 1 - OBP["delta"])
    assert [each.name for each in left.estimators] == ["ips", FAMILIES[family](said[family]["chosen"]).name, "sndr"]
    estimate = left.estimators[1].form.estimate(left.sums.moments().take([1]).sums)
    assert float(estimate) == pytest.approx(said[family]["slope"], abs=EQUAL)


def test_some_of_the_pipelines_choices_are_inside_its_candidates() -> None:
    chosen = {each[family]["chosen"] for each in OBP["cases"].values() for family in FAMILIES}
    assert len(chosen & set(OBP["parameters"][1:-1])) > 1


def test_estimates_by_kinds_of_arms_are_the_pipelines(case: Case, said: dict[str, Any]) -> None:
    ours = {some: value(MIPS(some), case[2]) for some in ATTRIBUTES}
    assert ours == pytest.approx({some: each["value"] for some, each in said["mips"]["estimates"].items()}, abs=EQUAL)


def test_attributes_are_left_out_as_the_pipeline_leaves_them_out(said: dict[str, Any]) -> None:
    products = said["mips"]["products"]
    order = sorted(products, key=lambda some: (-len(some), -products[some]["width"]))
    values, widths = ([products[some][what] for some in order] for what in ("value", "width"))
    believed = accepted(values, widths)
    # Where it believes all of them, it takes the last but one.
    assert values[min(believed, len(values) - 1) - 1] == pytest.approx(said["mips"]["chosen"], abs=EQUAL)


def test_a_replay_of_a_policy_that_draws_nothing_is_the_pipelines(case: Case, said: dict[str, Any]) -> None:
    log, target, _ = case
    k = len(log.arms)
    best = np.eye(k)[target.argmax(axis=1)]
    uniform = Log(arms=log.arms, chosen=log.chosen, propensity=np.full(len(log), 1 / k), reward=log.reward)
    rows = judge(uniform, best, uniform=np.random.default_rng(1).random(len(log)))
    assert value(Replay(bound=k), rows) == pytest.approx(said["replay"], abs=EQUAL)
