"""The mapping file: how the columns of a plain CSV or Parquet file are read as logged decisions."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from optimizer.scalars import Id, Number, Part, Text


def _column_or_number(value: object) -> str | float:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, float | int) and not isinstance(value, bool) and 0.0 < value <= 1.0:
        return float(value)
    raise ValueError("expected a column's name, or the same probability for all rows: above 0, and 1 at most")


Propensity: TypeAlias = Annotated[
    str | float,
    PlainValidator(_column_or_number),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "minLength": 1}, {"type": "number", "exclusiveMinimum": 0, "maximum": 1}]}
    ),
]
"""The name of a column, or a number in (0, 1]."""


class ContextColumn(Part):
    """Where an attribute stands in the log."""

    column: Text = Field(description="The column's name in the file.")
    type: Literal["number", "boolean", "category"] = Field(
        description="number, boolean (0 or 1, false or true), or category."
    )


class ArmColumn(Part):
    """Where the arm stands in the log."""

    column: Text = Field(description="The column's name in the file.")
    values: dict[Text, Text] | None = Field(
        default=None,
        min_length=1,
        description="The arm's id (a campaign's, or no_send) for each value; none: the values are the ids.",
    )


class RewardColumn(Part):
    """Where the reward stands in the log."""

    column: Text = Field(description="The column's name in the file.")
    scale: Number = Field(default=1.0, description="What its numbers are multiplied with, such as -1 for costs.")


class LogFormat(Part):
    """How to read a log, a row a decision, as customers, arms, propensities and what followed."""

    version: Literal[1] = Field(description="The version of this file format.")
    customer_id: Text | None = Field(
        default=None, description="The column with the customer's id; none: every row is another customer."
    )
    decision_id: Text | None = Field(default=None, description="The column with the decision's id.")
    time: Text | None = Field(
        default=None,
        description="The column that says when it was decided: ISO 8601 (UTC where it names no offset), or seconds "
        "since 1970. Rows are taken in the file's order.",
    )
    position: Text | None = Field(
        default=None, description="The column with the place on the page, from 0, where there are several."
    )
    context: dict[Id, ContextColumn] = Field(description="What was known of the customer, by attribute.")
    arm: ArmColumn = Field(description="The arm that was drawn.")
    propensity: Propensity = Field(
        description="With what probability it was drawn: a column's name, or a number that holds for all rows."
    )
    reward: RewardColumn = Field(description="What the decision earned.")
    outcomes: dict[Id, Text] = Field(
        default_factory=dict,
        description="For replay: the column of each outcome by name. One named like a reward event becomes it.",
    )

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns that must hold a finite number in every row, each once."""
        names = [self.propensity] if isinstance(self.propensity, str) else []
        return tuple(dict.fromkeys([*names, self.reward.column, *self.outcomes.values()]))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        single = [self.customer_id, self.decision_id, self.time, self.position]
        named = [name for name in single if name is not None]
        return tuple(
            dict.fromkeys([*named, *(c.column for c in self.context.values()), self.arm.column, *self.numbers])
        )
