"""Customer attributes: which facts about a customer are declared, and their form as columns of arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from optimizer.limits import MAX_ITEMS, MAX_TEXT, is_text
from optimizer.scalars import Id, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Columns: TypeAlias = Mapping[str, NDArray[Any]]
"""Facts about n customers by name, each of shape (n,). Numbers and booleans are float64 with NaN where missing
(booleans 1.0 and 0.0); categories are an object array of `str` or None; multi-categories one of `tuple[str, ...]` or
None, where None is missing and `()` is known to be empty."""


class AttributeType(StrEnum):
    """What kind of value an attribute or a feature has."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    MULTI_CATEGORY = "multi_category"

    @property
    def is_numeric(self) -> bool:
        """Whether its column is float64; otherwise it is an object array."""
        return self in {AttributeType.NUMBER, AttributeType.BOOLEAN}


HISTORY_FEATURES: Final[Mapping[str, AttributeType]] = MappingProxyType(
    {
        "hours_since_last_touch": AttributeType.NUMBER,
        "hours_since_last_touch_on_channel": AttributeType.NUMBER,
        "touches_1d": AttributeType.NUMBER,
        "touches_7d": AttributeType.NUMBER,
        "touches_30d": AttributeType.NUMBER,
        "last_message": AttributeType.CATEGORY,
        "last_channel": AttributeType.CATEGORY,
        "last_opened": AttributeType.BOOLEAN,
    }
)
"""What is known of a customer from earlier touches; no attribute may have one of these names."""

PER_CHANNEL_FEATURES: Final = frozenset({"hours_since_last_touch_on_channel"})
"""The history features that have a value for each channel, and so belong to an arm rather than to a customer."""


class Attribute(Part):
    """One declared customer attribute."""

    name: Id = Field(description="The name that rules, features and customer files use.")
    type: AttributeType = Field(
        description="number, boolean, category (one text), or multi_category (any number of texts)."
    )
    description: str = Field(min_length=1, description="What the value means, its unit, and where it comes from.")


class AttributesFile(Part):
    """The file that declares all customer attributes."""

    version: Literal[1] = Field(description="The version of this file format.")
    attributes: tuple[Attribute, ...] = Field(description="Every attribute of a customer that may be stored and used.")


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """A value that was not accepted: the field it was given for, and why."""

    field: str
    message: str


@dataclass(frozen=True)
class Attributes:
    """The declared attributes, by name."""

    declared: tuple[Attribute, ...] = ()
    types: Mapping[str, AttributeType] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        types = {attribute.name: attribute.type for attribute in self.declared}
        object.__setattr__(self, "types", MappingProxyType(types))

    def validate_row(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
        """The acceptable values of one customer, and what is wrong with the others.

        None means missing and is left out. Numbers become float, multi-categories a list of distinct texts; nothing is
        converted from text. What is said to be wrong does not hold the value, which may be personal.
        """
        clean: dict[str, Any] = {}
        problems: list[FieldProblem] = []
        number = AttributeType.NUMBER
        for name, value in row.items():
            declared = self.types.get(name)
            if declared is None:
                problems.append(FieldProblem(name, f"not a declared attribute{did_you_mean(name, self.types)}"))
            elif type(value) is float and declared is number and math.isfinite(value):
                clean[name] = value  # as nearly all are, of every request
            elif value is not None:
                accepted = _ACCEPT[declared](value)
                if accepted is None:
                    problems.append(FieldProblem(name, f"expected {_EXPECTED[declared]}"))
                else:
                    clean[name] = accepted
        return clean, problems


def to_columns(rows: Sequence[Mapping[str, Any]], declared: Mapping[str, AttributeType]) -> Columns:
    """The declared facts of each row as arrays of shape (len(rows),).

    The values are trusted to have the declared types (`Attributes.validate_row`); an absent name, like None, is a
    missing value. Undeclared names are left out.
    """
    n = len(rows)
    columns: dict[str, NDArray[Any]] = {}
    for name, kind in declared.items():
        values = [row.get(name) for row in rows]
        if kind.is_numeric:
            columns[name] = np.array(values, dtype=np.float64)
        elif kind is AttributeType.CATEGORY:
            columns[name] = np.fromiter(values, dtype=object, count=n)
        else:
            tuples = (None if value is None else tuple(value) for value in values)
            columns[name] = np.fromiter(tuples, dtype=object, count=n)
    return columns


def did_you_mean(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """`; did you mean NAME?` for the nearest known name, or nothing where none is near."""
    nearest = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]}?" if nearest else ""


_EXPECTED: Final = {
    AttributeType.NUMBER: "a finite number",
    AttributeType.BOOLEAN: "true or false",
    AttributeType.CATEGORY: f"a text of at most {MAX_TEXT:,} characters, without NUL",
    AttributeType.MULTI_CATEGORY: f"a list of at most {MAX_ITEMS:,} texts, each of at most {MAX_TEXT:,} characters",
}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all floats
        return None
    return number if math.isfinite(number) else None


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _category(value: object) -> str | None:
    return value if isinstance(value, str) and is_text(value) else None


def _multi_category(value: object) -> list[str] | None:
    if not isinstance(value, list | tuple) or len(value) > MAX_ITEMS:
        return None
    texts = [text for text in value if isinstance(text, str) and is_text(text)]
    return list(dict.fromkeys(texts)) if len(texts) == len(value) else None


_ACCEPT: Final[dict[AttributeType, Callable[[object], float | bool | str | list[str] | None]]] = {
    AttributeType.NUMBER: _number,
    AttributeType.BOOLEAN: _boolean,
    AttributeType.CATEGORY: _category,
    AttributeType.MULTI_CATEGORY: _multi_category,
}
"""The value in the form that is stored, or None where it has another type."""
