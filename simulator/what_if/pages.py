"""The logged decisions of a campaign in pages, as far as they can tell what another configuration would have done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from optimizer.exploration import Exploration
from optimizer.groups import Group
from optimizer.reasons import Reason
from optimizer.store import decisions, rewards

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from optimizer.engine import Engine
    from optimizer.rewards import RewardSpec
    from optimizer.store.rows import DecisionRow, RewardRow
    from optimizer.versions import Version

PAGE: Final = 5_000

STRATA: Final = (Group.TREATMENT, Group.RANDOM_CONTROL)
"""The groups whose arms are drawn at random."""

_EQUAL: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Page:
    """n decisions that one version made, each a random draw, or one in which nothing was allowed.

    Attributes:
        version: the version that decided.
        rows: as they are stored.
        contexts, histories: what they store of the customer, decoded.
        stratum: (n,) index into `STRATA`.
        allowed: (n, K) the logged candidates.
        scores: (n, K) float32, the logged scores; NaN where the arm was no candidate, or there was no model.
        distribution: (n, K) the probabilities with which the arm was drawn; rows of zeros where nothing was.
        chosen: (n,) index of the arm drawn, -1 where there was nothing to draw from.
        reward: (n,) what it earned under each reward asked for, one column each: (n, rewards); NaN where not closed.
    """

    version: Version
    rows: Sequence[DecisionRow]
    contexts: Sequence[Mapping[str, Any]]
    histories: Sequence[Mapping[str, Any]]
    stratum: NDArray[np.intp]
    allowed: NDArray[np.bool_]
    scores: NDArray[np.float32]
    distribution: NDArray[np.float64]
    chosen: NDArray[np.intp]
    reward: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(slots=True)
class Decisions:
    """Reads the decisions of a campaign, as often as asked.

    Args:
        engine: where they are.
        campaign_id: whose they are.
        specs: the rewards under which they are to be valued.
        now_us: decisions that a reward has not closed by then are left out.
    """

    engine: Engine
    campaign_id: str
    specs: Sequence[RewardSpec]
    now_us: int
    left_out: Counter[str] = field(default_factory=Counter)
    """How many were left out in the last reading, by cause."""

    def __iter__(self) -> Iterator[Page]:
        store, tenant, after = self.engine.runtime.store, self.engine.runtime.tenant, ""
        self.left_out.clear()

        def read(connection: Connection) -> tuple[list[Page], str | None]:
            rows = decisions.decision_page(connection, tenant, self.campaign_id, after_id=after, limit=PAGE)
            pages = [
                page
                for config_hash, same in groupby(rows, key=lambda row: row.config_hash)
                if (page := self._page(connection, config_hash, list(same))) is not None
            ]
            return pages, rows[-1].decision_id if rows else None

        while True:
            pages, last = store.read(read)
            if last is None:
                return
            yield from pages
            after = last

    def _page(self, connection: Connection, config_hash: str, rows: Sequence[DecisionRow]) -> Page | None:
        version = self.engine.versions.get(connection, self.campaign_id, config_hash)
        kept = self._usable(connection, rows)
        if not kept:
            return None
        reward = self._rewards(connection, kept)
        closed = ~np.isnan(reward).any(axis=1)
        drawn = np.array([row.arm is not None for row in kept])
        self.left_out["not closed by one of the rewards yet"] += int(np.count_nonzero(drawn & ~closed))
        keep = np.flatnonzero(closed | ~drawn).tolist()
        return self._decoded(version, [kept[i] for i in keep], reward[keep])

    def _usable(self, connection: Connection, rows: Sequence[DecisionRow]) -> list[DecisionRow]:
        stored = rewards.rewards_by_ids(connection, self.engine.runtime.tenant, [row.decision_id for row in rows])
        kept = []
        for row in rows:
            cause = _cause(row, stored.get(row.decision_id))
            if cause is None:
                kept.append(row)
            else:
                self.left_out[cause] += 1
        return kept

    def _rewards(self, connection: Connection, rows: Sequence[DecisionRow]) -> NDArray[np.float64]:
        """(n, rewards): as they are stored where that reward holds for them, else joined again from the events."""
        tenant, ids = self.engine.runtime.tenant, [row.decision_id for row in rows]
        heads = decisions.heads_by_ids(connection, tenant, ids)
        holding = self.engine.versions.rewards_of(connection, [heads[each] for each in ids])
        stored = rewards.rewards_by_ids(connection, tenant, ids)
        out = np.full((len(rows), len(self.specs)), np.nan)
        for j, spec in enumerate(self.specs):
            again = []
            for i, each in enumerate(ids):
                if holding[i] == spec and each in stored:
                    out[i, j] = stored[each].reward
                elif spec.mature_us(heads[each].decided_us) <= self.now_us:
                    again.append(i)
            joined = self.engine.closing.join(connection, [heads[ids[i]] for i in again], spec)
            for i, earned in zip(again, joined, strict=True):
                out[i, j] = earned.reward
        return out

    def _decoded(self, version: Version, rows: Sequence[DecisionRow], reward: NDArray[np.float64]) -> Page | None:
        n, k = len(rows), len(version.catalog)
        packed = np.frombuffer(b"".join(row.candidates for row in rows), np.uint8).reshape(n, -1)
        allowed = np.unpackbits(packed, axis=1, count=k).astype(np.bool_)
        scored = np.array([row.snapshot_id is not None for row in rows])
        scores = np.full((n, k), np.nan, np.float32)
        scores[allowed & scored[:, None]] = np.frombuffer(b"".join(row.scores for row in rows), np.float32)
        chosen = np.array([-1 if row.arm is None else version.catalog.index[row.arm] for row in rows], np.intp)
        distribution = _distribution(rows, scores, allowed, scored)
        logged = np.array([np.nan if row.propensity is None else row.propensity for row in rows])
        again = distribution[np.arange(n), chosen]
        fits = (chosen < 0) | (np.abs(again - logged) <= _EQUAL)
        self.left_out["its probability cannot be computed again: see `optimizer verify`"] += int((~fits).sum())
        distribution[chosen < 0] = 0.0
        keep = np.flatnonzero(fits)
        if not len(keep):
            return None
        mine = [rows[i] for i in keep.tolist()]
        return Page(
            version,
            mine,
            [orjson.loads(row.context) for row in mine],
            [orjson.loads(row.history) for row in mine],
            np.array([STRATA.index(Group(row.group_name)) for row in mine], np.intp),
            allowed[keep],
            scores[keep],
            distribution[keep],
            chosen[keep],
            reward[keep],
        )


def _cause(row: DecisionRow, stored: RewardRow | None) -> str | None:
    """Why a decision tells nothing of other configurations; None where it does."""
    if row.group_name not in {group.value for group in STRATA}:
        return f"in {row.group_name}, where nothing is drawn"
    if row.reason == Reason.CAMPAIGN_NOT_ACTIVE.value:
        return "the campaign was not active"
    if row.arm is None:
        return None
    if stored is None:
        return "not closed yet"
    return None if stored.learn else "left out of learning: a pause, an outage or the like"


def _distribution(
    rows: Sequence[DecisionRow], scores: NDArray[np.float32], allowed: NDArray[np.bool_], scored: NDArray[np.bool_]
) -> NDArray[np.float64]:
    out = np.zeros(allowed.shape)
    policies: dict[tuple[str, bool], list[int]] = {}
    for i, row in enumerate(rows):
        policies.setdefault((row.exploration, bool(scored[i])), []).append(i)
    for (text, has_scores), mine in policies.items():
        exploration = Exploration(**orjson.loads(text))
        out[mine] = exploration.probabilities(scores[mine] if has_scores else None, allowed[mine])
    return out
