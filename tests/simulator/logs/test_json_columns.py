"""JSON as columns: kinds, paths and lists."""

from __future__ import annotations

from math import isnan

import numpy as np

from simulator.logs.json_columns import JsonColumns


def columns(*objects: dict[str, object]) -> dict[str, list[object]]:
    """By name, missing numbers as None."""
    made = JsonColumns().columns(objects)
    return {
        name: [None if isinstance(each, float) and isnan(each) else each for each in column.tolist()]
        for name, column in made.items()
    }


def test_numbers_truths_and_texts_are_columns_and_null_is_missing() -> None:
    found = columns({"n": 1, "b": True, "t": "x"}, {"n": 2.5, "b": False, "t": None}, {"t": "y"})
    assert found == {"n": [1.0, 2.5, None], "b": [1.0, 0.0, None], "t": ["x", None, "y"]}


def test_names_with_an_underscore_are_no_features_but_for_the_words_of_text() -> None:
    assert columns({"_ua": "Mozilla", "a": {"_id": 3, "_text": "two  words"}}) == {"a._text": [("two", "words")]}


def test_namespaces_and_lists_are_paths() -> None:
    found = columns({"a": {"b": {"c": 1}}, "l": [5, None, 6, {"k": "v"}, {"m": 2}], "tags": ["x", "y"]})
    assert found == {"a.b.c": [1.0], "l.0": [5.0], "l.1": [6.0], "l.k": ["v"], "l.m": [2.0], "tags": [("x", "y")]}


def test_values_of_two_kinds_are_two_columns_and_a_name_keeps_its_kind_in_all_batches() -> None:
    reader = JsonColumns()
    first = reader.columns([{"age": 30}, {"age": "old"}, {"age": {"years": 4}}])
    assert list(first) == ["age", "age (text)", "age.years"]
    assert first["age (text)"].tolist() == [None, "old", None]
    second = reader.columns([{"age": "young"}])
    assert {name: column.tolist() for name, column in second.items()} == {"age (text)": ["young"]}


def test_the_order_of_names_does_not_matter() -> None:
    found = JsonColumns().columns([{"a": 1, "b": 2}, {"b": 3, "a": 4}, {"a": 5}])
    np.testing.assert_equal(found["a"], [1, 4, 5])
    np.testing.assert_equal(found["b"], [2, 3, np.nan])
