"""A first look through a log: its arms, its span, and what of it the judging needs to know beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Protocol

import numpy as np

from optimizer.evaluation.audit import Audit
from simulator.logs.parts import PartedLog
from simulator.logs.reading import Intake

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from optimizer.evaluation.log import Log
    from optimizer.row_files import RowProblem
    from simulator.logs.parts import LogPart
    from simulator.logs.reading import LogReader
    from simulator.workers import Workers


class Readable(Protocol):
    """Consecutive rows of a log, read already or to be read by whoever works on them."""

    def read(self, intake: Intake | None = None) -> Log:
        """As of `LogPart`."""


@dataclass(frozen=True, slots=True)
class Read:
    """Rows that were read already."""

    log: Log

    def read(self, _intake: Intake | None = None) -> Log:
        """They."""
        return self.log


def parts_of(reader: LogReader) -> Sequence[LogPart] | None:
    """The parts of a log that has some, to be read by whoever works on them; None for one that is read in one go."""
    return reader.parts() if isinstance(reader, PartedLog) else None


@dataclass(frozen=True, slots=True)
class Survey:
    """What some rows come to; that of the rows after them is added.

    Attributes:
        arms: all that the rows know.
        sizes: the number of rows of each part.
        drawn: (K,) how often each arm was drawn; `offered`: (K,) in how many rows it was a candidate.
        least: the smallest propensity; `lowest`, `highest`: of the rewards.
        binary: whether all rewards are 0 or 1.
        positions: how many places on a page there are.
        from_us, until_us: first and last time; None where the log has none.
        customers: (n,) uint64; None where the log does not say.
        context: whether anything is known of the customers.
        audit: of the propensities.
    """

    arms: tuple[str, ...]
    sizes: tuple[int, ...]
    drawn: NDArray[np.int64]
    offered: NDArray[np.int64]
    least: float
    lowest: float
    highest: float
    binary: bool
    positions: int
    from_us: int | None
    until_us: int | None
    customers: tuple[NDArray[np.uint64], ...] | None
    context: bool
    audit: Audit

    @classmethod
    def of(cls, log: Log, slices: Sequence[str] = ()) -> Survey:
        """Of one chunk; the audit looks at each value of these columns of the context, and at each day."""
        k = len(log.arms)
        offered = np.full(k, len(log)) if log.allowed is None else np.count_nonzero(log.allowed, axis=0)
        timed = log.time_us is not None and len(log) > 0
        return cls(
            arms=log.arms,
            sizes=(len(log),),
            drawn=np.bincount(log.chosen, minlength=k),
            offered=offered,
            least=float(log.propensity.min(initial=1.0)),
            lowest=float(log.reward.min(initial=np.inf)),
            highest=float(log.reward.max(initial=-np.inf)),
            binary=bool(np.all((log.reward == 0.0) | (log.reward == 1.0))),
            positions=1 if log.position is None else int(log.position.max(initial=0)) + 1,
            from_us=int(log.time_us.min()) if timed and log.time_us is not None else None,
            until_us=int(log.time_us.max()) if timed and log.time_us is not None else None,
            customers=None if log.customer is None else (log.customer,),
            context=bool(log.context or log.history),
            audit=Audit.of(log, slices, by_day=True),
        )

    @classmethod
    def join(cls, parts: Sequence[Survey]) -> Survey:
        """Of all chunks, in their order."""
        arms = max((part.arms for part in parts), key=len)
        known = [part.customers for part in parts if part.customers is not None]

        def summed(counts: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
            whole = np.zeros(len(arms), np.int64)
            for each in counts:
                whole[: len(each)] += each
            return whole

        return cls(
            arms=arms,
            sizes=tuple(size for part in parts for size in part.sizes),
            drawn=summed(part.drawn for part in parts),
            offered=summed(part.offered for part in parts),
            least=min(part.least for part in parts),
            lowest=min(part.lowest for part in parts),
            highest=max(part.highest for part in parts),
            binary=all(part.binary for part in parts),
            positions=max(part.positions for part in parts),
            from_us=min((part.from_us for part in parts if part.from_us is not None), default=None),
            until_us=max((part.until_us for part in parts if part.until_us is not None), default=None),
            customers=tuple(keys for each in known for keys in each) if known else None,
            context=any(part.context for part in parts),
            audit=reduce(add, (part.audit for part in parts)),
        )

    @property
    def rows(self) -> int:
        """How many."""
        return sum(self.sizes)

    @property
    def distinct_customers(self) -> int | None:
        """How many customers; None where the log does not say."""
        return None if self.customers is None else len(np.unique(np.concatenate(self.customers)))


@dataclass(slots=True)
class Aside(Intake):
    """An intake far from the file of rejected rows: it keeps them, for the real one."""

    rows: list[tuple[RowProblem, bytes]] = field(default_factory=list)

    def reject(self, problem: RowProblem, row: bytes) -> None:
        """As `Intake.reject`."""
        if self.strict:
            Intake.reject(self, problem, row)
        self.rows.append((problem, row))

    def into(self, intake: Intake) -> None:
        """Hand everything over."""
        intake.taken += self.taken
        intake.passed.update(self.passed)
        for problem, row in self.rows:
            intake.reject(problem, row)


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What `look` does with a part, as a value that goes to other processes."""

    strict: bool
    slices: tuple[str, ...]

    def __call__(self, part: Readable) -> tuple[Survey, Aside]:
        """The survey of the part, and what its reader took and did not."""
        aside = Aside(strict=self.strict)
        return Survey.of(part.read(aside), self.slices), aside


def look(reader: LogReader, intake: Intake, workers: Workers, slices: tuple[str, ...] = ()) -> Survey | None:
    """Read a whole log once; the intake has its counts afterwards. None where there is no row to be judged."""
    parts = parts_of(reader)
    found: list[Survey] = []
    todo: Iterator[Readable] = iter(parts) if parts is not None else (Read(log) for log in reader.chunks(intake))
    for survey, aside in workers.map(Surveyed(intake.strict, slices), todo):
        aside.into(intake)
        found.append(survey)
    whole = Survey.join(found) if found else None
    return whole if whole is not None and whole.rows else None
