"""The logged world: customers of a real, randomised test, each with the arm that chance gave and what happened then.

Replay by rejection (Li, Chu, Langford and Wang, "Unbiased offline evaluation of contextual-bandit-based news article
recommendation algorithms", WSDM 2011): the rows come in random order, a policy decides for each, and the row counts
where the decision equals the logged arm. As long as the log drew its arms uniformly and independently of the
customers, what remains is a fair sample of what the policy would have met.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

import numpy as np
from pydantic import Field

from optimizer.attributes import AttributeType
from optimizer.errors import InvalidInput
from optimizer.scalars import Id, Part, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class ContextColumn(Part):
    """Where an attribute stands in the log."""

    column: Text = Field(description="The column's name in the file's header.")
    type: Literal["number", "boolean", "category"] = Field(description="number, boolean (0 or 1), or category.")


class ArmColumn(Part):
    """Where the arm stands in the log."""

    column: Text = Field(description="The column's name in the file's header.")
    values: dict[Text, Text] = Field(min_length=1, description="The campaign's arm id (or no_send) for each value.")


class LogFormat(Part):
    """How to read a randomised log as customers, arms and outcomes."""

    version: Literal[1] = Field(description="The version of this file format.")
    customer_id: Text | None = Field(
        default=None, description="The column with the customer's id; none: rows are numbered."
    )
    context: dict[Id, ContextColumn] = Field(description="The customer's attributes by name.")
    arm: ArmColumn = Field(description="The arm that the log drew.")
    outcomes: dict[Id, Text] = Field(
        min_length=1,
        description="The column of each outcome by name. One that bears the name of a reward event becomes it.",
    )


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """One customer of the log.

    Attributes:
        customer_id: the customer.
        attributes: by declared name: float, bool or str; what the log leaves empty is absent.
        arm_id: the arm that the log drew.
        outcomes: what happened, by name; 0.0 where it did not.
    """

    customer_id: str
    attributes: Mapping[str, Any]
    arm_id: str
    outcomes: Mapping[str, float]


class LoggedWorld:
    """The rows of a log.

    Attributes:
        rows: in the order of the file.
        arm_ids: every arm that the format names, in its order.
        outcome_names: the outcomes that every row has.
    """

    def __init__(self, rows: Sequence[LoggedRow], arm_ids: Sequence[str]) -> None:
        self.rows = tuple(rows)
        self.arm_ids = tuple(dict.fromkeys(arm_ids))
        self.outcome_names = tuple(self.rows[0].outcomes) if self.rows else ()

    @classmethod
    def read(cls, path: Path, layout: LogFormat) -> LoggedWorld:
        """Read a CSV file with a header, gzipped if its name ends in `.gz`.

        Raises `InvalidInput` naming the file and line for a column that is not there, an arm without a mapping, or a
        value that is not of its type.
        """
        with _open(path) as file:
            reader = csv.DictReader(file)
            wanted = [c.column for c in layout.context.values()] + [layout.arm.column, *layout.outcomes.values()]
            wanted += [layout.customer_id] if layout.customer_id else []
            absent = [column for column in wanted if column not in (reader.fieldnames or ())]
            if absent:
                raise InvalidInput(
                    f"{path}:1: no column {', '.join(absent)}; there are {', '.join(reader.fieldnames or ())}"
                )
            rows = []
            for number, cells in enumerate(reader, start=1):
                try:
                    rows.append(_row(number, cells, layout))
                except ValueError as error:
                    raise InvalidInput(f"{path}:{reader.line_num}: {error}") from error
        return cls(rows, list(layout.arm.values.values()))

    def shuffled(self, seed: int) -> Iterator[LoggedRow]:
        """Every row once, in an order that depends on `seed` only."""
        for i in np.random.default_rng(seed).permutation(len(self.rows)):
            yield self.rows[i]

    def outcomes(self, arm_id: str, name: str) -> NDArray[np.float64]:
        """The outcome `name` of every row whose logged arm is `arm_id`, in the order of the file."""
        return np.array([row.outcomes[name] for row in self.rows if row.arm_id == arm_id])


def _open(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8", newline="")
        return path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error}") from error


def _row(number: int, cells: Mapping[str, str], layout: LogFormat) -> LoggedRow:
    if None in cells or None in cells.values():
        raise ValueError("the row has more or fewer cells than the header")
    arm = layout.arm.values.get(cells[layout.arm.column])
    if arm is None:
        known = ", ".join(layout.arm.values)
        raise ValueError(f"{layout.arm.column}: no arm for {cells[layout.arm.column]!r}; there is one for {known}")
    return LoggedRow(
        cells[layout.customer_id] if layout.customer_id else f"row-{number:07d}",
        {name: _value(cells[spec.column], spec) for name, spec in layout.context.items() if cells[spec.column]},
        arm,
        {name: _number(cells[column], column) for name, column in layout.outcomes.items()},
    )


def _value(text: str, spec: ContextColumn) -> float | bool | str:
    match AttributeType(spec.type):
        case AttributeType.NUMBER:
            return _number(text, spec.column)
        case AttributeType.BOOLEAN if text in {"0", "1"}:
            return text == "1"
        case AttributeType.BOOLEAN:
            raise ValueError(f"{spec.column}: expected 0 or 1, got {text!r}")
        case _:
            return text


def _number(text: str, column: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{column}: expected a number, got {text!r}") from None
