"""What learners read of lessons in Vowpal Wabbit's text format, and the vocabulary that comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.features import FeatureSpace, LevelTerm
    from optimizer.lessons import Lessons

_VOCABULARY_LIMIT = 50_000


@dataclass(slots=True)
class LevelTexts:
    """The text of a term's values, remembered: its keys are the vocabulary."""

    space: FeatureSpace
    term: LevelTerm
    known: dict[Any, str] = field(default_factory=dict)

    def get(self, value: Any) -> str:  # noqa: ANN401 -- a level, or a tuple of them for a pair
        """The names that a value switches on, with a space before each."""
        text = self.known.get(value)
        if text is None:
            values = value if len(self.term.features) > 1 else (value,)
            text = "".join(f" {name}" for name in self.space.term_levels(self.term, values))
            if len(self.known) < _VOCABULARY_LIMIT:
                self.known[value] = text
        return text

    @property
    def seen(self) -> tuple[Any, ...]:
        """The values seen, the first ones where they are very many."""
        return tuple(self.known)


class Texts:
    """Writes lessons in Vowpal Wabbit's text format, and remembers the values of categorical terms."""

    def __init__(self, space: FeatureSpace) -> None:
        self._space = space
        self.levels = [LevelTexts(space, term) for term in space.terms]

    def of_terms(self, lessons: Lessons) -> list[list[str]]:
        """For each categorical term the n texts of its values: names, with a space before each."""
        texts = []
        for known in self.levels:
            columns = [lessons.levels[i] for i in known.term.features]
            values = columns[0] if len(columns) == 1 else zip(*columns, strict=True)
            texts.append([known.get(v) for v in values])
        return texts

    def examples(
        self, lessons: Lessons, standardised: NDArray[np.float32], of_terms: Sequence[Sequence[str]], part: slice
    ) -> tuple[list[str], list[str]]:
        """The example of each lesson of `part`, without label; without and with the namespaces of the pairs."""
        parts: dict[str, list[Sequence[str]]] = {}
        self._numbers(lessons, standardised, parts, part)
        for known, texts in zip(self.levels, of_terms, strict=True):
            parts.setdefault(known.term.space, []).append(texts[part])
        plain, paired = [lessons.arms[part]], [lessons.arms[part]]
        for space, lines in sorted(parts.items()):
            joined = [f" |{space}" + "".join(row) for row in zip(*lines, strict=True)]
            paired.append(joined)
            if space not in self._space.pooled_spaces:
                plain.append(joined)
        plain_texts = ["".join(row) for row in zip(*plain, strict=True)]
        if len(plain) == len(paired):
            return plain_texts, plain_texts
        return plain_texts, ["".join(row) for row in zip(*paired, strict=True)]

    def _numbers(
        self,
        lessons: Lessons,
        standardised: NDArray[np.float32],
        parts: dict[str, list[Sequence[str]]],
        part: slice,
    ) -> None:
        numbers: dict[str, dict[int, str]] = {}
        flags: dict[int, tuple[str, str]] = {}
        for column in self._space.columns:
            if column.flag:
                flags[column.number] = (column.space, column.text)
            else:
                numbers.setdefault(column.space, {})[column.number] = column.text
        for space, names in numbers.items():
            form = "".join(f" {text}:%.9g" for text in names.values())
            values = standardised[part][:, list(names)].tolist()
            parts.setdefault(space, []).append([form % tuple(row) for row in values])
        if flags:
            missing = np.isnan(lessons.numbers[part]) & ~lessons.unseen[part]
            for number, (space, text) in flags.items():
                parts[space].append([f" {text}" if m else "" for m in missing[:, number].tolist()])
