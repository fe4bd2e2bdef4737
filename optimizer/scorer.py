"""A snapshot compiled to arrays: the learner's own scores, as matrix products.

With the catalog known, a linear model over hashed crosses is a matrix. Every (context feature, arm feature) pair is
looked up once; summed over the features of an arm this gives a row of K weights for each context feature, and the
scores of a batch are

    scores = dense @ W + sum of the rows of each customer's categorical values + b.

Products are taken in fixed tiles of `TILE` customers, so that a batch of one and of a million agree to the last bit.
The rows of values that were not known at compile time are looked up when they first come: hashing may give them
weights, and Vowpal Wabbit would use these.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from optimizer.vw import cross, feature_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.features import Encoded, FeatureSpace, LevelTerm
    from optimizer.snapshot import Snapshot

TILE = 64
_ROWS_LIMIT = 200_000
_SCHEDULES_LIMIT = 16
"""How many schedules a scorer keeps arrays for: those of some zones and days at a time."""

Floats32: TypeAlias = NDArray[np.float32]
Variants: TypeAlias = tuple[tuple[str, int] | None, ...]
Rows: TypeAlias = tuple[Floats32, NDArray[np.intp]]
"""The rows of K weights of a categorical term's values, and (n,) which of them each customer takes."""


class Scorer:
    """Scores every arm of a catalog for batches of customers.

    Args:
        snapshot: the model.
        space: the features of the campaign version that decides; the learner's features are the same, its catalog may
            be older.
        arms: number of arms K.
        slot_of, channel_of: (K,) index of each arm's slot and channel, -1 without.
    """

    def __init__(
        self, snapshot: Snapshot, space: FeatureSpace, slot_of: NDArray[np.intp], channel_of: NDArray[np.intp]
    ) -> None:
        self.snapshot = snapshot
        self._space = space
        self._slot_of = slot_of
        self._channel_of = channel_of
        self._terms = [
            (term, known)
            for term, known in zip(space.terms, snapshot.vocabulary or ((),) * len(space.terms), strict=True)
            if snapshot.pairs or not term.pooled
        ]
        self._compiled: OrderedDict[Variants, Compiled] = OrderedDict()
        self._lock = Lock()

    def compiled(self, variants: Variants) -> Compiled:
        """The arrays for slots of these weekdays and days ahead; made when they are first asked for."""
        with self._lock:
            if variants not in self._compiled:
                arms = _ArmSide(self._space, self._slot_of, variants)
                self._compiled[variants] = Compiled(self.snapshot, self._space, self._terms, arms, self._channel_of)
                if len(self._compiled) > _SCHEDULES_LIMIT:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(variants)
            return self._compiled[variants]

    def recent(self) -> list[Variants]:
        """The schedules that were used last."""
        with self._lock:
            return list(self._compiled)

    def scores(self, encoded: Encoded, variants: Variants) -> Floats32:
        """(n, K) float32 scores of all arms, higher is better, for customers whose slots have these variants."""
        return self.compiled(variants).scores(encoded)


class Compiled:
    """The weights of one snapshot for the arms of one schedule."""

    def __init__(
        self,
        snapshot: Snapshot,
        space: FeatureSpace,
        terms: Sequence[tuple[LevelTerm, Sequence[Any]]],
        arms: _ArmSide,
        channel_of: NDArray[np.intp],
    ) -> None:
        self._snapshot = snapshot
        self._space = space
        weights = snapshot.weights
        own = weights[arms.hashes].astype(np.float64)
        self._bias = np.asarray(own @ arms.incidence, np.float32)
        hashes = np.array([feature_hash(c.space, c.text) for c in space.columns], np.uint64)
        self._dense = arms.rows(weights, hashes, [space.crosses[c.space] for c in space.columns])
        for row, column in zip(self._dense, space.columns, strict=True):
            if column.channel >= 0:
                row[channel_of != column.channel] = 0.0
        self._tables = [_RowTable(space, term, known, arms, weights) for term, known in terms]

    def scores(self, encoded: Encoded) -> Floats32:
        """(n, K) float32; see `Scorer.scores`."""
        return self.from_encoded(*self.encode(encoded))

    def encode(self, encoded: Encoded) -> tuple[Floats32, list[Rows]]:
        """The dense columns (n, C), standardised, and for each categorical term its table and the customers' rows."""
        space = self._space
        dense = space.dense(encoded, self._snapshot.standardiser.apply(encoded.numbers, space.number_of))
        return dense, [table.look_up([encoded.levels[i] for i in table.term.features]) for table in self._tables]

    def from_encoded(self, dense: Floats32, rows: Sequence[Rows]) -> Floats32:
        """The same as `scores`, given what `encode` made."""
        n = len(dense)
        tiles = _product(dense, self._dense)
        tiles += self._bias
        for table, index in rows:
            tiles[:n] += table[index]
        np.negative(tiles, out=tiles)
        if self._snapshot.loss == "logistic":
            with np.errstate(over="ignore"):
                np.exp(tiles, out=tiles)
            tiles += 1.0
            np.reciprocal(tiles, out=tiles)
        return tiles[:n]


