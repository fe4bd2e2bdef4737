"""Compares policies on a log: looks through it, lets the policies that learn go through it, judges, ranks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from threadpoolctl import threadpool_limits

from optimizer.campaign import NO_SEND
from optimizer.catalog import Catalog
from optimizer.errors import InvalidInput
from optimizer.evaluation.estimators import IPS, SNIPS
from optimizer.evaluation.folds import sample
from optimizer.evaluation.intervals import StudentT
from optimizer.evaluation.model_based import DR, SNDR, DirectMethod
from optimizer.evaluation.policies import Constant, Table, Uniform
from optimizer.evaluation.reward_models import RewardModel
from simulator.arm_columns import some
from simulator.comparison.judging import Judge, Learned, Logged, Part, Verdicts
from simulator.comparison.ranking import Ranking
from simulator.comparison.sequences import MOST, Sequences
from simulator.comparison.survey import Read, look, parts_of
from simulator.logs.reading import Intake
from simulator.progressive import PUBLISH_EVERY, Progressive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from optimizer.campaign import CampaignFile
    from optimizer.evaluation.estimators import Estimator
    from optimizer.evaluation.judged import Policy
    from optimizer.evaluation.tally import Interval
    from optimizer.evaluation.totals import Floats
    from simulator.comparison.results import Comparison
    from simulator.comparison.survey import Survey
    from simulator.logs.reading import LogReader
    from simulator.workers import Workers

STRETCHES: Final = 10
"""Into how many stretches of equal length a log is cut, to see policies over time."""

_SUM: Final = 1e-6
"""By how much probabilities may fail to sum to 1."""

FEWEST: Final = 50
"""Rows that a stretch has at least."""

SAMPLED: Final = 100_000
"""Rows from which the reward model is fitted, at most: customers drawn at random, each with all their rows."""

WITHOUT_MODEL: Final[tuple[Estimator, ...]] = (SNIPS(), IPS())
WITH_MODEL: Final[tuple[Estimator, ...]] = (DR(), SNDR(), DirectMethod(), *WITHOUT_MODEL)
"""What is computed; the first one ranks unless another one is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is compared, and how.

    Attributes:
        campaigns: by the name in reports, the campaigns whose policies learn from the log.
        tables: by the name in reports the probabilities of policies that know no more than the place on the page, in a
            log whose arms are numbers: (arms, places).
        estimator: the name of the one that ranks; None for the doubly robust one where the log has a context, and the
            self-normalised one where there is nothing that a model could learn from.
        interval: of every estimate.
        publish_every: see `Progressive`.
        rewards: the smallest and largest that a reward can be; None: 0 and 1 if all of the log's are one of these, and
            otherwise not known.
        slices: columns of the context in whose values the audit of propensities looks too.
    """

    campaigns: Mapping[str, CampaignFile]
    tables: Mapping[str, Floats] = field(default_factory=dict)
    estimator: str | None = None
    interval: Interval = field(default_factory=StudentT)
    publish_every: int = PUBLISH_EVERY
    rewards: tuple[float, float] | None = None
    slices: tuple[str, ...] = ()


def compare(path: str, reader: LogReader, intake: Intake, question: Question, workers: Workers) -> Comparison:
    """The comparison; the intake has what was taken of the log, and what not.

    Raises `InvalidInput` where the log has no row that could be judged, or does not fit a campaign.
    """
    survey = look(reader, intake, workers, question.slices)
    if survey is None:
        raise InvalidInput(f"{path}: no decision that could be judged: {_counts(intake)}")
    learners = _learners(question, survey)
    estimators = _estimators(question, survey)
    arms = _arms(survey, question)
    model = _model(reader, arms) if any(each.needs == "predicted" for each in estimators) else None
    policies: list[Policy] = [Logged(), Uniform()]
    otherwise = NO_SEND if NO_SEND in survey.arms else None
    policies += [Constant(arm, otherwise if arm != otherwise else None) for arm in survey.arms]
    policies += [_table(name, table, survey, arms) for name, table in question.tables.items()]
    policies += [Learned(name) for name in learners]
    twice = [name for name, times in Counter(each.name for each in policies).items() if times > 1]
    if twice:
        raise InvalidInput(f"two policies are called {twice[0]!r}: name the file of one of them otherwise")
    customers = survey.distinct_customers
    rewards = _bounds(path, question, survey)
    followed = [place for place, each in enumerate(policies) if len(policies) <= MOST or not isinstance(each, Constant)]
    judge = Judge(
        arms=arms,
        policies=tuple(policies),
        estimators=estimators,
        model=model,
        edges=_edges(survey.rows),
        customers=customers is not None and customers < survey.rows,
        keep=question.interval.resamples,
        rewards=rewards,
        followed=tuple(followed) if rewards is not None else (),
    )
    found: dict[int, list[Verdicts]] = {}
    sequences = Sequences(question.interval.confidence)
    for part in workers.map(judge, _todo(reader, survey, learners, arms)):
        for stretch, verdicts, numbers in part:
            found.setdefault(stretch, []).append(verdicts)
            sequences.take(stretch, numbers)
    stretches = [Verdicts.join(found[number]) for number in sorted(found)]
    ranking = Ranking(judge, survey, stretches, sequences, question.interval)
    return ranking.result(path, intake, learners, question.publish_every)


def _learners(question: Question, survey: Survey) -> dict[str, Progressive]:
    """The policies that learn. What no row offered is told apart: they may want it, and nobody knows what it earns."""
    offered = {arm for arm, rows in zip(survey.arms, survey.offered.tolist(), strict=True) if rows}
    found = {}
    for name, campaign in question.campaigns.items():
        untried = [arm.id for arm in Catalog(campaign).arms if arm.id not in offered]
        found[name] = Progressive(campaign, name, publish_every=question.publish_every, untried=untried)
    return found


def _arms(survey: Survey, question: Question) -> tuple[str, ...]:
    """All arms: those of the log, then those that only a policy has."""
    more = [arm.id for campaign in question.campaigns.values() for arm in Catalog(campaign).arms]
    more += [str(row) for table in question.tables.values() for row in range(len(table))]
    return tuple(dict.fromkeys([*survey.arms, *more]))


def _estimators(question: Question, survey: Survey) -> tuple[Estimator, ...]:
    """All that can be computed, the one that ranks first."""
    known = WITH_MODEL if survey.context or question.estimator in {"dr", "sndr", "dm"} else WITHOUT_MODEL
    if question.estimator is None:
        return known
    first = [each for each in known if each.name == question.estimator]
    if not first:
        raise InvalidInput(
            f"no estimator {question.estimator!r}; there are {', '.join(each.name for each in WITH_MODEL)}"
        )
    return (*first, *(each for each in known if each not in first))


def _model(reader: LogReader, arms: tuple[str, ...]) -> RewardModel:
    chunks = (log.over(arms) for log in reader.chunks(Intake()))
    with threadpool_limits(1):  # as workers do: the model is then the same on any number of processors
        return RewardModel.fit(sample(chunks, rows=SAMPLED, seed=0))


def _table(name: str, table: Floats, survey: Survey, arms: tuple[str, ...]) -> Table:
    """The policy, over all arms. Raises `InvalidInput` where the numbers are no probabilities of the log's arms."""
    named = [arm for arm in survey.arms if not arm.isdecimal() or int(arm) >= len(table)]
    if named:
        raise InvalidInput(
            f"{name}: its {len(table)} rows are the arms 0 to {len(table) - 1}, and the log has {some(named)} too: "
            "tables are for logs whose arms are numbers"
        )
    if table.shape[1] < survey.positions:
        raise InvalidInput(f"{name}: has {table.shape[1]} columns, and the log {survey.positions} places on the page")
    if not (np.all(table >= 0.0) and np.allclose(table.sum(axis=0), 1.0, atol=_SUM)):
        raise InvalidInput(
            f"{name}: the probabilities of all arms at a place have to sum to 1, and none may be negative"
        )
    over = np.zeros((len(arms), table.shape[1]))
    for place, arm in enumerate(arms):
        if arm.isdecimal() and int(arm) < len(table):
            over[place] = table[int(arm)]
    return Table(name, over / over.sum(axis=0))


