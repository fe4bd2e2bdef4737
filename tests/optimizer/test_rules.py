from __future__ import annotations

import operator
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from optimizer.attributes import AttributeType, to_columns
from optimizer.rules import AllOf, AnyOf, Comparison, Not, Rule, evaluate, rule_types

TYPES: Final = {
    "age": AttributeType.NUMBER,
    "member": AttributeType.BOOLEAN,
    "plan": AttributeType.CATEGORY,
    "interests": AttributeType.MULTI_CATEGORY,
}
RULE: Final[TypeAdapter[Rule]] = TypeAdapter(Rule)

numbers = st.sampled_from([-1.0, 0.0, 1.0, 2.5])
texts = st.sampled_from(["a", "b", "c"])
rows = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "age": st.none() | numbers,
            "member": st.none() | st.booleans(),
            "plan": st.none() | texts,
            "interests": st.none() | st.lists(texts, max_size=3),
        },
    ),
    max_size=8,
)


def comparison(name: str, operators: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    single = st.fixed_dictionaries({"attr": st.just(name), "op": st.sampled_from(operators), "value": values})
    listed = st.fixed_dictionaries(
        {
            "attr": st.just(name),
            "op": st.sampled_from(["in", "not_in"]),
            "value": st.lists(values, min_size=1, max_size=3),
        }
    )
    presence = st.fixed_dictionaries({"attr": st.just(name), "op": st.sampled_from(["missing", "present"])})
    return single | presence | listed if name in {"age", "plan"} else single | presence


leaves = st.one_of(
    comparison("age", ["==", "!=", "<", "<=", ">", ">="], numbers),
    comparison("member", ["==", "!="], st.booleans()),
    comparison("plan", ["==", "!="], texts),
    comparison("interests", ["contains"], texts),
)
written_rules = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=8,
)

COMPARE: Final[dict[str, Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, listed: value in listed,
    "not_in": lambda value, listed: value not in listed,
    "contains": lambda value, item: item in value,
}


def kleene(rule: dict[str, Any], row: dict[str, Any]) -> bool | None:
    """One rule and one customer, by the tables of three-valued logic: None is unknown."""
    if "all" in rule:
        parts = [kleene(part, row) for part in rule["all"]]
        return False if False in parts else None if None in parts else True
    if "any" in rule:
        parts = [kleene(part, row) for part in rule["any"]]
        return True if True in parts else None if None in parts else False
    if "not" in rule:
        inner = kleene(rule["not"], row)
        return None if inner is None else not inner
    value = row.get(rule["attr"])
    if rule["op"] in {"missing", "present"}:
        return bool((value is None) == (rule["op"] == "missing"))
    return None if value is None else bool(COMPARE[rule["op"]](value, rule["value"]))


@given(written_rules, rows)
def test_rules_in_bulk_agree_with_three_valued_logic_row_by_row(
    written: dict[str, Any], facts: list[dict[str, Any]]
) -> None:
    holds = evaluate(RULE.validate_python(written), to_columns(facts, TYPES), len(facts))
    assert holds.dtype == np.bool_
    assert holds.tolist() == [kleene(written, row) is True for row in facts]


@given(written_rules)
def test_a_rule_written_out_is_the_rule_read_in(written: dict[str, Any]) -> None:
    rule = RULE.validate_python(written)
    assert RULE.validate_json(RULE.dump_json(rule, by_alias=True)) == rule
    assert RULE.validate_python(RULE.dump_python(rule, mode="json", by_alias=True)) == rule


def test_a_comparison_with_a_missing_value_is_false_also_inside_not() -> None:
    gold = Comparison(attr="plan", op="==", value="a")
    columns = to_columns([{"plan": "a"}, {"plan": "b"}, {}], TYPES)
    assert evaluate(gold, columns, 3).tolist() == [True, False, False]
    assert evaluate(Not(rule=gold), columns, 3).tolist() == [False, True, False]
    assert evaluate(Not(rule=Not(rule=gold)), columns, 3).tolist() == [True, False, False]
    excluded_middle = AnyOf(any=(gold, Not(rule=gold)))
    assert evaluate(excluded_middle, columns, 3).tolist() == [True, True, False]


def test_a_rule_names_the_facts_it_asks_about() -> None:
    rule = RULE.validate_python(
        {"all": [{"attr": "age", "op": ">", "value": 1}, {"any": [{"not": {"attr": "plan", "op": "missing"}}]}]}
    )
    assert isinstance(rule, AllOf)
    assert rule_types([rule]) == {"age": AttributeType.NUMBER, "plan": AttributeType.CATEGORY}


@given(written_rules, rows)
def test_a_rule_holds_alike_whether_types_are_declared_or_taken_from_what_it_compares(
    written: dict[str, Any], facts: list[dict[str, Any]]
) -> None:
    rule = RULE.validate_python(written)
    declared = evaluate(rule, to_columns(facts, TYPES), len(facts))
    assert evaluate(rule, to_columns(facts, rule_types([rule])), len(facts)).tolist() == declared.tolist()


def test_a_fact_that_was_not_loaded_is_an_error_rather_than_missing() -> None:
    with pytest.raises(KeyError, match="age"):
        evaluate(Comparison(attr="age", op=">", value=1.0), {}, 3)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"attr": "age", "op": ">"}, "> needs a value"),
        ({"attr": "age", "op": "==", "value": [1]}, "== needs a single value"),
        ({"attr": "age", "op": "in", "value": 1}, "in needs a list"),
        ({"attr": "age", "op": "in", "value": []}, "in needs at least one value"),
        ({"attr": "age", "op": "missing", "value": 1}, "missing takes no value"),
        ({"attr": "age", "op": ">", "value": {}}, "expected a text, a finite number, true or false"),
        ({"attr": "age", "op": ">", "value": float("nan")}, "expected a text, a finite number, true or false"),
        ({"attr": "age", "op": "=", "value": 1}, "Input should be '=='"),
        ({"all": []}, "at least 1 item"),
        ({"all": [], "any": []}, "Extra inputs"),
        ([], "valid dictionary"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(written: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RULE.validate_python(written)
