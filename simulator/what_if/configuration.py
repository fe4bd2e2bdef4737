"""One version of a campaign as a policy on logged decisions: what its treatment would have done on the same facts.

The facts are what each decision stores: context, history, contact facts, instant. Candidates are filtered again by the
version's own rules; scores are the logged ones, and those of the very model that decided where an arm was none of the
logged candidates; the version's exploration makes the probabilities of them. For decisions that the version made
itself this gives the logged probabilities, to the last bit.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from optimizer.facts import batch_at
from optimizer.groups import GROUPS, Group
from optimizer.reasons import ALLOWED
from optimizer.registry import body_of
from optimizer.snapshot import Snapshot
from optimizer.store import snapshots

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from optimizer.campaign import CampaignFile
    from optimizer.choices import Batch
    from optimizer.engine import Engine
    from optimizer.scorer import Scorer
    from optimizer.versions import Version
    from simulator.what_if.pages import Page

_KEPT: Final = 8
_DAY_US: Final = 86_400e6
_TREATMENT: Final = GROUPS.index(Group.TREATMENT)


class Models:
    """The models that decisions name, the last few kept."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._snapshots: OrderedDict[str, Snapshot | None] = OrderedDict()
        self._scorers: OrderedDict[tuple[str, str], Scorer] = OrderedDict()

    def snapshot(self, snapshot_id: str) -> Snapshot | None:
        """A model; None where it is not kept any more."""
        found: Snapshot | None = _cached(self._snapshots, snapshot_id, lambda: self._read(snapshot_id))
        return found

    def scorer(self, version: Version, snapshot_id: str) -> Scorer | None:
        """A model compiled for a version, whose features are those that it learned with."""
        snapshot = self.snapshot(snapshot_id)
        if snapshot is None:
            return None
        key = (version.campaign.config_hash, snapshot_id)
        found: Scorer = _cached(self._scorers, key, lambda: version.decider.scorer(snapshot))
        return found

    def _read(self, snapshot_id: str) -> Snapshot | None:
        runtime = self._engine.runtime

        def look(connection: Connection) -> Snapshot | None:
            row = snapshots.snapshot_by_id(connection, runtime.tenant, snapshot_id)
            return None if row is None else Snapshot.loads(body_of(row))

        return runtime.store.read(look)