def _bounds(path: str, question: Question, survey: Survey) -> tuple[float, float] | None:
    if question.rewards is None:
        return (0.0, 1.0) if survey.binary else None
    low, high = question.rewards
    if not low <= survey.lowest <= survey.highest <= high or low >= high:
        raise InvalidInput(
            f"{path}: its rewards go from {survey.lowest:g} to {survey.highest:g}, which is not within {low:g} and "
            f"{high:g}: give bounds that every possible reward keeps"
        )
    return low, high


def _edges(rows: int) -> tuple[int, ...]:
    stretches = max(min(STRETCHES, rows // FEWEST), 1)
    return tuple(np.linspace(0, rows, stretches + 1).round().astype(int).tolist())


def _todo(
    reader: LogReader, survey: Survey, learners: Mapping[str, Progressive], arms: tuple[str, ...]
) -> Iterator[Part]:
    """The parts of the log. Policies that learn see each of them here, in its turn, before it is judged anywhere."""
    parts, first = parts_of(reader), 0
    if parts is not None and not learners:
        for part, size in zip(parts, survey.sizes, strict=True):
            yield Part(part, first, {})
            first += size
        return
    for log in reader.chunks(Intake()):
        whole = log.over(arms)
        yield Part(Read(log), first, {name: each.probabilities(whole) for name, each in learners.items()})
        first += len(log)
    if first != survey.rows:
        raise InvalidInput(f"the log had {survey.rows:,} decisions, and then {first:,}: it changed while it was read")


def _counts(intake: Intake) -> str:
    passed = [f"{rows:,} of the kind {kind!r}" for kind, rows in intake.passed.items()]
    first = f", the first: {intake.problems[0]}" if intake.problems else ""
    return f"{intake.rejected:,} rows rejected{first}" + (f"; passed over: {', '.join(passed)}" if passed else "")
