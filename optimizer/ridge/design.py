"""Lessons as numbers: the columns of the context, and the levels of the arm drawn, counted as they first appear.

A regression on crosses has a coefficient for every context column and every feature of an arm, and one for each feature
of an arm alone. An example is therefore a product: a row z of context columns, of which the first is 1, once for each
**level** of the arm drawn. A level is a set of arm features that always come together, as a message with its
attributes; weekday and days ahead of a time vary apart from it and are levels of their own. A **place** is what an arm
fills with one of its levels or leaves empty.

The coefficients are those of Vowpal Wabbit's table: crosses whose hashes meet share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from scipy import sparse

from optimizer.vw import cross, feature_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.features import FeatureSpace
    from optimizer.lessons import Lessons

LIMIT: Final = 2_500
"""How many coefficients there may be. Their products fill a triangle of 25 MB, and solving for them takes 0.3 s."""

_KNOWN_TEXTS: Final = 50_000
_DENSE: Final = 40_000
_APART: Final = ("weekday=", "days_ahead=")

Names: TypeAlias = tuple[int, ...]
Levels: TypeAlias = tuple[tuple[int, int], ...]
"""The places that an arm fills, each with the number of its level."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Some lessons, as they are kept until they are added up.

    Attributes:
        dense: (m, C) float32, the standardised numbers and the indicators of missing ones.
        names: for each categorical term m times the numbers of the names that are on.
        arms: m times the levels of the arm drawn.
        rewards: (m,) float64.
    """

    dense: NDArray[np.float32]
    names: tuple[Sequence[Names], ...]
    arms: Sequence[Levels]
    rewards: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rewards)

    def then(self, more: Rows) -> Rows:
        """These and more after them."""
        return Rows(
            np.concatenate([self.dense, more.dense]),
            tuple([*mine, *others] for mine, others in zip(self.names, more.names, strict=True)),
            [*self.arms, *more.arms],
            np.concatenate([self.rewards, more.rewards]),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Coefficients that have to do with each other: no two parts ever meet in an example.

    Attributes:
        rows, columns: which ones of all of `Coefficients.of_levels`.
        of_levels: (rows, columns) these; sparse where they are many.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    of_levels: NDArray[np.float64] | sparse.csr_array


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Which coefficients there are, and how those of levels are made of them.

    Attributes:
        index: (D,) where each stands in Vowpal Wabbit's table.
        of_levels: (R, D) sparse; R counts the context columns of every level of every place, in this order. A level has
            the sum of its features' coefficients, each times the feature's value.
        parts: what can be solved for apart.
    """

    index: NDArray[np.intp]
    of_levels: sparse.csr_array
    parts: tuple[Part, ...]


