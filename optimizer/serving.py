"""Which model decides for each campaign: the newest published snapshot that can be read, swapped without a pause."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from optimizer.registry import body_of
from optimizer.snapshot import Snapshot
from optimizer.store import snapshots
from optimizer.tracebacks import told

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from optimizer.runtime import Runtime
    from optimizer.scorer import Scorer, Variants
    from optimizer.versions import Version

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Served:
    """A compiled snapshot with its id."""

    snapshot_id: str
    scorer: Scorer


class Serving:
    """The scorers in use. A snapshot that cannot be read is noted and the last good one stays.

    A new snapshot is compiled beside the decisions, for the versions and schedules that they use, and only then served:
    the first decision with it takes no longer than others.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._snapshots: dict[tuple[str, str], tuple[str, Snapshot]] = {}
        self._scorers: dict[tuple[str, str], Served] = {}
        self._asked: dict[tuple[str, str], Version] = {}
        self._lock, self._swapping = Lock(), Lock()
        self._unreadable: set[str] = set()
        self.faults: dict[str, str] = {}
        """By campaign: what is wrong with its newest snapshot, while that is so."""

    def scorer(self, version: Version) -> Served | None:
        """The model for this version's decisions; None while there is none, then the draw is uniform."""
        key = (version.campaign.id, version.campaign.config_hash)
        with self._lock:
            newest = self._snapshots.get((version.campaign.id, version.campaign.learner_key))
            served = self._scorers.get(key)
            self._asked[key] = version
        if newest is None:
            return None
        if served is None or served.snapshot_id != newest[0]:
            served = Served(newest[0], version.decider.scorer(newest[1]))
            with self._lock:
                self._scorers[key] = served
        return served

    def publish(self, version: Version, snapshot_id: str, snapshot: Snapshot) -> None:
        """Serve a snapshot from now on, for every version with this one's features."""
        with self._swapping:
            self._swap(version, snapshot_id, snapshot)
            self.faults.pop(version.campaign.id, None)

    def refresh(self, connection: Connection, version: Version, learner_key: str) -> None:
        """Serve the newest readable snapshot of this learner for this version, if it is not served already."""
        campaign_id, key = version.campaign.id, version.campaign.learner_key
        tenant = self._runtime.tenant
        ids = snapshots.newest_ids(connection, tenant, campaign_id, learner_key, limit=10)
        with self._swapping:
            served = self._snapshots.get((campaign_id, key), ("",))[0]
            for place, snapshot_id in enumerate(ids):
                if snapshot_id == served:
                    return
                if snapshot_id in self._unreadable:
                    continue
                row = snapshots.snapshot_by_id(connection, tenant, snapshot_id)
                try:
                    self._swap(version, snapshot_id, Snapshot.loads(body_of(row) if row else b""))
                except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the last good one stays
                    self._unreadable.add(snapshot_id)
                    self.faults[campaign_id] = f"snapshot {snapshot_id} cannot be read: {error!r}"
                    _log.error("snapshot_unreadable", campaign=campaign_id, snapshot=snapshot_id, error=told(error))
                    continue
                if place == 0:
                    self.faults.pop(campaign_id, None)
                return

    def _swap(self, version: Version, snapshot_id: str, snapshot: Snapshot) -> None:
        """Compile a snapshot for this version and those that decided since the last one came, then serve it."""
        campaign_id, learner_key = version.campaign.id, version.campaign.learner_key
        with self._lock:
            asked = {
                key: each
                for key, each in self._asked.items()
                if key[0] == campaign_id and each.campaign.learner_key == learner_key
            }
            asked[campaign_id, version.campaign.config_hash] = version
            before = {key: self._scorers.get(key) for key in asked}
        fresh = {}
        for key, each in asked.items():
            scorer, old = each.decider.scorer(snapshot), before[key]
            for variants in old.scorer.recent() if old else [self._now(each)]:
                scorer.compiled(variants)
            fresh[key] = Served(snapshot_id, scorer)
        with self._lock:
            self._snapshots[campaign_id, learner_key] = (snapshot_id, snapshot)
            self._scorers.update(fresh)
            for key in asked:
                self._asked.pop(key, None)

    def _now(self, version: Version) -> Variants:
        """The schedule of most people, near enough, where it is not known whose decisions come."""
        return version.catalog.schedule(ZoneInfo("UTC"), self._runtime.clock.now()).variants