def _cached(kept: OrderedDict[Any, Any], key: object, make: Callable[[], Any]) -> Any:  # noqa: ANN401
    if key not in kept:
        kept[key] = make()
        if len(kept) > _KEPT:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a version's treatment would have done in n logged decisions, over its own K arms.

    Attributes:
        batch: the facts, as this version reads them.
        allowed: (n, K) its candidates.
        scores: (n, K) float32 by the model that decided, NaN without one.
        probabilities: (n, K); rows of zeros where it would have decided nothing.
        known: (n,) bool, whether its probabilities can be told: not where the model is gone that they need.
    """

    batch: Batch
    allowed: NDArray[np.bool_]
    scores: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    known: NDArray[np.bool_]


class Configuration:
    """A version, judged on decisions that others made."""

    def __init__(self, version: Version, models: Models) -> None:
        self.version = version
        self._models = models
        self.keys = tuple(_meaning(version, place) for place in range(len(version.catalog)))
        """(K,) what makes each arm the same as one of another version: its id and what it says, and when."""

    def lacking(self, logged: Version) -> list[str]:
        """What this version has to know that decisions of another one do not tell."""
        mine, theirs = self.version, logged
        found: list[str] = []
        if mine.campaign.policy.kind != "uniform" and (names := _learned_otherwise(mine.campaign, theirs.campaign)):
            found.append(f"scores of a model that learned with its {' and '.join(names)}")
        if mine.contact.reach_us > theirs.contact.reach_us:
            days = theirs.contact.reach_us / _DAY_US
            longer = f"touches longer ago than {days:g} days" if days else "earlier touches"
            found.append(f"{longer}, which the decisions do not store")
        unseen = mine.contact.events - theirs.contact.events
        if unseen or (mine.contact.events and mine.contact.events_reach_us > theirs.contact.events_reach_us):
            found.append(f"earlier {', '.join(sorted(unseen or mine.contact.events))} events, as far back")
        if unasked := mine.contact.consents - theirs.contact.consents:
            found.append(f"who had given the consent {', '.join(sorted(unasked))}")
        return found

    def places(self, logged: Configuration) -> NDArray[np.intp]:
        """(K,) where each of its arms stands in another version's catalog; -1 where that has none of the kind."""
        index = {key: place for place, key in enumerate(logged.keys)}
        return np.array([index.get(key, -1) for key in self.keys], np.intp)

    def facts(self, page: Page) -> Batch:
        """The facts of a page, as this version reads them."""
        n = len(page)
        instants, ids = [row.decided_us for row in page.rows], [row.decision_id for row in page.rows]
        treated = np.full(n, _TREATMENT, np.uint8)
        return batch_at(self.version, instants, ids, treated, page.contexts, page.histories)

    def choice(self, page: Page, places: NDArray[np.intp]) -> Choice:
        """What it would have done. `places` are those of its arms in the catalog of the version that decided."""
        batch = self.facts(page)
        allowed = self.version.decider.removed(batch) == ALLOWED
        kept = np.where(places >= 0, page.scores[:, places], np.float32(np.nan))
        wanted = allowed & np.isnan(kept)
        scores, missing = self.scores(page, batch, np.flatnonzero(wanted.any(axis=1)))
        scores = np.where(np.isnan(kept), scores, kept)
        return self._drawn(page, batch, allowed, scores, missing)

    def scores(self, page: Page, batch: Batch, rows: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(n, K) of all arms in some rows by the models that decided, NaN elsewhere; and (n,) whose models are gone."""
        scores = np.full((len(page), len(self.version.catalog)), np.nan, np.float32)
        missing = np.zeros(len(page), np.bool_)
        for snapshot_id, mine in _by_snapshot(page, rows).items():
            scorer = self._models.scorer(self.version, snapshot_id)
            if scorer is None:
                missing[mine] = True
                continue
            first, last = int(mine[0]), int(mine[-1]) + 1
            scores[mine] = self.version.decider.scores(batch.rows(first, last), scorer)[mine - first]
        return scores, missing

    def probabilities(
        self, page: Page, allowed: NDArray[np.bool_], scores: NDArray[np.float32], rows: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(n, K) of the treatment policy in some rows, zeros elsewhere; and (n,) whose models are gone."""
        out, missing = np.zeros(allowed.shape), np.zeros(len(page), np.bool_)
        decider, by_snapshot = self.version.decider, _by_snapshot(page, rows)
        unscored = np.setdiff1d(rows, np.concatenate([rows[:0], *by_snapshot.values()]))
        out[unscored] = decider.exploration(Group.TREATMENT, None).probabilities(None, allowed[unscored])
        for snapshot_id, mine in by_snapshot.items():
            snapshot = self._models.snapshot(snapshot_id)
            if snapshot is None:
                missing[mine] = True
                continue
            exploration = decider.exploration(Group.TREATMENT, snapshot)
            out[mine] = exploration.probabilities(scores[mine], allowed[mine])
        return out, missing

    def _drawn(
        self,
        page: Page,
        batch: Batch,
        allowed: NDArray[np.bool_],
        scores: NDArray[np.float32],
        missing: NDArray[np.bool_],
    ) -> Choice:
        p, gone = self.probabilities(page, allowed, np.nan_to_num(scores), np.arange(len(page)))
        return Choice(batch, allowed, scores, p, ~(missing | gone))


def _by_snapshot(page: Page, rows: NDArray[np.intp]) -> dict[str, NDArray[np.intp]]:
    found: dict[str, list[int]] = {}
    for i in rows.tolist():
        snapshot_id = page.rows[i].snapshot_id
        if snapshot_id is not None:
            found.setdefault(snapshot_id, []).append(i)
    return {snapshot_id: np.array(mine, np.intp) for snapshot_id, mine in found.items()}


def _learned_otherwise(one: CampaignFile, other: CampaignFile) -> list[str]:
    """What of these campaigns makes their learners different ones."""
    attributes = [{message.id: message.attributes for message in each.catalog.messages} for each in (one, other)]
    shared = attributes[0].keys() & attributes[1].keys()
    differing = {
        "features": one.features != other.features,
        "crosses": one.policy.crosses != other.policy.crosses,
        "importance": one.policy.importance != other.policy.importance,
        "dimensions": one.catalog.dimensions != other.catalog.dimensions,
        "attributes of messages": any(attributes[0][name] != attributes[1][name] for name in shared),
    }
    return [name for name, differs in differing.items() if differs]


def _meaning(version: Version, place: int) -> tuple[object, ...]:
    """What an arm is: its id, what is rendered and offered, and the slot's hours."""
    arm, catalog = version.catalog.arms[place], version.catalog
    if arm.message is None:
        return (arm.id,)
    message = catalog.messages[catalog.message_of[place]]
    offer = message.offer
    slot = catalog.slots[catalog.slot_of[place]] if arm.slot is not None else None
    return (
        arm.id,
        message.creatives.get(arm.channel or ""),
        (offer.id, offer.type, offer.value, offer.unit) if offer else None,
        (slot.days, slot.start, slot.end) if slot else None,
    )