class Design:
    """Reads lessons, and numbers what it finds in them until there would be more than `LIMIT` coefficients.

    From then on it is `full`: what was not met before has no part in the regression.

    Args:
        space: the campaign's features.
        pairs: with the pairs of categorical features, or without.
        state: of an earlier design, from `state`.
    """

    def __init__(self, space: FeatureSpace, *, pairs: bool, state: dict[str, Any] | None = None) -> None:
        self._crosses = space.crosses
        self._dense = tuple(dict.fromkeys((c.space, c.text, c.number, c.flag) for c in space.columns))
        self._terms = [(i, term.space) for i, term in enumerate(space.terms) if pairs or not term.pooled]
        kept = state or {"names": [[] for _ in self._terms], "places": [], "named": [], "levels": [], "full": False}
        self._names = [{name: i for i, name in enumerate(names)} for names in kept["names"]]
        self._places = {(space, kind): i for i, (space, kind, _) in enumerate(kept["places"])}
        self._levels = [{text: i for i, text in enumerate(texts)} for _, _, texts in kept["places"]]
        self._named: list[tuple[int, int]] = [(term, name) for term, name in kept["named"]]
        self._counted: list[int] = kept["levels"]
        self.full: bool = kept["full"]
        self._texts: list[dict[str, Names]] = [{} for _ in self._terms]
        self._arms: dict[str, Levels] = {}
        self.coefficients = self._coefficients()

    def state(self) -> dict[str, Any]:
        """All of it as plain lists, for another one to go on from."""
        places = zip(self._places, self._levels, strict=True)
        return {
            "names": [list(names) for names in self._names],
            "places": [[space, kind, list(levels)] for (space, kind), levels in places],
            "named": self._named,
            "levels": self._counted,
            "full": self.full,
        }

    # Reading

    @property
    def nothing(self) -> Rows:
        """No rows."""
        return Rows(np.zeros((0, len(self._dense)), np.float32), tuple([] for _ in self._terms), [], np.zeros(0))

    def read(
        self, lessons: Lessons, standardised: NDArray[np.float32], texts: Sequence[Sequence[str]], part: slice
    ) -> Rows:
        """The lessons of `part`.

        Args:
            lessons: n lessons, rewards rounded.
            standardised: (n, number of numbers) as the arm drawn sees them.
            texts: for each term of the feature space the n texts of its values, names with a space before each.
            part: which of them.
        """
        dense = np.empty((part.stop - part.start, len(self._dense)), np.float32)
        for j, (_, _, number, flag) in enumerate(self._dense):
            if flag:
                dense[:, j] = np.isnan(lessons.numbers[part, number]) & ~lessons.unseen[part, number]
            else:
                dense[:, j] = standardised[part, number]
        names = []
        for (i, _), known, numbers in zip(self._terms, self._texts, self._names, strict=True):
            mine = texts[i][part]
            for text in dict.fromkeys(mine):
                if text not in known:
                    known[text] = self._numbers(text, numbers)
            names.append([known[text] for text in mine])
            if len(known) > _KNOWN_TEXTS:
                known.clear()
        arms = lessons.arms[part]
        for text in dict.fromkeys(arms):
            if text not in self._arms:
                self._arms[text] = self._levels_of(text)
        return Rows(dense, tuple(names), [self._arms[text] for text in arms], lessons.rewards[part])

    def _numbers(self, text: str, known: dict[str, int]) -> Names:
        found = text.split(" ")[1:]
        if self.full:
            return tuple(known[name] for name in found if name in known)
        return tuple(known.setdefault(name, len(known)) for name in found)

    def _levels_of(self, text: str) -> Levels:
        texts: dict[tuple[str, str], str] = {}
        space = ""
        for word in text.split(" ")[1:]:
            if word.startswith("|"):
                space = word[1:]
                texts[space, ""] = ""
            else:
                kind = next((kind for kind in _APART if word.startswith(kind)), "")
                texts[space, kind] = f"{texts.get((space, kind), '')} {word}"
        levels = []
        for place, features in texts.items():
            if place not in self._places:
                if self.full:
                    continue
                self._places[place] = len(self._places)
                self._levels.append({})
            known = self._levels[self._places[place]]
            if features in known or not self.full:
                levels.append((self._places[place], known.setdefault(features, len(known))))
        return tuple(levels)

    # Counting

    @property
    def columns(self) -> int:
        """How many context columns there are: 1, the dense ones, and the names."""
        return 1 + len(self._dense) + len(self._named)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """For each place the number of its levels, and of the columns that these are crossed with: all or the first."""
        crossed = {space for spaces in self._crosses.values() for space in spaces}
        spaces = [space for space, _ in self._places][: len(self._counted)]
        return [(n, self.columns if s in crossed else 1) for s, n in zip(spaces, self._counted, strict=True)]

    def widen(self) -> None:
        """Give everything that was read coefficients, or, where these would be too many, nothing new from now on."""
        sizes = [len(levels) for levels in self._levels]
        have = set(self._named) if sum(map(len, self._names)) > len(self._named) else None
        if self.full or (have is None and sizes == self._counted):
            return
        before = self._named, self._counted, self.coefficients
        if have is not None:
            every = [(term, name) for term, names in enumerate(self._names) for name in range(len(names))]
            self._named = [*self._named, *(each for each in every if each not in have)]
        self._counted = sizes
        self.coefficients = self._coefficients()
        if len(self.coefficients.index) > LIMIT:
            self._named, self._counted, self.coefficients = before
            self.full = True

    def _coefficients(self) -> Coefficients:
        spaces = [space for space, _, _, _ in self._dense] + [self._terms[term][1] for term, _ in self._named]
        names: list[list[str]] = [list(known) for known in self._names]
        texts = [text for _, text, _, _ in self._dense] + [names[term][name] for term, name in self._named]
        hashes = np.array([feature_hash(*each) for each in zip(spaces, texts, strict=True)], np.uint64)
        indexes, rows, values, start = [], [], [], 0
        for (space, _), levels, (count, width) in zip(self._places, self._levels, self.shapes, strict=False):
            crossed = np.array([space in self._crosses[context] for context in spaces], np.bool_)
            columns = np.flatnonzero(crossed) + 1
            for level in list(levels)[:count]:
                for word in level.split(" ")[1:]:
                    name, _, value = word.partition(":")
                    hashed = feature_hash(space, name)
                    crosses = cross(hashes[crossed], np.array([hashed], np.uint64))[:, 0]
                    indexes.append(np.concatenate([[hashed], crosses]).astype(np.intp))
                    rows.append(start + np.concatenate([[0], columns]))
                    values.append(np.full(1 + len(columns), float(value or 1.0)))
                start += width
        found = np.concatenate(indexes) if indexes else np.zeros(0, np.intp)
        index, column = np.unique(found, return_inverse=True)
        row = np.concatenate(rows) if rows else np.zeros(0, np.intp)
        value = np.concatenate(values) if values else np.zeros(0)
        of_levels = sparse.csr_array((value, (row, column)), (start, len(index)))
        return Coefficients(index, of_levels, self._parts(of_levels))

    def _parts(self, of_levels: sparse.csr_array) -> tuple[Part, ...]:
        """Levels of several places meet in examples; those of one place never do, but they may share coefficients."""
        shapes = self.shapes
        rows, columns = of_levels.shape
        if len(shapes) != 1:
            return (_part(of_levels, np.arange(rows)),) if columns else ()
        levels, width = shapes[0]
        entries = of_levels.tocoo()
        shared = sparse.csr_array((np.ones(entries.nnz), (entries.row // width, entries.col)), (levels, columns))
        count, part_of = sparse.csgraph.connected_components(shared @ shared.T, directed=False)
        return tuple(
            _part(of_levels, (np.flatnonzero(part_of == part)[:, None] * width + np.arange(width)).ravel())
            for part in range(count)
        )

    # Numbers

    def context(self, rows: Rows) -> NDArray[np.float64]:
        """(m, columns) the context columns of rows."""
        z = np.zeros((len(rows), self.columns))
        z[:, 0] = 1.0
        z[:, 1 : 1 + len(self._dense)] = rows.dense
        first = 1 + len(self._dense)
        column_of = [np.full(len(known) + 1, -1, np.intp) for known in self._names]
        for number, (term, name) in enumerate(self._named, first):
            column_of[term][name] = number
        for term, switched_on in enumerate(rows.names):
            row = np.repeat(np.arange(len(rows)), [len(each) for each in switched_on])
            column = column_of[term][[name for each in switched_on for name in each]]
            there = column >= 0
            np.add.at(z, (row[there], column[there]), 1.0)
        return z

    def levels(self, rows: Rows) -> NDArray[np.intp]:
        """(m, places) the number of the level in each place, -1 where it is empty or has no coefficients."""
        out = np.full((len(rows), len(self._counted)), -1, np.intp)
        row = np.repeat(np.arange(len(rows)), [len(levels) for levels in rows.arms])
        pairs = np.array([pair for levels in rows.arms for pair in levels], np.intp).reshape(-1, 2)
        sizes = np.array([*self._counted, *(0 for _ in range(len(self._levels) - len(self._counted)))], np.intp)
        there = pairs[:, 1] < sizes[pairs[:, 0]]
        out[row[there], pairs[there, 0]] = pairs[there, 1]
        return out


def _part(of_levels: sparse.csr_array, rows: NDArray[np.intp]) -> Part:
    mine = of_levels[rows]
    columns = np.unique(mine.indices).astype(np.intp)
    mine = mine[:, columns]
    return Part(rows, columns, mine.toarray() if len(rows) * len(columns) < _DENSE else mine)
