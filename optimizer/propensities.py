"""The audit of propensities: whether arms were drawn with the probabilities that the log says, from the log alone.

For each random draw of a campaign the whole distribution is computed again from what is logged with it. Then, for each
arm, the sum of (1 if it was drawn, else 0) - p has to be near 0: see `optimizer.bennett` for how near.

Every decision that drew from a distribution counts, those that drew no_send too: to leave these out would select on the
draw itself. The policies that draw nothing (holdout, business as usual) are left out. A second look, at the logged
propensities: 1 / (propensity x candidates) has mean 1 over draws, and each has to equal the probability recomputed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Final

import numpy as np
import orjson

from optimizer.bennett import alarm, z
from optimizer.exploration import Exploration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from optimizer.catalog import Catalog
    from optimizer.store.draws import DrawRow
    from optimizer.store.rows import DecisionRow

_EQUAL: Final = 1e-9
_CHUNK: Final = 5_000


@dataclass(frozen=True, slots=True)
class Audited:
    """What some draws come to; those of two sets of draws are added.

    Attributes:
        draws: how many there are.
        off: S by arm; `variance`: V by arm.
        weight: sum of 1 / (logged propensity x candidates).
        differing: how many draws have another logged propensity than the recomputed one, or cannot be recomputed.
        example: the id of one of these.
    """

    draws: int = 0
    off: Mapping[str, float] = field(default_factory=dict)
    variance: Mapping[str, float] = field(default_factory=dict)
    weight: float = 0.0
    differing: int = 0
    example: str | None = None

    def __add__(self, other: Audited) -> Audited:
        return Audited(
            self.draws + other.draws,
            _sum(self.off, other.off),
            _sum(self.variance, other.variance),
            self.weight + other.weight,
            self.differing + other.differing,
            self.example or other.example,
        )

    @property
    def z(self) -> Mapping[str, float]:
        """By arm; infinite for an arm that was drawn although it could not be, or not although it had to be."""
        return {arm: z(off, self.variance[arm]) for arm, off in self.off.items()}

    @property
    def worst(self) -> tuple[str, float]:
        """The arm whose |z| is the largest, and its z; ('', 0) without draws."""
        return max(self.z.items(), key=lambda each: abs(each[1]), default=("", 0.0))

    @property
    def alarm(self) -> float:
        """What |z| must not reach, for as many arms as there are."""
        return alarm(len(self.off))

    @property
    def mean_weight(self) -> float:
        """Near 1 in a right log; 1 without draws."""
        return self.weight / self.draws if self.draws else 1.0

    @property
    def holds(self) -> bool:
        """Whether the log may be right."""
        return self.differing == 0 and abs(self.worst[1]) < self.alarm


def audit(catalog: Catalog, rows: Sequence[DrawRow]) -> Audited:
    """Audit draws of one campaign version."""
    # Decisions by one model have the same few policies, hence a handful of groups whatever the number of rows.
    groups: dict[tuple[str, bool], list[DrawRow]] = {}
    broken = []
    for row in rows:
        if _fits(catalog, row):
            groups.setdefault((row.exploration, row.snapshot_id is None), []).append(row)
        else:
            broken.append(row)
    found = unreadable(broken)
    for (text, _), mine in groups.items():
        try:
            exploration = Exploration(**orjson.loads(text))
            if exploration.kind != "fixed":
                starts = range(0, len(mine), _CHUNK)
                found = reduce(add, (_audit(catalog, exploration, mine[at : at + _CHUNK]) for at in starts), found)
        except (TypeError, ValueError, KeyError):
            found += unreadable(mine)
    return found


def _fits(catalog: Catalog, row: DrawRow) -> bool:
    """Whether its candidates are some of the catalog's arms, with a score for each if there was a model."""
    k = len(catalog)
    width = -(-k // 8)
    candidates = int.from_bytes(row.candidates)
    scored = 0 if row.snapshot_id is None else candidates.bit_count()
    beyond = candidates & ((1 << 8 * width - k) - 1)
    size = np.dtype(np.float32).itemsize
    return len(row.candidates) == width and not beyond and row.arm in catalog.index and len(row.scores) == size * scored


def _audit(catalog: Catalog, exploration: Exploration, rows: Sequence[DrawRow]) -> Audited:
    """Audit draws by one policy, all with a model or all without."""
    n, k = len(rows), len(catalog)
    p = exploration.probabilities(*logged_scores(catalog, rows))
    arms = np.array([catalog.index[row.arm] for row in rows], np.intp)
    logged = np.array([row.propensity for row in rows], np.float64)
    right = np.abs(logged - p[np.arange(n), arms]) <= _EQUAL
    differing = unreadable([rows[i] for i in np.flatnonzero(~right).tolist()])
    # A propensity of 0 or less, and scores that are no numbers, are told by `differing` and would spoil the sums.
    usable = np.isfinite(p).all(axis=1) & (logged > 0.0)
    p, arms, logged = p[usable], arms[usable], logged[usable]
    off = np.bincount(arms, minlength=k) - p.sum(axis=0)
    variance = (p * (1.0 - p)).sum(axis=0)
    weight = float((1.0 / (logged * np.count_nonzero(p, axis=1).clip(1))).sum())
    ids = tuple(catalog.index)
    return differing + Audited(
        len(arms),
        dict(zip(ids, off.tolist(), strict=True)),
        dict(zip(ids, variance.tolist(), strict=True)),
        weight,
    )


def logged_scores(
    catalog: Catalog, rows: Sequence[DrawRow | DecisionRow]
) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_]]:
    """The scores (n, K) that were logged with draws, 0 for what was no candidate, and the candidates (n, K).

    All were made with a model, or all without: then there are no scores.
    """
    n, k = len(rows), len(catalog)
    packed = np.frombuffer(b"".join(row.candidates for row in rows), np.uint8).reshape(n, -1)
    allowed = np.unpackbits(packed, axis=1, count=k).astype(np.bool_)
    if rows[0].snapshot_id is None:
        return None, allowed
    scores = np.zeros((n, k), np.float32)
    scores[allowed] = np.frombuffer(b"".join(row.scores for row in rows), np.float32)
    return scores, allowed


def unreadable(rows: Sequence[DrawRow]) -> Audited:
    """Draws that cannot be recomputed."""
    return Audited(differing=len(rows), example=rows[0].decision_id if rows else None)


def _sum(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {arm: one.get(arm, 0.0) + other.get(arm, 0.0) for arm in {**one, **other}}
