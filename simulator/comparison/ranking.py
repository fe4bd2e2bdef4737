"""From sums to a ranking: estimates, refusals, what differs between policies, and how all of it went over time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import isnan
from typing import TYPE_CHECKING, Any

from optimizer.evaluation.bootstrap import Bootstrap, percentiles
from optimizer.evaluation.differences import Difference
from optimizer.evaluation.forms import places
from optimizer.evaluation.intervals import StudentT
from optimizer.evaluation.policies import Constant, Table, Uniform
from optimizer.evaluation.tally import say
from optimizer.evaluation.totals import Moments, Totals
from simulator.comparison.judging import Learned, Logged, Verdicts
from simulator.comparison.results import (
    AuditResult,
    Comparison,
    Kind,
    Learning,
    LogResult,
    Method,
    Moment,
    PolicyResult,
    Span,
    Step,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optimizer.evaluation.forms import Estimated
    from optimizer.evaluation.judged import Policy
    from optimizer.evaluation.support import Refusal
    from optimizer.evaluation.tally import Estimate, Interval, Sums
    from simulator.comparison.judging import Judge
    from simulator.comparison.sequences import Sequences
    from simulator.comparison.survey import Survey
    from simulator.logs.reading import Intake
    from simulator.progressive import Progressive


@dataclass(frozen=True, slots=True)
class _Known:
    """Ends that were computed already."""

    name: str
    confidence: float
    known: tuple[tuple[float, float], ...]
    resamples: bool = False

    def ends(self, _estimators: Sequence[Estimated], _sums: Sums) -> list[tuple[float, float]]:
        """They."""
        return list(self.known)


class Ranking:
    """The sums of a judge, read.

    Args:
        judge: what was done with the parts.
        survey: of the log.
        stretches: what the log came to, stretch by stretch.
        sequences: at the ends of the stretches.
        interval: of the estimates.
    """

    def __init__(
        self, judge: Judge, survey: Survey, stretches: Sequence[Verdicts], sequences: Sequences, interval: Interval
    ) -> None:
        self._judge = judge
        self._survey = survey
        self._sequences = sequences
        self._interval = interval
        # Over time only the estimator that ranks is looked at: its terms alone, policy after policy.
        ranking = [column for place in range(len(judge.policies)) for column in self._columns(place, 0)]
        self._over: list[tuple[int, Moments, Moments]] = []
        for so_far in accumulate(stretches, lambda one, other: Verdicts.join([one, other])):
            self._whole = so_far
            here, past = stretches[len(self._over)].sums.take(ranking), so_far.sums.take(ranking)
            self._over.append((so_far.weights[0].rows, here.moments(), past.moments()))
        self._moments = self._whole.sums.moments()
        self._resampled: Any = None
        if isinstance(interval, Bootstrap) and isinstance(self._whole.sums, Totals):
            self._resampled = interval.sums(self._whole.sums)

    def result(self, path: str, intake: Intake, learners: Mapping[str, Progressive], publish_every: int) -> Comparison:
        """The comparison."""
        refusals = [self._refusal(place) for place in range(len(self._judge.policies))]
        able = [place for place, refusal in enumerate(refusals) if refusal is None]
        estimates = {place: self._estimates(place) for place in able}
        ranked = sorted(able, key=lambda place: -_or_least(estimates[place][0].value))
        policies = [
            PolicyResult(
                name=self._judge.policies[place].name,
                kind=_kind(self._judge.policies[place]),
                rank=rank,
                estimates=tuple(estimates[place]),
                refusal=None,
                lift=self._lift(place, 0) if place else None,
                verdict=self._verdict(place, len(able) - 1) if place else None,
                over_time=self._over_time(place),
                lift_always=self._sequences.lift(place),
                learning=_learning(learners.get(self._judge.policies[place].name)),
            )
            for rank, place in enumerate(ranked, start=1)
        ]
        policies += [
            PolicyResult(
                name=self._judge.policies[place].name,
                kind=_kind(self._judge.policies[place]),
                rank=None,
                estimates=(),
                refusal=refusal,
                lift=None,
                verdict=None,
                over_time=(),
                learning=_learning(learners.get(self._judge.policies[place].name)),
            )
            for place, refusal in enumerate(refusals)
            if refusal is not None
        ]
        steps = [
            Step(policies[one].name, policies[one + 1].name, self._lift(better, worse))
            for one, (better, worse) in enumerate(pairwise(ranked))
        ]
        return Comparison(
            log=self._log(path, intake),
            audit=AuditResult.of(self._survey.audit),
            method=self._method(len(able) - 1, publish_every),
            policies=tuple(policies),
            steps=tuple(steps),
        )

    def _refusal(self, place: int) -> Refusal | None:
        return self._whole.supports[place].refusal(self._judge.policies[place].name, self._judge.arms)

    def _columns(self, place: int, estimator: int) -> list[int]:
        """Which of the terms are those of a policy and an estimator."""
        within = places(self._judge.estimators)
        return [place * within[-1].stop + term for term in within[estimator]]

    def _estimates(self, place: int) -> list[Estimate]:
        estimators = self._judge.estimators
        columns = [column for each in range(len(estimators)) for column in self._columns(place, each)]
        name, weights = self._judge.policies[place].name, (self._whole.weights[place],)
        return self._say(name, estimators, columns, weights)

    def _lift(self, one: int, other: int, interval: Interval | None = None) -> Estimate:
        """The difference between two policies by the estimator that ranks."""
        columns = [*self._columns(one, 0), *self._columns(other, 0)]
        name = f"{self._judge.policies[one].name} - {self._judge.policies[other].name}"
        weights = (self._whole.weights[one], self._whole.weights[other])
        return self._say(name, [Difference(self._judge.estimators[0])], columns, weights, interval)[0]

    def _say(
        self,
        name: str,
        estimators: Sequence[Estimated],
        columns: Sequence[int],
        weights: Sequence[Any],
        interval: Interval | None = None,
    ) -> list[Estimate]:
        chosen = interval or self._interval
        sums: Sums = self._moments.take(columns)
        if interval is None and self._resampled is not None:
            mine = self._resampled[:, [0, *(1 + column for column in columns)]]
            ends = tuple(percentiles(estimators, mine, chosen.confidence))
            chosen = _Known(chosen.name, chosen.confidence, ends)
        return say(name, estimators, sums, weights, chosen)

    def _verdict(self, place: int, comparisons: int) -> Verdict:
        """At a confidence that holds for all comparisons with the logged policy at once (Bonferroni)."""
        at_once = StudentT(1.0 - (1.0 - self._interval.confidence) / max(comparisons, 1))
        lift = self._lift(place, 0, at_once)
        if lift.low > 0.0:
            return "better"
        return "worse" if lift.high < 0.0 else "not known"

    def _over_time(self, place: int) -> tuple[Moment, ...]:
        return tuple(
            Moment(rows, self._span(here, place), self._span(past, place), self._sequences.value(place, stretch))
            for stretch, (rows, here, past) in enumerate(self._over)
        )

    def _span(self, moments: Moments, place: int) -> Span:
        estimator = self._judge.estimators[0]
        terms = estimator.form.terms
        mine = moments.take(range(place * terms, (place + 1) * terms))
        value = float(estimator.form.estimate(mine.sums))
        low, high = StudentT(self._interval.confidence).ends([estimator], mine)[0]
        return Span(*(None if isnan(each) else each for each in (value, low, high)))

    def _log(self, path: str, intake: Intake) -> LogResult:
        survey = self._survey
        drawn = dict(zip(survey.arms, survey.drawn.tolist(), strict=True))
        return LogResult(
            path=path,
            rows=survey.rows,
            customers=survey.distinct_customers,
            arms={arm: drawn.get(arm, 0) for arm in self._judge.arms},
            least_propensity=survey.least,
            from_us=survey.from_us,
            until_us=survey.until_us,
            taken=intake.taken,
            rejected=intake.rejected,
            passed=dict(intake.passed),
            problems=tuple(map(str, intake.problems)),
            rejects=intake.rejects.name if intake.rejects is not None and intake.rejected else None,
        )

    def _method(self, comparisons: int, publish_every: int) -> Method:
        model = self._judge.model
        return Method(
            estimator=self._judge.estimators[0].name,
            estimators=tuple(each.name for each in self._judge.estimators),
            interval=self._interval.name,
            confidence=self._interval.confidence,
            comparisons=comparisons,
            model=None if model is None else f"{type(model.models[0]).__name__}, {len(model.models)} folds",
            rewards=self._judge.rewards,
            publish_every=publish_every,
        )


def _kind(policy: Policy) -> Kind:
    kinds: dict[type, Kind] = {
        Logged: "logged",
        Uniform: "uniform",
        Constant: "constant",
        Table: "table",
        Learned: "campaign",
    }
    return kinds[type(policy)]


def _learning(policy: Progressive | None) -> Learning | None:
    if policy is None:
        return None
    return Learning(
        policy.campaign.config_hash,
        policy.learned,
        policy.waiting,
        tuple(sorted(policy.missing)),
        dict(sorted(policy.unlearnable.items())),
    )


def _or_least(value: float) -> float:
    return float("-inf") if isnan(value) else value