def _product(rows: Floats32, columns: Floats32) -> Floats32:
    """`rows` (n, D) @ `columns` (D, K) in whole tiles: (n rounded up to a multiple of `TILE`, K), zero past n.

    Every product has the same shape, so a row's result does not depend on the rows beside it. What follows is done on
    whole tiles too, since numpy may round elementary functions differently in arrays of other sizes.
    """
    n, d = rows.shape
    tiles = -(-n // TILE)
    if n != tiles * TILE:
        padded = np.zeros((tiles * TILE, d), np.float32)
        padded[:n] = rows
        rows = padded
    products: Floats32 = rows.reshape(tiles, TILE, d) @ columns
    return products.reshape(tiles * TILE, columns.shape[1])


class _ArmSide:
    """The distinct features of all arms (J) and which arm has which.

    Attributes:
        hashes: (J,) uint64.
        incidence: (J, K) float64, the value of feature j in arm k.
    """

    def __init__(self, space: FeatureSpace, slot_of: NDArray[np.intp], variants: Variants) -> None:
        index: dict[tuple[str, str], int] = {}
        entries = [
            (index.setdefault((namespace, name), len(index)), arm, value)
            for arm, slot in enumerate(slot_of.tolist())
            for namespace, name, value in space.arm_features(arm, variants[slot] if slot >= 0 else None)
        ]
        self.hashes = np.array([feature_hash(*key) for key in index], np.uint64)
        self.incidence = np.zeros((len(index), len(slot_of)))
        for j, arm, value in entries:
            self.incidence[j, arm] = value
        self._of_space = {
            space: np.array([j for (namespace, _), j in index.items() if namespace == space], np.intp)
            for space in {namespace for namespace, _ in index}
        }

    def rows(self, weights: Floats32, hashes: NDArray[np.uint64], crossed: Sequence[tuple[str, ...]]) -> Floats32:
        """(F, K) the weights of F context features, each crossed with the arm namespaces `crossed[f]`, by arm."""
        out = np.zeros((len(hashes), self.incidence.shape[1]), np.float32)
        kinds: dict[tuple[str, ...], list[int]] = {}
        for f, spaces in enumerate(crossed):
            kinds.setdefault(spaces, []).append(f)
        for spaces, members in kinds.items():
            js = [self._of_space[s] for s in spaces if s in self._of_space]
            if js:
                j = np.concatenate(js)
                looked_up = weights[cross(hashes[members], self.hashes[j])]
                out[members] = _product(looked_up, self.incidence[j].astype(np.float32))[: len(members)]
        return out


class _RowTable:
    """The K weights of each value of one categorical term; grows as values come, and starts anew when too large."""

    def __init__(
        self, space: FeatureSpace, term: LevelTerm, known: Sequence[Any], arms: _ArmSide, weights: Floats32
    ) -> None:
        self.term = term
        self._space = space
        self._arms = arms
        self._weights = weights
        self._lock = Lock()
        self._index: dict[Any, int] = {}
        self._rows = np.zeros((0, arms.incidence.shape[1]), np.float32)
        self._grow(known)

    def look_up(self, columns: Sequence[Sequence[Any]]) -> Rows:
        """The table and each customer's row in it, from the values of the term's features (n each)."""
        values = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        with self._lock:
            get = self._index.get
            found = [get(v, -1) for v in values]
            if -1 in found:
                if len(self._index) > _ROWS_LIMIT:
                    self._index, self._rows = {}, self._rows[:0]
                self._grow(values)
                get = self._index.get
                found = [get(v, -1) for v in values]
            return self._rows, np.array(found, np.intp)

    def _grow(self, values: Sequence[Any]) -> None:
        new = [v for v in dict.fromkeys(values) if v not in self._index]
        names = [self._space.term_levels(self.term, v if len(self.term.features) > 1 else (v,)) for v in new]
        hashes = np.array([feature_hash(self.term.space, name) for each in names for name in each], np.uint64)
        weights = self._arms.rows(self._weights, hashes, [self._space.crosses[self.term.space]] * len(hashes))
        rows = np.zeros((len(new), weights.shape[1]), np.float32)
        np.add.at(rows, np.repeat(np.arange(len(new)), [len(each) for each in names]), weights)
        start = len(self._index)
        self._index.update({v: start + i for i, v in enumerate(new)})
        self._rows = np.concatenate([self._rows[:start], rows])
