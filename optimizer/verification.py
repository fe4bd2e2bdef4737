"""Recomputing a decision from what it stores, to see whether it was filtered, scored and drawn as the log says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from optimizer.exploration import Exploration
from optimizer.facts import batch_of
from optimizer.groups import GROUPS, Group
from optimizer.reasons import ALLOWED, Reason
from optimizer.registry import body_of
from optimizer.snapshot import Snapshot
from optimizer.store import snapshots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from optimizer.catalog import Arm
    from optimizer.choices import Batch
    from optimizer.scorer import Scorer
    from optimizer.store.rows import DecisionRow
    from optimizer.versions import Version

TOLERANCE = 1e-5
"""How far recomputed scores may be from the logged ones; arm and propensity must be equal."""

_KEPT = 4


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was recomputed."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One arm as a decision saw it: its score and probability, or the reason for which it was removed."""

    arm: Arm
    reason: Reason | None
    score: float | None
    probability: float


@dataclass(frozen=True, slots=True)
class Logged:
    """A decision's log row, decoded against the version that decided.

    Attributes:
        removed: (1, K) uint8 codes of reasons, 0 for candidates.
        scores: (1, K) float32, NaN where removed; None without a model.
        batch: the facts, as the decider takes them.
    """

    row: DecisionRow
    version: Version
    removed: NDArray[np.uint8]
    scores: NDArray[np.float32] | None
    batch: Batch
    exploration: Exploration

    @classmethod
    def of(cls, row: DecisionRow, version: Version) -> Logged:
        """Decode a row. Raises some kind of ValueError or TypeError where its parts do not fit together."""
        k = len(version.catalog)
        allowed = np.unpackbits(np.frombuffer(row.candidates, np.uint8), count=k).astype(bool)
        if len(row.candidates) != -(-k // 8) or len(row.removed) != k - allowed.sum():
            raise ValueError("its candidates and removed arms are not those of the campaign's catalog")
        removed = np.zeros((1, k), np.uint8)
        removed[0, ~allowed] = np.frombuffer(row.removed, np.uint8)
        scores = None
        if row.snapshot_id is not None:
            scores = np.full((1, k), np.nan, np.float32)
            scores[0, allowed] = np.frombuffer(row.scores, np.float32, allowed.sum())
        elif row.scores:
            raise ValueError("it has scores and names no snapshot")
        groups = np.array([GROUPS.index(Group(row.group_name))], np.uint8)
        context: Mapping[str, Any] = orjson.loads(row.context)
        batch = batch_of(version, row.decided_us, [row.decision_id], groups, [context], [orjson.loads(row.history)])
        return cls(row, version, removed, scores, batch, Exploration(**orjson.loads(row.exploration)))

    def probabilities(self) -> NDArray[np.float64]:
        """(K,) the distribution that the arm was drawn from; where a fixed arm is not allowed that is no_send."""
        allowed, no_send = self.removed == ALLOWED, self.version.catalog.no_send
        row = np.zeros(len(self.version.catalog))
        if self.exploration.kind != "fixed" or self.exploration.arm >= 0:
            row = self.exploration.probabilities(self.scores, allowed)[0]
        if not row.any() and no_send >= 0 and allowed[0, no_send]:
            row[no_send] = 1.0
        return row

    def candidates(self) -> list[Candidate]:
        """Every arm of the catalog, in its order."""
        p = self.probabilities()
        codes = self.removed[0].tolist()
        return [
            Candidate(
                arm,
                Reason.from_code(codes[i]) if codes[i] else None,
                float(self.scores[0, i]) if self.scores is not None and not codes[i] else None,
                float(p[i]),
            )
            for i, arm in enumerate(self.version.catalog.arms)
        ]


class Models:
    """The models that decisions name, the last few kept: decisions that are verified in their order share them."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Scorer | str] = {}

    def get(self, connection: Connection, logged: Logged, snapshot_id: str) -> Scorer | str:
        """The decision's model, compiled for its version, or why there is none."""
        key = (logged.row.config_hash, snapshot_id)
        if key not in self._kept:
            if len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self._read(connection, logged, snapshot_id)
        return self._kept[key]

    @staticmethod
    def _read(connection: Connection, logged: Logged, snapshot_id: str) -> Scorer | str:
        stored = snapshots.snapshot_by_id(connection, logged.row.tenant, snapshot_id)
        if stored is None:
            return f"snapshot {snapshot_id} is not kept any more"
        try:
            return logged.version.decider.scorer(Snapshot.loads(body_of(stored)))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, that is the finding
            return f"snapshot {snapshot_id} cannot be read: {error!r}"


def verify(connection: Connection, logged: Logged, models: Models | None = None) -> list[Check]:
    """Filter, score and draw again from what is stored with the decision; only snapshots are read besides.

    Give the same `models` for several decisions, so that each model is read once.
    """
    row, version, decider = logged.row, logged.version, logged.version.decider
    if row.reason == Reason.CAMPAIGN_NOT_ACTIVE:
        nothing = row.arm is None and row.propensity is None and row.send_us is None and logged.scores is None
        alike = bool((logged.removed == Reason.CAMPAIGN_NOT_ACTIVE.code).all())
        return [Check("draw", nothing and alike, "the campaign was not active: nothing was drawn")]
    again = decider.removed(logged.batch)
    checks = [
        Check("candidates", bool((again == logged.removed).all()), f"{int((again == ALLOWED).sum())} arms were allowed")
    ]
    if row.snapshot_id is not None and logged.scores is not None:
        model = (models or Models()).get(connection, logged, row.snapshot_id)
        if isinstance(model, str):
            checks.append(Check("scores", holds=False, detail=model))
        else:
            rescored = decider.scores(logged.batch, model)
            gap = float(np.abs(rescored - logged.scores)[logged.removed == ALLOWED].max(initial=0.0))
            checks.append(Check("scores", gap <= TOLERANCE, f"the largest difference is {gap:.1e}"))
            checks.append(_policy(logged, model.snapshot))
    else:
        checks.append(_policy(logged, None))
    arm, propensity, reason = decider.draw(
        logged.batch, logged.removed, logged.scores, {int(logged.batch.groups[0]): logged.exploration}
    )
    drawn = version.catalog.arms[arm[0]].id if arm[0] >= 0 else None
    same = (
        drawn == row.arm
        and (propensity[0] == row.propensity if row.arm is not None else row.propensity is None)
        and (Reason.from_code(int(reason[0])).value if reason[0] else None) == row.reason
    )
    checks.append(Check("draw", bool(same), f"arm {drawn}, propensity {propensity[0]!r}"))
    return checks


def _policy(logged: Logged, snapshot: Snapshot | None) -> Check:
    now = logged.version.decider.exploration(Group(logged.row.group_name), snapshot)
    return Check("policy", now == logged.exploration, f"{now.kind}, parameter {now.parameter:g}")
