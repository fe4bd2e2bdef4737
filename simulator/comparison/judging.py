"""Judging policies on the same rows: their terms side by side, so that it is known how any two of them differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from optimizer.evaluation.forms import Form, places
from optimizer.evaluation.judged import judge, judge_logged
from optimizer.evaluation.sequence import Numbers, weighted_rewards
from optimizer.evaluation.support import Support
from optimizer.evaluation.totals import Moments, Totals
from optimizer.evaluation.weights import Weights
from simulator.comparison.sequences import joined
from simulator.logs.reading import Intake

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optimizer.evaluation.estimators import Estimator
    from optimizer.evaluation.judged import Judged, Policy
    from optimizer.evaluation.log import Log
    from optimizer.evaluation.reward_models import RewardModel
    from optimizer.evaluation.tally import Sums
    from optimizer.evaluation.totals import Floats
    from simulator.comparison.survey import Readable

_TILE: Final = 2_048
"""Rows judged at a time: arrays of so many rows and a hundred arms stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Logged:
    """The policy that made the log, whose value is the mean of what it earned."""

    name: str = "logged"

    def probabilities(self, _log: Log) -> Floats:
        """Not asked for: what it did is in the log."""
        raise NotImplementedError("the logged policy is judged by its own rewards")


@dataclass(frozen=True, slots=True)
class Learned:
    """A policy whose probabilities come with the rows: it learns, and so has gone through the log before them."""

    name: str

    def probabilities(self, _log: Log) -> Floats:
        """Not asked for: they were computed in the log's order."""
        raise NotImplementedError("a policy that learns goes through the log in its order")


@dataclass(frozen=True, slots=True)
class Part:
    """Some consecutive rows of the log.

    Attributes:
        rows: they, read already or not.
        first: how many rows of the log come before.
        learned: by name (n, K) the probabilities of the policies that learn.
    """

    rows: Readable
    first: int
    learned: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Sums over rows of all policies' terms; those of other rows are joined.

    Attributes:
        sums: of the terms, policy after policy, and within each of them estimator after estimator.
        weights, supports: of each policy.
    """

    sums: Sums
    weights: tuple[Weights, ...]
    supports: tuple[Support, ...]

    @classmethod
    def join(cls, parts: Sequence[Verdicts]) -> Verdicts:
        """Of all these rows, in this order."""
        totals = [part.sums for part in parts if isinstance(part.sums, Totals)]
        sums: Sums = Totals.join(totals) if len(totals) == len(parts) else _added([part.sums for part in parts])
        weights, supports = parts[0].weights, parts[0].supports
        for part in parts[1:]:
            weights = tuple(one + other for one, other in zip(weights, part.weights, strict=True))
            supports = tuple(one + other for one, other in zip(supports, part.supports, strict=True))
        return cls(sums, weights, supports)


PartVerdicts: TypeAlias = list[tuple[int, Verdicts, dict[int, Numbers]]]
"""What a part comes to in each of the log's stretches that it is in: the number of the stretch, the sums, and what the
confidence sequences of some policies, by their places, go on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """What is done with each part of a log, as a value that goes to other processes.

    Attributes:
        arms: all that the log and the policies know.
        policies: all of them, `Logged` and `Learned` ones among them.
        estimators: whose terms are summed.
        model: of the reward, for estimators that need one.
        edges: ascending row numbers at which stretches of the log begin, and its end.
        customers: whether customers have more than one row each; otherwise rows are independent.
        keep: whether the totals of customers are kept, for resampling.
        rewards: the smallest and largest that a reward can be; without them there are no confidence sequences.
        followed: the places of the policies that have one.
    """

    arms: tuple[str, ...]
    policies: tuple[Policy, ...]
    estimators: tuple[Estimator, ...]
    model: RewardModel | None
    edges: tuple[int, ...]
    customers: bool
    keep: bool
    rewards: tuple[float, float] | None = None
    followed: tuple[int, ...] = ()

    def __call__(self, part: Part) -> PartVerdicts:
        """Judge the rows of a part, stretch by stretch."""
        log = part.rows.read(Intake()).over(self.arms)  # what cannot be taken was told when the log was surveyed
        found = []
        for number, (start, end) in enumerate(pairwise(self.edges)):
            begin, stop = max(start - part.first, 0), min(end - part.first, len(log))
            if begin < stop:
                rows = slice(begin, stop)
                learned = {name: p[rows] for name, p in part.learned.items()}
                found.append((number, *self._stretch(log.take(rows), part.first + begin, learned)))
        return found

    def _stretch(self, log: Log, first: int, learned: Mapping[str, Floats]) -> tuple[Verdicts, dict[int, Numbers]]:
        terms = np.empty((len(log), len(self.policies) * self._width))
        weights: list[tuple[Weights, ...]] = []
        supports: list[tuple[Support, ...]] = []
        numbers: dict[int, list[Numbers]] = {place: [] for place in self.followed}
        for start in range(0, len(log), _TILE):
            rows = slice(start, min(start + _TILE, len(log)))
            tile = log.take(rows)
            predictions = None if self.model is None else self.model.predictions(tile, first=first + start)
            judged = [
                self._policy(policy, tile, predictions, learned.get(policy.name), rows) for policy in self.policies
            ]
            terms[rows] = np.hstack(
                [self._terms(policy, each[0]) for policy, each in zip(self.policies, judged, strict=True)]
            )
            weights.append(tuple(Weights.of(each[0].weight) for each in judged))
            supports.append(tuple(each[1] for each in judged))
            for place, mine in numbers.items():
                if self.rewards is not None:
                    under = judged[place][0]
                    mine.append(weighted_rewards(under.weight, under.reward, self.rewards))
        totals = Totals.of(terms, log.customer if self.customers else None)
        sums = totals if self.keep or self.customers else totals.moments()
        empty = Totals(None, np.zeros(0), np.zeros((0, terms.shape[1])))
        tallied = [Verdicts(empty, *each) for each in zip(weights, supports, strict=True)]
        followed = {place: joined(mine) for place, mine in numbers.items() if mine}
        return replace(Verdicts.join(tallied), sums=sums), followed

    @property
    def _width(self) -> int:
        return places(self.estimators)[-1].stop

    def _policy(
        self, policy: Policy, log: Log, predictions: Floats | None, learned: Floats | None, rows: slice
    ) -> tuple[Judged, Support]:
        """The rows under one policy, and what it does in them."""
        if isinstance(policy, Logged):
            drawn = np.bincount(log.chosen, minlength=len(log.arms)).astype(np.float64)
            return judge_logged(log), Support(len(log), 0, drawn, drawn, np.zeros(len(drawn)))
        target = policy.probabilities(log) if learned is None else learned[rows]
        return judge(log, target, predictions=predictions), Support.of(log, target)

    def _terms(self, policy: Policy, rows: Judged) -> Floats:
        """(n, M) of all estimators."""
        if isinstance(policy, Logged):
            return np.hstack([on_policy(each.form, rows.reward) for each in self.estimators])
        return np.hstack([each.terms(rows) for each in self.estimators])


def on_policy(form: Form, reward: Floats) -> Floats:
    """(n, m) terms with which any form gives the mean reward."""
    one, zero = np.ones(len(reward)), np.zeros(len(reward))
    columns = {Form.MEAN: [reward], Form.RATIO: [reward, one], Form.BOTH: [reward, zero, one]}[form]
    return np.stack(columns, axis=1)


def _added(parts: Sequence[Sums]) -> Moments:
    whole = parts[0].moments()
    for part in parts[1:]:
        whole += part.moments()
    return whole
