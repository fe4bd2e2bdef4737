"""The trainer: matured decisions -> learner -> published snapshot, once each and in a fixed order.

The order is (mature_us, decision id). The watermark of the last decision learned is part of the snapshot's row, so that
both commit together: killed at any moment, the trainer goes on from the newest snapshot and comes to the same weights,
as does the worker that takes the campaign over.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import orjson
import structlog

from optimizer import metrics
from optimizer.clock import from_us
from optimizer.facts import columns_of, place_of, schedules_of
from optimizer.learner import Learner
from optimizer.lessons import Lessons
from optimizer.registry import digest_of, resume_of
from optimizer.store import decisions, notices, rewards, snapshots
from optimizer.store.rows import SnapshotRow, TrainingRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from optimizer.campaign import CampaignFile
    from optimizer.features import FeatureSpace
    from optimizer.leases import Fence, Leases
    from optimizer.runtime import Runtime
    from optimizer.serving import Serving
    from optimizer.versions import Version, Versions

PAGE = 5_000
_START = (-1, "")
_log = structlog.get_logger()


@dataclass(slots=True)
class _Course:
    """A learner at work: its key and the watermark of the last decision it has learned.

    It goes on from where it is under one lease only: after another's, the newest snapshot may be that one's.
    """

    key: str
    fence: Fence
    learner: Learner
    watermark: tuple[int, str]
    published: tuple[int, str]


@dataclass(frozen=True, slots=True)
class Relearned:
    """What the log came to when a campaign was learned again from its beginning, or from the oldest base.

    `same` says whether the newest snapshot was that to the byte; None where there was none.
    """

    campaign_id: str
    learned: int
    same: bool | None


class Trainer:
    """Learns what has been closed and publishes. One instance a process, called by one thread at a time."""

    def __init__(self, runtime: Runtime, versions: Versions, serving: Serving, leases: Leases) -> None:
        self._runtime = runtime
        self._versions = versions
        self._serving = serving
        self._leases = leases
        self._courses: dict[str, _Course] = {}
        self._spaces: dict[tuple[str, str], FeatureSpace] = {}

    def train_due(self) -> int:
        """Learn what was closed in this worker's campaigns and not learned yet, and publish it; how many decisions."""
        loaded = self._runtime.store.read(self._versions.all)
        return self._leases.each([row.campaign_id for row in loaded], self._train)

    def _train(self, fence: Fence) -> int:
        store, campaign_id = self._runtime.store, fence.campaign_id
        version, key = store.read(lambda connection: self._versions.learning(connection, campaign_id))
        course = self._course(version, key, fence)
        # Should it fail in the middle of a page, the next attempt goes on from what was published.
        self._courses.pop(campaign_id, None)
        learned = self._learn_on(course, version)
        if course.watermark != course.published:
            self._publish(course, version)
        self._courses[campaign_id] = course
        return learned

    def relearn(self) -> list[Relearned]:
        """Learn this worker's campaigns again from the log, and publish what differs from the newest snapshot."""
        loaded = self._runtime.store.read(self._versions.all)
        found: list[Relearned] = []

        def act(fence: Fence) -> int:
            found.append(self._relearn(fence))
            return 1

        self._leases.each([row.campaign_id for row in loaded], act)
        return found

    def _relearn(self, fence: Fence) -> Relearned:
        store, tenant, campaign_id = self._runtime.store, self._runtime.tenant, fence.campaign_id
        version, key = store.read(lambda connection: self._versions.learning(connection, campaign_id))
        newest = store.read(lambda connection: snapshots.latest_snapshot(connection, tenant, campaign_id, key))
        base = store.read(lambda connection: snapshots.oldest_base(connection, tenant, campaign_id, key))
        self._courses.pop(campaign_id, None)
        course = self._resumed(version, key, fence, base)
        learned, same = 0, None
        if newest is not None:
            upto = (newest.watermark_us, newest.watermark_id)
            learned = self._learn_on(course, version, upto)
            same = course.watermark == upto and _is_stored(course.learner, newest)
            if same:
                course.published = upto
        learned += self._learn_on(course, version)
        if course.watermark != _START and (same is False or course.watermark != course.published):
            self._publish(course, version)
        self._courses[campaign_id] = course
        return Relearned(campaign_id, learned, same)

    def _learn_on(self, course: _Course, version: Version, upto: tuple[int, str] | None = None) -> int:
        """Learn what is closed and not learned yet, to that place in the order if one is given; how many."""
        store, tenant, campaign = self._runtime.store, self._runtime.tenant, version.campaign
        learned = 0
        while not self._runtime.stopping.is_set():
            rows = store.read(lambda connection: self._next(connection, tenant, campaign.id, course))
            if upto is not None:
                rows = [row for row in rows if (row.mature_us, row.decision_id) <= upto]
            if not rows:
                break
            for config_hash, group in groupby(rows, key=lambda row: row.config_hash):
                self._learn(course, campaign, config_hash, list(group))
            course.watermark = (rows[-1].mature_us, rows[-1].decision_id)
            learned += len(rows)
            metrics.LEARNED.labels(tenant, campaign.id).inc(len(rows))
        return learned

    @staticmethod
    def _next(connection: Connection, tenant: str, campaign_id: str, course: _Course) -> list[TrainingRow]:
        """The next page, up to the first decision that has matured but is not closed yet."""
        open_us = decisions.next_mature_us(connection, tenant, campaign_id)
        until_us = np.iinfo(np.int64).max if open_us is None else open_us - 1
        return rewards.rewards_after(
            connection, tenant, campaign_id, watermark=course.watermark, until_us=int(until_us), limit=PAGE
        )

    def _course(self, version: Version, key: str, fence: Fence) -> _Course:
        """The learner in memory, else the newest published one, else a new one at the beginning of the log."""
        campaign, runtime = version.campaign, self._runtime
        course = self._courses.get(campaign.id)
        if course is not None and (course.key, course.fence) == (key, fence):
            return course
        newest, base = runtime.store.read(
            lambda connection: [
                find(connection, runtime.tenant, campaign.id, key)
                for find in (snapshots.latest_snapshot, snapshots.oldest_base)
            ]
        )
        try:
            return self._resumed(version, key, fence, newest)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the log has everything that it had learned
            _log.exception("learner_unreadable", campaign=campaign.id, snapshot=newest.snapshot_id if newest else None)
            return self._resumed(version, key, fence, base)

    @staticmethod
    def _resumed(version: Version, key: str, fence: Fence, row: SnapshotRow | None) -> _Course:
        """A learner that goes on from a snapshot that keeps what it needs for that, else from the beginning."""
        space, importance = version.decider.space, version.campaign.policy.importance
        if row is None or row.resume is None:
            return _Course(key, fence, Learner(space, importance), _START, _START)
        watermark = (row.watermark_us, row.watermark_id)
        return _Course(key, fence, Learner(space, importance, resume_of(row)), watermark, watermark)

    def _learn(self, course: _Course, features_of: CampaignFile, config_hash: str, rows: Sequence[TrainingRow]) -> None:
        """Learn decisions that one version made, with the features of the current one."""
        store = self._runtime.store
        version = store.read(lambda connection: self._versions.get(connection, features_of.id, config_hash))
        key = (config_hash, features_of.config_hash)
        if key not in self._spaces:
            self._spaces[key] = version.space_for(features_of)
        course.learner.learn(lessons_of(self._spaces[key], version, features_of, rows))

    def _publish(self, course: _Course, version: Version) -> None:
        runtime, campaign_id = self._runtime, version.campaign.id
        now_us = runtime.now_us()
        snapshot, resume = course.learner.snapshot(), course.learner.save()
        body = snapshot.dumps()
        row = SnapshotRow(
            runtime.tenant,
            runtime.ids.uuid7(now_us),
            campaign_id,
            course.key,
            now_us,
            *course.watermark,
            snapshot.events,
            digest_of(body),
            body,
            digest_of(resume),
            resume,
        )

        def change(connection: Connection) -> None:
            course.fence.check(connection)
            # The newest is the one published last, whatever the clocks of the workers before said.
            last_us = snapshots.last_published_us(connection, runtime.tenant, campaign_id)
            snapshots.insert_snapshot(connection, row._replace(published_us=max(now_us, last_us + 1)))
            notices.notify(connection)

        runtime.store.write(change)
        course.published = course.watermark
        metrics.PUBLISHED.labels(runtime.tenant, campaign_id).inc()
        self._serving.publish(version, row.snapshot_id, snapshot)
        _log.info("snapshot_published", campaign=campaign_id, snapshot=row.snapshot_id, learned=snapshot.events)


