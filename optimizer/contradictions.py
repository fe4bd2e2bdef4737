"""Conditions that no customer can fulfil together, found where that is obvious from the conditions alone."""

from __future__ import annotations

import operator
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from optimizer.rules import Comparison, Scalar
    from optimizer.yaml_file import Keys

_HOLDS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, accepted: value in accepted,
    "not_in": lambda value, refused: value not in refused,
}


def contradiction(conditions: Iterable[tuple[Keys, Comparison]]) -> tuple[Keys, str] | None:
    """The first of these conditions that cannot hold together with those before it, and why; None if none is found.

    Conditions are compared attribute by attribute: single values and lists, limits, and missing against any value.
    """
    so_far: defaultdict[str, list[Comparison]] = defaultdict(list)
    for keys, condition in conditions:
        together = so_far[condition.attr]
        together.append(condition)
        if not _possible(together):
            return keys, f"no customer can fulfil this and the other conditions on {condition.attr}"
    return None


def _possible(together: list[Comparison]) -> bool:
    operators = {condition.op for condition in together}
    if "missing" in operators:
        return operators == {"missing"}
    valued = [condition for condition in together if condition.op in _HOLDS]
    for condition in valued:
        if condition.op in {"==", "in"}:
            candidates = condition.value if isinstance(condition.value, tuple) else (condition.value,)
            return any(all(_holds(other, candidate) for other in valued) for candidate in candidates)
    return _limits_leave_room(valued)


def _holds(condition: Comparison, value: Scalar | None) -> bool:
    """Whether the value fulfils the condition; values of types that do not compare are another check's business."""
    try:
        return _HOLDS[condition.op](value, condition.value)
    except TypeError:
        return True


def _limits_leave_room(conditions: list[Comparison]) -> bool:
    limits = [(condition.op, condition.value) for condition in conditions if isinstance(condition.value, float)]
    lows = [(value, op == ">") for op, value in limits if op in {">", ">="}]
    highs = [(value, op == "<") for op, value in limits if op in {"<", "<="}]
    return all(low < high or (low == high and not (above or below)) for low, above in lows for high, below in highs)
