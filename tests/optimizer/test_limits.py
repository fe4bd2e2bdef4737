from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.limits import flaw, is_id

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def nested(depth: int) -> Any:  # noqa: ANN401 -- JSON
    return [] if depth == 1 else {"a": nested(depth - 1)}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("a" * 10_001, "10,000 characters"),
        ({"a": "b\0"}, "no NUL"),
        ({"a\0": 1}, "name of a field"),
        ({"a" * 257: 1}, "256 characters"),
        ({"a": ["\ud800"]}, "no NUL"),
        ({str(i): i for i in range(257)}, "256 fields"),
        ([[0] * 1001], "1,000 values"),
        (nested(9), "8 deep"),
        ({"a": 2**63}, "64 bits"),
        ([-(2**63) - 1], "64 bits"),
    ],
)
def test_what_is_too_large_too_deep_or_cannot_be_kept_is_told(value: object, told: str) -> None:
    assert told in (flaw(value) or "")


@pytest.mark.parametrize("value", ["a" * 10_000, nested(8), {"a": 2**63 - 1}, [0] * 1000, -(2**63), None, {"ü": "💚"}])
def test_what_is_just_within_the_limits_is_taken(value: object) -> None:
    assert flaw(value) is None


@given(value=JSON)
def test_whatever_has_no_flaw_can_be_written_as_json(value: object) -> None:
    if flaw(value) is None:
        orjson.dumps(value)


@pytest.mark.parametrize("text", ["c-1", "a/b", "ann@example.com", "é", "🙂" * 256, "a b", "\u00a0"])
def test_an_id_may_be_any_visible_text(text: str) -> None:
    assert is_id(text)


@pytest.mark.parametrize("text", ["", "a" * 257, "\0", "a\n", "\x7f", "\x85", "\ud800"])
def test_an_id_has_no_control_characters_and_is_not_too_long(text: str) -> None:
    assert not is_id(text)
