"""Rules about customers, such as who may enter a campaign: their form in a file, and their evaluation in bulk.

A comparison with a missing value is neither true nor false but unknown; `all`, `any` and `not` follow Kleene's
three-valued logic, and what is still unknown at the end counts as false. So `not: {attr: plan, op: ==, value: gold}`
does not hold for a customer whose plan is not known.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from pydantic import Discriminator, Field, PlainSerializer, PlainValidator, Tag, WithJsonSchema, model_validator

from optimizer.attributes import AttributeType
from optimizer.scalars import Id, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from optimizer.attributes import Columns

Scalar: TypeAlias = str | bool | float
Operator: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not_in", "contains", "missing", "present"]

ORDER_OPERATORS: Final = frozenset({"<", "<=", ">", ">="})
LIST_OPERATORS: Final = frozenset({"in", "not_in"})
PRESENCE_OPERATORS: Final = frozenset({"missing", "present"})


def as_scalar(value: object) -> Scalar:
    """A text, a truth value, or a finite number (as float). Raises `ValueError` for anything else."""
    if isinstance(value, str | bool):
        return value
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    raise ValueError("expected a text, a finite number, true or false")


def _as_operand(value: object) -> Scalar | tuple[Scalar, ...] | None:
    if value is None:
        return None
    return tuple(as_scalar(item) for item in value) if isinstance(value, list | tuple) else as_scalar(value)


def _as_written(operand: Any) -> Any:  # noqa: ANN401 -- pydantic's serializer of a union warns about tuples
    return operand


_SCALAR_SCHEMA: Final = [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]
Operand: TypeAlias = Annotated[
    Scalar | tuple[Scalar, ...] | None,
    PlainValidator(_as_operand),
    PlainSerializer(_as_written),
    WithJsonSchema({"anyOf": [*_SCALAR_SCHEMA, {"type": "array", "items": {"anyOf": _SCALAR_SCHEMA}}]}),
]


class Comparison(Part):
    """One fact about the customer, compared with a value."""

    attr: Id = Field(description="A declared attribute, or a history feature that has one value per customer.")
    op: Operator = Field(
        description="==, != (number, category, boolean); <, <=, >, >= (number); in, not_in (number, category; "
        "value is a list); contains (multi_category has the value); missing, present (no value)."
    )
    value: Operand = Field(default=None, description="What to compare with; a list for in and not_in.")

    @model_validator(mode="after")
    def _value_suits_operator(self) -> Comparison:
        if self.op in PRESENCE_OPERATORS:
            if self.value is not None:
                raise ValueError(f"{self.op} takes no value")
        elif self.value is None:
            raise ValueError(f"{self.op} needs a value")
        elif (self.op in LIST_OPERATORS) != isinstance(self.value, tuple):
            raise ValueError(f"{self.op} needs {'a list' if self.op in LIST_OPERATORS else 'a single value'}")
        elif self.value == ():
            raise ValueError(f"{self.op} needs at least one value in its list")
        return self


class AllOf(Part):
    """Holds where every one of its rules holds."""

    all: tuple[Rule, ...] = Field(min_length=1, description="The rules that must all hold.")


class AnyOf(Part):
    """Holds where at least one of its rules holds."""

    any: tuple[Rule, ...] = Field(min_length=1, description="The rules of which one must hold.")


class Not(Part):
    """Holds where its rule is known not to hold."""

    rule: Rule = Field(alias="not", description="The rule that must not hold; with a missing value neither holds.")


def _kind(value: object) -> str:
    """Which form a rule has, by the key that only this form has; a comparison where there is none."""
    if isinstance(value, dict):
        for key, tag in (("all", "AllOf"), ("any", "AnyOf"), ("not", "Not")):
            if key in value:
                return tag
        return "Comparison"
    return type(value).__name__ if isinstance(value, Part) else "Comparison"


Rule: TypeAlias = Annotated[
    Annotated[AllOf, Tag("AllOf")]
    | Annotated[AnyOf, Tag("AnyOf")]
    | Annotated[Not, Tag("Not")]
    | Annotated[Comparison, Tag("Comparison")],
    Discriminator(_kind),
]
"""`{all: [...]}`, `{any: [...]}`, `{not: rule}`, or `{attr, op, value}`."""

for _model in (AllOf, AnyOf, Not):
    _model.model_rebuild()


def comparisons(rule: Rule) -> tuple[Comparison, ...]:
    """Every comparison in the rule, in the order written."""
    match rule:
        case Comparison():
            return (rule,)
        case Not():
            return comparisons(rule.rule)
        case AllOf():
            return tuple(found for part in rule.all for found in comparisons(part))
        case AnyOf():
            return tuple(found for part in rule.any for found in comparisons(part))


def rule_types(rules: Iterable[Rule]) -> dict[str, AttributeType]:
    """The type of every fact that the rules ask about, by what it is compared with.

    It is the declared one in rules that were checked; a fact of which only the presence is asked counts as a category.
    """
    found: dict[str, AttributeType] = {}
    for comparison in (found for rule in rules for found in comparisons(rule)):
        compared = _type_compared(comparison)
        if compared is not None or comparison.attr not in found:
            found[comparison.attr] = compared or AttributeType.CATEGORY
    return found


def _type_compared(comparison: Comparison) -> AttributeType | None:
    if comparison.op == "contains":
        return AttributeType.MULTI_CATEGORY
    value = comparison.value[0] if isinstance(comparison.value, tuple) else comparison.value
    match value:
        case None:
            return None
        case bool():
            return AttributeType.BOOLEAN
        case float():
            return AttributeType.NUMBER
        case str():
            return AttributeType.CATEGORY


def evaluate(rule: Rule, columns: Columns, n: int) -> NDArray[np.bool_]:
    """Whether the rule holds for each of n customers: bool (n,). Unknown is False.

    `columns` has every name in `rule_types([rule])`; `KeyError` otherwise.
    """
    return _known(rule, columns, n).true


class _Known(NamedTuple):
    """Where a rule is known to hold and known not to, bool (n,) each; where neither, it is unknown."""

    true: NDArray[np.bool_]
    false: NDArray[np.bool_]


def _known(rule: Rule, columns: Columns, n: int) -> _Known:
    match rule:
        case Comparison():
            return _compare(rule, columns[rule.attr], n)
        case Not():
            inner = _known(rule.rule, columns, n)
            return _Known(true=inner.false, false=inner.true)
        case AllOf():
            parts = [_known(part, columns, n) for part in rule.all]
            return _Known(
                true=np.logical_and.reduce([part.true for part in parts]),
                false=np.logical_or.reduce([part.false for part in parts]),
            )
        case AnyOf():
            parts = [_known(part, columns, n) for part in rule.any]
            return _Known(
                true=np.logical_or.reduce([part.true for part in parts]),
                false=np.logical_and.reduce([part.false for part in parts]),
            )


_HOLDS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "in": np.isin,
    "not_in": lambda column, values: ~np.isin(column, values),
}


def _compare(comparison: Comparison, column: NDArray[Any], n: int) -> _Known:
    op, value = comparison.op, comparison.value
    numeric = column.dtype.kind == "f"
    missing = np.isnan(column) if numeric else np.asarray(_HOLDS["=="](column, None), dtype=np.bool_)
    if op == "missing":
        return _Known(true=missing, false=~missing)
    if op == "present":
        return _Known(true=~missing, false=missing)
    if numeric or op in {"==", "!="}:
        operand = list(value) if isinstance(value, tuple) else value
        holds = np.asarray(_HOLDS[op](column, operand), dtype=np.bool_)
    elif op == "contains":
        found = (item is not None and value in item for item in column.tolist())
        holds = np.fromiter(found, dtype=np.bool_, count=n)
    else:
        listed = frozenset(value) if isinstance(value, tuple) else frozenset((value,))
        holds = np.fromiter(map(listed.__contains__, column.tolist()), dtype=np.bool_, count=n)
        if op == "not_in":
            holds = ~holds
    return _Known(true=holds & ~missing, false=~holds & ~missing)
