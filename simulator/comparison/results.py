"""What a comparison of policies came to, as values that are written as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optimizer.evaluation.audit import Audit, Check
    from optimizer.evaluation.support import Refusal
    from optimizer.evaluation.tally import Estimate

VERSION: Final = 1
"""Of the JSON file."""

WORST: Final = 5
"""Checks of an audit that are shown even where nothing is wrong."""

Kind = Literal["logged", "uniform", "constant", "table", "campaign"]
Verdict = Literal["better", "worse", "not known"]


@dataclass(frozen=True, slots=True)
class LogResult:
    """The log that was judged on.

    Attributes:
        path: as it was given.
        rows, customers: how many; None where the log does not say whose its rows are.
        arms: by id how often each was drawn; 0 for arms that only a policy has.
        least_propensity: the smallest one logged.
        from_us, until_us: first and last decision, UTC microseconds; None where the log has no times.
        taken, rejected: rows of the file; `passed`: what is no decision to be judged, by kind.
        problems: what was wrong with the first rejected rows; `rejects`: the file that has them all.
    """

    path: str
    rows: int
    customers: int | None
    arms: Mapping[str, int]
    least_propensity: float
    from_us: int | None
    until_us: int | None
    taken: int
    rejected: int
    passed: Mapping[str, int]
    problems: tuple[str, ...]
    rejects: str | None


@dataclass(frozen=True, slots=True)
class AuditResult:
    """Whether the log's propensities can be right.

    Attributes:
        holds: whether they can.
        impossible: rows that cannot be right whatever was drawn; `example`: the number of the first, from 1.
        checks: how many sums were looked at.
        worst: those that are furthest from what is expected, the furthest first; all that are flagged are among them.
    """

    holds: bool
    impossible: int
    example: int | None
    checks: int
    worst: tuple[Check, ...]

    @classmethod
    def of(cls, audit: Audit) -> AuditResult:
        """Of a whole log."""
        checks = sorted(audit.checks(), key=lambda check: -abs(check.z))
        flagged = sum(check.flagged for check in checks)
        example = None if audit.example is None else audit.example + 1
        return cls(audit.holds, audit.impossible, example, len(checks), tuple(checks[: max(flagged, WORST)]))

    @property
    def told(self) -> str:
        """In a sentence or two."""
        found = [f"{self.checks:,} sums of draws and weights were looked at"]
        flagged = [check for check in self.worst if check.flagged]
        if flagged:
            found.append(f"{len(flagged):,} of them cannot be chance; {flagged[0]}")
        else:
            found.append("none is further from what is expected than chance may bring it")
        if self.impossible:
            found.append(f"{self.impossible:,} rows cannot be right at all, row {self.example:,} the first")
        # That sums of 1 / p are too small is no proof: see `Check`.
        proven = self.impossible or any(check.z > 0.0 or check.by == "draws" for check in flagged)
        doubt = "They cannot be right, and whatever rests on them is wrong" if proven else "They are doubtful"
        return f"{'They can be' if self.holds else doubt}: {'; '.join(found)}."


@dataclass(frozen=True, slots=True)
class Method:
    """How it was judged.

    Attributes:
        estimator: the one by which policies are ranked and compared; `estimators`: all that were computed.
        interval, confidence: of each interval by itself.
        comparisons: how many policies were compared with the logged one; verdicts hold for all of them at once.
        model: the reward model, None without.
        rewards: the smallest and largest that a reward can be, which confidence sequences need; None: unknown.
        publish_every: after how many decisions a campaign's policy published what it had learned.
    """

    estimator: str
    estimators: tuple[str, ...]
    interval: str
    confidence: float
    comparisons: int
    model: str | None
    rewards: tuple[float, float] | None
    publish_every: int


@dataclass(frozen=True, slots=True)
class Span:
    """An estimate with its interval; None where it is undefined or there is no interval."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """A policy at the end of a stretch of the log.

    Attributes:
        rows: so many have passed.
        here: the estimate on this stretch alone; `so_far`: on all rows up to its end.
        always: the same so far by weighted rewards, with an interval of a confidence sequence: those of all times hold
            at once, also where the log's policy has learned from what it did. None where the bounds of the rewards are
            not known.
    """

    rows: int
    here: Span
    so_far: Span
    always: Span | None = None


@dataclass(frozen=True, slots=True)
class Learning:
    """What a campaign's policy made of the log.

    Attributes:
        config_hash: of the campaign.
        learned: from how many rows it has learned; `waiting`: rows whose reward came too late for that.
        missing: features of the campaign that the log does not have.
        unlearnable: rows of arms that the campaign does not have, by arm.
    """

    config_hash: str
    learned: int
    waiting: int
    missing: tuple[str, ...]
    unlearnable: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """One policy.

    Attributes:
        rank: 1 for the best; None for one that cannot be judged.
        estimates: by each estimator; none where it is refused.
        refusal: why it cannot be judged: arms without support with their share of what it does, and the share of rows
            in which it could do nothing.
        lift: how much better it is than the logged policy, on the same rows; None for that one itself.
        lift_always: the same by weighted rewards with the interval of a confidence sequence, see `Moment.always`.
        verdict: whether it is better or worse than the logged policy, or that is not known.
        over_time: stretch by stretch, by the estimator that ranks.
    """

    name: str
    kind: Kind
    rank: int | None
    estimates: tuple[Estimate, ...]
    refusal: Refusal | None
    lift: Estimate | None
    verdict: Verdict | None
    over_time: tuple[Moment, ...]
    lift_always: Span | None = None
    learning: Learning | None = None

    @property
    def notes(self) -> list[str]:
        """How it went through the log, where it is a campaign's."""
        learning = self.learning
        if learning is None:
            return []
        notes = [f"learned from {learning.learned:,} rows"]
        if learning.missing:
            notes.append(f"the log does not have its features {', '.join(learning.missing)}")
        if learning.unlearnable:
            rows = sum(learning.unlearnable.values())
            notes.append(f"{rows:,} rows are of arms that it does not have: {', '.join(learning.unlearnable)}")
        return notes

    def by(self, estimator: str) -> Estimate:
        """What this estimator says."""
        return next(each for each in self.estimates if each.estimator == estimator)


@dataclass(frozen=True, slots=True)
class Step:
    """How much better a policy is than the next one in rank."""

    better: str
    worse: str
    lift: Estimate


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything.

    Attributes:
        audit: of the propensities.
        policies: those that were judged, the best one first, and then those that could not be.
        steps: between neighbours in rank.
    """

    log: LogResult
    audit: AuditResult
    method: Method
    policies: tuple[PolicyResult, ...]
    steps: tuple[Step, ...]
    version: int = field(default=VERSION, kw_only=True)

    @property
    def judged(self) -> list[PolicyResult]:
        """Those with a rank."""
        return [each for each in self.policies if each.rank is not None]

    @property
    def refused(self) -> list[PolicyResult]:
        """Those without."""
        return [each for each in self.policies if each.refusal is not None]

    def dumps(self) -> bytes:
        """As indented JSON; what is not a number is null."""
        body: dict[str, Any] = asdict(self)
        return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS)
