"""The service's log as a flat table: a column for each attribute and history feature, lists as texts.

What has been known in the campaign's time decides which columns there are, so that the log is written as Parquet first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from optimizer.attributes import HISTORY_FEATURES, PER_CHANNEL_FEATURES
from optimizer.facts import CONTACT, TOUCHES
from simulator.logs.parts import stretches
from simulator.logs.service import MEANINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from simulator.logs.service_reading import Facts

_NESTED: Final = ("context", "history", "candidates", "probabilities")
_AT_ONCE: Final = 1_000
_SINGLE: Final = tuple(name for name in MEANINGS if name not in _NESTED)
_ONE_VALUE: Final = (*(name for name in HISTORY_FEATURES if name not in PER_CHANNEL_FEATURES), TOUCHES)


def flat_meanings(facts: Facts) -> dict[str, str]:
    """Every column of the table, in its order, with what it means."""
    by_channel = [(name, channel) for name in sorted(PER_CHANNEL_FEATURES) for channel in facts.channels]
    return {
        **{name: MEANINGS[name] for name in _SINGLE},
        "candidates": "The arms that nothing had removed, separated by spaces.",
        "probabilities": "Their probabilities, separated by spaces; empty where nothing was drawn.",
        **{f"context.{name}": f"The attribute {name} ({kind}); lists as JSON." for name, kind in facts.types.items()},
        **{f"history.{name}": f"{name}, as known when deciding." for name in _ONE_VALUE},
        **{f"history.{name}.{channel}": f"{name}, for {channel}." for name, channel in by_channel},
        f"history.{CONTACT}": "What contact rules read of the customer, as JSON.",
    }


def flat_rows(path: Path, facts: Facts) -> Iterator[Sequence[str]]:
    """The cells of every row of an exported file, in the order of the columns; an empty text is a missing value."""
    for stretch in stretches([str(path)]):
        for _, table in stretch.tables(None, _AT_ONCE):
            for row in table.to_pylist():
                yield _cells(row, facts)


def _cells(row: Mapping[str, Any], facts: Facts) -> list[str]:
    known: Mapping[str, Any] = orjson.loads(row["context"])["attributes"]
    history: Mapping[str, Any] = orjson.loads(row["history"])
    by_channel = [history.get(name, {}) for name in sorted(PER_CHANNEL_FEATURES)]
    values = [row[name] for name in _SINGLE]
    values += [" ".join(row["candidates"]), " ".join(map(repr, row["probabilities"] or ()))]
    values += [known.get(name) for name in facts.types]
    values += [history.get(name) for name in _ONE_VALUE]
    values += [each.get(channel) for each in by_channel for channel in facts.channels]
    values.append(history.get(CONTACT))
    return [_text(value) for value in values]


def _text(value: Any) -> str:  # noqa: ANN401 - whatever a cell may hold
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return str(value).lower()
        case float() | int():
            return repr(value)
        case list() | dict():
            return orjson.dumps(value).decode()
        case _:
            return str(value.isoformat())