def _is_stored(learner: Learner, row: SnapshotRow) -> bool:
    """Whether a snapshot is what has been learned, to the byte."""
    return row.body == learner.snapshot().dumps() and row.resume in {None, learner.save()}


def lessons_of(
    space: FeatureSpace, version: Version, features_of: CampaignFile, rows: Sequence[TrainingRow]
) -> Lessons:
    """What the learner reads of logged decisions of one version: stored facts only, never today's tables."""
    types = {f.name: f.type for f in features_of.features if f.source == "attribute"}
    contexts = [orjson.loads(row.context) for row in rows]
    context, past = columns_of(version, types, contexts, [orjson.loads(row.history) for row in rows])
    arms = np.array([version.catalog.index[row.arm or ""] for row in rows], np.intp)
    slots = version.catalog.slot_of[arms].tolist()
    variants = []
    places = [place_of(version, context) for context in contexts]
    schedules = schedules_of(version, places, [from_us(row.decided_us) for row in rows])
    for schedule, slot in zip(schedules, slots, strict=True):
        window = schedule.windows[slot] if slot >= 0 else None
        variants.append((window.weekday, window.days_ahead) if window else None)
    allowed = [np.unpackbits(np.frombuffer(row.candidates, np.uint8)).sum() for row in rows]
    return Lessons.of(
        space,
        space.encode(context, past, len(rows)),
        arms,
        variants,
        rewards=np.array([row.reward for row in rows]) / features_of.reward.scale,
        propensities=np.array([row.propensity for row in rows], np.float64),
        candidates=np.array(allowed, np.intp),
    )
