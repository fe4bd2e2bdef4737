"""Rows of cells as logged decisions, as a mapping file says; what is wrong in a row puts it aside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.evaluation.log import Log, customer_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from simulator.logs.cells import Cells, Levels
    from simulator.logs.mapping import LogFormat
    from simulator.logs.reading import Intake


def in_order(arms: Iterable[str]) -> list[str]:
    """Arms by their ids: numbers by their size, and after these the others by the alphabet."""
    return sorted(arms, key=lambda arm: (0, int(arm), arm) if arm.isdecimal() else (1, 0, arm))


@dataclass(slots=True)
class ArmIds:
    """The numbers of a log's arms.

    Attributes:
        ids: the arms, in the order of their numbers.
        of: the arm's id for what the file says; None: the file says the id.
        growing: whether an arm that is not there yet is added rather than refused.
    """

    ids: list[str]
    of: Mapping[str, str] | None = None
    growing: bool = False
    _index: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self._index = {arm: i for i, arm in enumerate(self.ids)}

    @classmethod
    def mapped(cls, layout: LogFormat, known: Iterable[str] | None = None) -> ArmIds:
        """Those of a mapping file, or else those that are known, or else those that will be met."""
        values = layout.arm.values
        if values is not None:
            return cls(list(dict.fromkeys(values.values())), values)
        return cls(list(known or ()), growing=known is None)

    def numbers(self, levels: Levels) -> NDArray[np.intp]:
        """(n,) the number of each row's arm, -1 where there is none."""
        return np.array([self._number(text) for text in (*levels.texts, None)], np.intp)[levels.codes]

    def _number(self, text: str | None) -> int:
        arm = self.of.get(text or "") if self.of is not None else text
        if arm is None:
            return -1
        if self.growing and arm not in self._index:
            self._index[arm] = len(self.ids)
            self.ids.append(arm)
        return self._index.get(arm, -1)

    def expected(self) -> str:
        """What a cell may say."""
        if self.growing:
            return "an arm"
        return f"one of {', '.join(self.of if self.of is not None else self.ids)}"


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows that were taken.

    Attributes:
        log: the decisions.
        outcomes: float64 (n,) by the name that the mapping gives it.
        customer_ids: (n,) as the file has them; None without such a column.
    """

    log: Log
    outcomes: Mapping[str, NDArray[np.float64]]
    customer_ids: NDArray[np.object_] | None


def taken(cells: Cells, layout: LogFormat, arms: ArmIds, intake: Intake) -> Taken:
    """Rows as decisions. `intake` counts them, and is given the others."""
    reading = _Reading(cells)
    for row, why in cells.unreadable().items():
        reading.wrong[row] = ("line", why)
    numbers = {name: reading.numbers(name) for name in layout.numbers}
    chosen = reading.arms(layout.arm.column, arms)
    if isinstance(layout.propensity, str):
        propensity = numbers[layout.propensity]
        outside = ~((propensity > 0.0) & (propensity <= 1.0))
        reading.refuse(outside, layout.propensity, "expected a probability above 0, and 1 at most")
    else:
        propensity = np.full(len(cells), layout.propensity)
    customers = None if layout.customer_id is None else reading.texts(layout.customer_id)
    log = Log(
        arms=tuple(arms.ids),
        chosen=chosen,
        propensity=propensity,
        reward=numbers[layout.reward.column] * layout.reward.scale,
        customer=None if customers is None else customer_keys(customers),
        time_us=None if layout.time is None else reading.instants(layout.time),
        decision_ids=None if layout.decision_id is None else reading.texts(layout.decision_id),
        position=None if layout.position is None else reading.places(layout.position),
        context={name: reading.fact(spec.column, spec.type) for name, spec in layout.context.items()},
    )
    outcomes = {name: numbers[column] for name, column in layout.outcomes.items()}
    if reading.wrong:
        for row, (column, message) in sorted(reading.wrong.items()):
            cells.reject(intake, row, column, message)
        right = np.ones(len(cells), np.bool_)
        right[list(reading.wrong)] = False
        log, outcomes = log.take(right), {name: values[right] for name, values in outcomes.items()}
        customers = None if customers is None else customers[right]
    intake.taken += len(log)
    return Taken(log, outcomes, customers)


class _Reading:
    """Columns of some rows, and the first thing that is wrong in each row."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self.wrong: dict[int, tuple[str, str]] = {}

    def refuse(self, rows: NDArray[np.bool_], column: str, expected: str) -> None:
        for row in np.flatnonzero(rows).tolist():
            self.wrong.setdefault(row, (column, f"{expected}, got {self._cells.shown(column, row)}"))

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Of which none may be missing."""
        values, _ = self._cells.numbers(column)
        self.refuse(np.isnan(values), column, "expected a number")
        return values

    def arms(self, column: str, arms: ArmIds) -> NDArray[np.intp]:
        chosen = arms.numbers(self._cells.levels(column))
        self.refuse(chosen < 0, column, f"expected {arms.expected()}")
        return chosen

    def texts(self, column: str) -> NDArray[np.object_]:
        """Of which none may be missing."""
        found = self._cells.levels(column).each()
        empty = np.array([text is None for text in found], np.bool_)
        self.refuse(empty, column, "expected an id")
        found[empty] = ""
        return found

    def instants(self, column: str) -> NDArray[np.int64]:
        values, _ = self._cells.instants(column)
        self.refuse(np.isnan(values), column, "expected an instant (ISO 8601, or seconds since 1970)")
        return np.nan_to_num(values).astype(np.int64)

    def places(self, column: str) -> NDArray[np.intp]:
        values, _ = self._cells.numbers(column)
        wrong = ~(values >= 0.0) | (values != np.floor(values))
        self.refuse(wrong, column, "expected a place: 0, 1, 2, ...")
        return np.where(wrong, 0.0, values).astype(np.intp)

    def fact(self, column: str, kind: str) -> NDArray[Any]:
        """Which may be missing."""
        if kind == "category":
            return self._cells.levels(column).each()
        number = kind == "number"
        values, wrong = (self._cells.numbers if number else self._cells.booleans)(column)
        self.refuse(wrong, column, "expected a finite number" if number else "expected 0 or 1, false or true")
        return values
