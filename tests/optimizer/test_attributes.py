from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from optimizer.attributes import Attribute, Attributes, AttributeType, FieldProblem, to_columns

TEXT = "expected a text of at most 10,000 characters, without NUL"
TEXTS = "expected a list of at most 1,000 texts, each of at most 10,000 characters"
DECLARED = Attributes(
    tuple(
        Attribute(name=name, type=kind, description="A fact.")
        for name, kind in [
            ("age", AttributeType.NUMBER),
            ("member", AttributeType.BOOLEAN),
            ("plan", AttributeType.CATEGORY),
            ("interests", AttributeType.MULTI_CATEGORY),
        ]
    )
)


def test_a_row_of_the_declared_types_is_accepted() -> None:
    row = {"age": 41, "member": False, "plan": "gold", "interests": ["a", "b", "a"]}
    clean, problems = DECLARED.validate_row(row)
    assert clean == {"age": 41.0, "member": False, "plan": "gold", "interests": ["a", "b"]}
    assert isinstance(clean["age"], float)
    assert problems == []


def test_a_missing_value_is_left_out_and_an_empty_list_is_kept() -> None:
    assert DECLARED.validate_row({"age": None, "interests": []}) == ({"interests": []}, [])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("age", "41", "expected a finite number"),
        ("age", True, "expected a finite number"),
        ("age", math.nan, "expected a finite number"),
        ("age", math.inf, "expected a finite number"),
        ("age", 10**309, "expected a finite number"),
        ("member", 1, "expected true or false"),
        ("plan", 3, TEXT),
        ("plan", "half a \ud83d", TEXT),
        ("plan", "a\0b", TEXT),
        ("plan", "a" * 10_001, TEXT),
        ("interests", ["\udc00"], TEXTS),
        ("interests", ["\0"], TEXTS),
        ("interests", ["a"] * 1001, TEXTS),
        ("interests", "a", TEXTS),
        ("interests", ["a", 1], TEXTS),
        ("plann", "gold", "not a declared attribute; did you mean plan?"),
        ("zzz", 1, "not a declared attribute"),
    ],
)
def test_a_wrong_value_is_reported_and_the_others_are_kept(name: str, value: object, message: str) -> None:
    clean, problems = DECLARED.validate_row(
        {name: value, "age" if name != "age" else "plan": None, "member": True} | {name: value}
    )
    assert problems == [FieldProblem(name, message)]
    assert clean == ({"member": True} if name != "member" else {})


def test_columns_have_the_form_that_everything_else_relies_on() -> None:
    rows: list[dict[str, Any]] = [
        {"age": 41.0, "member": True, "plan": "gold", "interests": ["a", "b"], "undeclared": 1},
        {},
        {"age": None, "member": False, "plan": None, "interests": []},
        {"interests": ["c", "d"]},
    ]
    columns = to_columns(rows, DECLARED.types)
    assert set(columns) == {"age", "member", "plan", "interests"}
    np.testing.assert_array_equal(columns["age"], [41.0, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(columns["member"], [1.0, np.nan, 0.0, np.nan])
    assert columns["age"].dtype == columns["member"].dtype == np.float64
    assert columns["plan"].tolist() == ["gold", None, None, None]
    assert columns["interests"].tolist() == [("a", "b"), None, (), ("c", "d")]
    assert columns["interests"].shape == (4,)


def test_no_rows_give_empty_columns() -> None:
    assert {name: column.shape for name, column in to_columns([], DECLARED.types).items()} == dict.fromkeys(
        DECLARED.types, (0,)
    )
