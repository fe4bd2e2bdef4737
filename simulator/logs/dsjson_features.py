"""A campaign's features as JSON for Vowpal Wabbit: the very names, namespaces and digits that the learner writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optimizer.features import Encoded, FeatureSpace, LevelTerm

_MOST: Final = 50_000
_ALL: Final = -1
_NONE: Final = -2
"""Besides a channel's number, what columns are of: all arms; and what no column is of."""


class FeatureTexts:
    """Writes the members of JSON objects: namespaces with their features. Features that are 0 are left out.

    Args:
        space: the features of the campaign that learns, over the arms of the one that decided.
    """

    def __init__(self, space: FeatureSpace) -> None:
        self._space = space
        self._names = [_text(column.text) for column in space.columns]
        self._arms: dict[tuple[int, tuple[str, int] | None], str] = {}
        self._levels: list[dict[Any, str]] = [{} for _ in space.terms]
        self._channels = [*range(len(space.catalog.channels)), _NONE]
        self._channel_of = space.catalog.channel_of.tolist()

    def shared(self, dense: Sequence[float], encoded: Encoded, row: int) -> str:
        """What all arms see.

        Args:
            dense: (C,) the scorer's dense columns.
            encoded: the features of several customers.
            row: which of them.
        """
        parts = self._numbers(dense, _ALL)
        for term, known in zip(self._space.terms, self._levels, strict=True):
            text = self._level(term, known, tuple(encoded.levels[i][row] for i in term.features))
            if text:
                parts[term.space] = f"{parts[term.space]},{text}" if term.space in parts else text
        return _namespaces(parts)

    def by_channel(self, dense: Sequence[float]) -> list[str]:
        """What only the arms of a channel see, for each channel and, last, for arms that have none."""
        return [_namespaces(self._numbers(dense, channel)) for channel in self._channels]

    def arm(self, arm: int, variant: tuple[str, int] | None, by_channel: Sequence[str]) -> str:
        """One action, as an object; its slot has this weekday and days ahead."""
        own = self._arms.get((arm, variant))
        if own is None:
            own = self._arms[arm, variant] = self._arm(arm, variant)
        seen = by_channel[self._channel_of[arm]]
        return f"{{{own},{seen}}}" if seen else f"{{{own}}}"

    def _arm(self, arm: int, variant: tuple[str, int] | None) -> str:
        parts: dict[str, str] = {}
        for space, name, value in self._space.arm_features(arm, variant):
            if value:
                text = f"{_text(name)}:{value:.9g}"
                parts[space] = f"{parts[space]},{text}" if space in parts else text
        return f'"_tag":{_text(self._space.catalog.arms[arm].id)},{_namespaces(parts)}'

    def _numbers(self, dense: Sequence[float], channel: int) -> dict[str, str]:
        parts: dict[str, str] = {}
        for column, name, value in zip(self._space.columns, self._names, dense, strict=True):
            if value and column.channel == channel:
                text = f"{name}:{value:.9g}"
                parts[column.space] = f"{parts[column.space]},{text}" if column.space in parts else text
        return parts

    def _level(self, term: LevelTerm, known: dict[Any, str], values: tuple[Any, ...]) -> str:
        text = known.get(values)
        if text is None:
            if len(known) >= _MOST:
                known.clear()
            text = known[values] = ",".join(f"{_text(name)}:1" for name in self._space.term_levels(term, values))
        return text


def _text(text: str) -> str:
    return orjson.dumps(text).decode()


def _namespaces(parts: Mapping[str, str]) -> str:
    return ",".join(f'"{space}":{{{text}}}' for space, text in sorted(parts.items()))
