from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.attributes import AttributeType, to_columns
from optimizer.contradictions import contradiction
from optimizer.rules import AllOf, Comparison, evaluate

NUMBERS = [-1.0, 0.0, 1.0, 2.0]


def conditions(*written: tuple[str, str, Any]) -> list[tuple[tuple[str | int, ...], Comparison]]:
    return [
        (("all", index), Comparison(attr=name, op=op, value=value))  # type: ignore[arg-type]
        for index, (name, op, value) in enumerate(written)
    ]


@pytest.mark.parametrize(
    "written",
    [
        [("a", "==", 1.0), ("a", "==", 2.0)],
        [("a", "==", "x"), ("a", "!=", "x")],
        [("a", "in", ("x", "y")), ("a", "not_in", ("x", "y", "z"))],
        [("a", "in", ("x", "y")), ("a", "==", "z")],
        [("a", ">", 1.0), ("a", "<", 1.0)],
        [("a", ">", 1.0), ("a", "<=", 1.0)],
        [("a", ">=", 2.0), ("a", "<=", 1.0)],
        [("a", "in", (1.0, 2.0)), ("a", ">", 2.0)],
        [("a", "missing", None), ("a", "present", None)],
        [("a", ">", 1.0), ("a", "missing", None)],
    ],
)
def test_conditions_that_exclude_each_other_are_found_at_the_last_of_them(written: list[tuple[str, str, Any]]) -> None:
    found = contradiction(conditions(("b", "==", 1.0), *written))
    assert found == (("all", 2), "no customer can fulfil this and the other conditions on a")


@pytest.mark.parametrize(
    "written",
    [
        [("a", "==", 1.0), ("b", "==", 2.0)],
        [("a", ">=", 1.0), ("a", "<=", 1.0)],
        [("a", ">", 1.0), ("a", "!=", 5.0)],
        [("a", "in", ("x", "y")), ("a", "!=", "x")],
        [("a", "contains", "x"), ("a", "contains", "y")],
        [("a", "==", "x"), ("a", ">", 1.0)],
        [("a", "missing", None), ("a", "missing", None)],
    ],
)
def test_conditions_that_can_hold_together_or_do_not_compare_are_let_pass(written: list[tuple[str, str, Any]]) -> None:
    assert contradiction(conditions(*written)) is None


numeric_conditions = st.one_of(
    st.tuples(st.just("a"), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.sampled_from(NUMBERS)),
    st.tuples(
        st.just("a"),
        st.sampled_from(["in", "not_in"]),
        st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3).map(tuple),
    ),
    st.tuples(st.just("a"), st.sampled_from(["missing", "present"]), st.none()),
)


@given(st.lists(numeric_conditions, min_size=1, max_size=4))
def test_a_contradiction_is_never_claimed_where_some_customer_fulfils_all(written: list[tuple[str, str, Any]]) -> None:
    together = conditions(*written)
    rows = [{}, *({"a": value / 2} for value in range(-6, 8))]
    columns = to_columns(rows, {"a": AttributeType.NUMBER})
    holds = evaluate(AllOf(all=tuple(condition for _, condition in together)), columns, len(rows))
    if contradiction(together) is not None:
        assert not holds.any()
