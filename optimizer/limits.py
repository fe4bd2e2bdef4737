"""How large and how deep what callers send may be, and what no database can keep."""

from __future__ import annotations

import re
from typing import Final

MAX_ID: Final = 256
"""How many characters an id of the callers has at most; the indexes of PostgreSQL take four bytes for each."""
ID_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f]+$"
"""An id has no control characters."""
MAX_TEXT: Final = 10_000
"""How many characters a text has at most."""
MAX_NAME: Final = 256
MAX_NAMES: Final = 256
"""How many fields an object has at most."""
MAX_ITEMS: Final = 1000
"""How many values a list has at most."""
MAX_DEPTH: Final = 8
"""How deep objects and lists lie within one another at most."""
MAX_INTEGER: Final = (1 << 63) - 1

_ID: Final = re.compile(ID_PATTERN)
_TEXT: Final = f"a text has at most {MAX_TEXT:,} characters, and no NUL among them"
_INTEGER: Final = "a whole number has at most 64 bits"


def is_id(value: str) -> bool:
    """Whether a customer, a request or an event may be called so."""
    return len(value) <= MAX_ID and _ID.fullmatch(value) is not None and is_text(value)


def is_text(value: str) -> bool:
    """Whether it is not too long and can be written at all: NUL and half of a surrogate pair cannot."""
    if len(value) > MAX_TEXT or "\0" in value:
        return False
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def flaw(value: object, depth: int = 1) -> str | None:
    """What is too large, too deep or not to be kept in a JSON value; None: nothing. The value itself is not told."""
    if isinstance(value, str):
        return None if is_text(value) else _TEXT
    if isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            return f"objects and lists lie at most {MAX_DEPTH} deep within one another"
        return _flaw_of_object(value, depth) if isinstance(value, dict) else _flaw_of_list(value, depth)
    return _INTEGER if isinstance(value, int) and not -MAX_INTEGER - 1 <= value <= MAX_INTEGER else None


def _flaw_of_object(value: dict[str, object], depth: int) -> str | None:
    if len(value) > MAX_NAMES:
        return f"an object has at most {MAX_NAMES} fields"
    for name, each in value.items():
        if len(name) > MAX_NAME or not is_text(name):
            return f"the name of a field has at most {MAX_NAME} characters, and no NUL among them"
        if isinstance(each, float):
            continue
        found = flaw(each, depth + 1)
        if found is not None:
            return found
    return None


def _flaw_of_list(value: list[object], depth: int) -> str | None:
    if len(value) > MAX_ITEMS:
        return f"a list has at most {MAX_ITEMS:,} values"
    return next((found for each in value if (found := flaw(each, depth + 1)) is not None), None)
