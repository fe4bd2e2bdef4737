"""Progressive validation of a campaign's policy: through a log in its order, learning only from what is behind.

For every logged decision the policy's probabilities are those that it would have had at that time: the model is the one
published last, and it has learned from those logged decisions alone whose reward was known by then, each once, in the
order of (close, decision id). Blum, Kalai and Langford, "Beating the hold-out", COLT 1999.

What is judged is therefore a policy that learns from this log, exploration included; its own choices would have given
it other decisions to learn from. Candidates are those of the log: contact rules were asked when it was made, and are
not asked again.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.attributes import AttributeType
from optimizer.errors import InvalidInput
from optimizer.features import Encoded
from optimizer.groups import Group
from optimizer.learner import Learner
from optimizer.lessons import Lessons
from optimizer.versions import Version
from simulator.arm_columns import ArmColumns
from simulator.slot_variants import SlotVariants
from simulator.waiting import AT_ONCE, Closing, Waiting

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from optimizer.attributes import Columns
    from optimizer.campaign import CampaignFile, Feature
    from optimizer.evaluation.log import Log
    from optimizer.evaluation.totals import Floats
    from optimizer.scorer import Scorer

PUBLISH_EVERY: Final = 1_000
"""After how many decisions a model is published, unless said otherwise."""

_TILE: Final = 1_024
"""Decisions taken at a time: arrays of so many rows and a hundred arms stay in the processor's cache."""


class Progressive:
    """A campaign's policy on its way through a log; a `judged.Policy` that takes the log's chunks in their order.

    Args:
        campaign: the campaign. Its catalog's arms are those of the log by their ids. An arm that only the log has is
            never chosen, and what was logged of it is not learned. The log's rewards have to be in the units of the
            campaign's own.
        name: what reports call it.
        publish_every: after how many decisions a model is published.
        untried: arms that no row of the log had as a candidate. The policy may choose those of the catalog among them
            in every row, so that it can be told how much of it the log says nothing of.
    """

    def __init__(
        self,
        campaign: CampaignFile,
        name: str | None = None,
        *,
        publish_every: int = PUBLISH_EVERY,
        untried: Collection[str] = (),
    ) -> None:
        self.name = name or campaign.id
        self.campaign = campaign
        self.missing: set[str] = set()
        """Features of the campaign that the log does not have."""
        self.unlearnable: Counter[str] = Counter()
        """How often the log drew an arm that the campaign does not have, by arm."""
        self._version = Version.of(campaign, "default")
        self._learner = Learner(self._version.decider.space, campaign.policy.importance)
        self._publish_every = publish_every
        self._untried = frozenset(untried)
        self._scorer: Scorer | None = None
        self._seen = 0
        self._latest_us = np.iinfo(np.int64).min
        self._waiting = Waiting()

    @property
    def learned(self) -> int:
        """How many decisions it has learned."""
        return self._learner.counters.events

    @property
    def waiting(self) -> int:
        """How many decisions it has passed whose reward it has not learned yet."""
        return len(self._waiting)

    def probabilities(self, log: Log) -> Floats:
        """(n, K) of the next chunk. Learns from it what is known by its later rows.

        Raises `InvalidInput` where log and campaign do not fit: no arm in common, a column of another type than the
        feature's, or rewards that were known later in a log that is not in the order of time.
        """
        columns = ArmColumns.of(self._version, log, self._untried)
        self._check_order(log)
        self._check_columns(log)
        n, space = len(log), self._version.decider.space
        encoded = space.encode(log.context, self._history(log), n)
        slots = SlotVariants.at(self._version, log)
        candidates = columns.candidates(log)
        lessons = self._lessons(log, columns, encoded, slots)
        p = np.zeros((n, len(self._version.catalog)))
        start = 0
        while start < n:
            left = -self._seen % self._publish_every
            if left == 0:
                self._publish(AT_ONCE if log.time_us is None else int(log.time_us[start]))
                left = self._publish_every
            end = min(start + left, n)
            for first in range(start, end, _TILE):
                rows = slice(first, min(first + _TILE, end))
                p[rows] = self._act(encoded, slots, candidates, rows)
            self._waiting.add(lessons.take(start + np.flatnonzero(columns.known[log.chosen[start:end]])))
            self._seen += end - start
            start = end
        return columns.to_log(p)

    def _act(self, encoded: Encoded, slots: SlotVariants, candidates: NDArray[np.bool_], rows: slice) -> Floats:
        """(rows, arms of the catalog) the probabilities under the model that is published."""
        scores = None
        if self._scorer is not None:
            kinds = np.unique(slots.of[rows])
            if len(kinds) == 1:
                part = Encoded(encoded.numbers[rows], tuple(values[rows] for values in encoded.levels))
                scores = self._scorer.scores(part, slots.distinct[kinds[0]])
            else:
                scores = np.empty((rows.stop - rows.start, len(self._version.catalog)), np.float32)
                for kind in kinds.tolist():
                    mine = np.flatnonzero(slots.of[rows] == kind)
                    at = mine + rows.start
                    levels = tuple([values[i] for i in at.tolist()] for values in encoded.levels)
                    scores[mine] = self._scorer.scores(Encoded(encoded.numbers[at], levels), slots.distinct[kind])
        snapshot = self._scorer.snapshot if self._scorer else None
        exploration = self._version.decider.exploration(Group.TREATMENT, snapshot)
        return exploration.probabilities(scores, candidates[rows])

    def _publish(self, now_us: int) -> None:
        """Learn what is known at this instant, and publish it."""
        lessons = self._waiting.known_at(now_us)
        if lessons is not None:
            self._learner.learn(lessons)
            self._scorer = self._version.decider.scorer(self._learner.snapshot())

    def _lessons(self, log: Log, columns: ArmColumns, encoded: Encoded, slots: SlotVariants) -> Closing:
        """What is to be learned of the chunk's rows; those whose arm the campaign does not have are never asked for."""
        catalog, space = self._version.catalog, self._version.decider.space
        arms = columns.catalog_of[log.chosen]
        unknown = arms < 0
        for arm in log.chosen[unknown].tolist():
            self.unlearnable[log.arms[arm]] += 1
        arms = np.where(unknown, 0, arms)
        variants: list[tuple[str, int] | None] = [None] * len(log)
        if catalog.slots:
            drawn = zip(slots.of.tolist(), catalog.slot_of[arms].tolist(), strict=True)
            variants = [slots.distinct[kind][slot] if slot >= 0 else None for kind, slot in drawn]
        lessons = Lessons.of(
            space,
            encoded,
            arms,
            variants,
            rewards=log.reward / self.campaign.reward.scale,
            propensities=log.propensity,
            candidates=np.count_nonzero(log.candidates, axis=1),
        )
        return Closing.of(lessons, log)

    def _history(self, log: Log) -> Columns:
        """The log's history features, those by channel in the order of the campaign's channels."""
        return log.history_for(self._version.channel_ids)

    def _check_order(self, log: Log) -> None:
        if log.close_us is None or not len(log):
            return
        if log.time_us is None:
            raise InvalidInput(
                "the log says when rewards were known, but not when its decisions were made: both are needed to learn "
                "nothing too early"
            )
        before = np.concatenate([[self._latest_us], log.time_us[:-1]])
        back = np.flatnonzero(log.time_us < before)
        if len(back):
            row = self._seen + int(back[0]) + 1
            raise InvalidInput(
                f"decision {row:,} of the log was made before the one above it: a policy that learns goes through the "
                "log in its order, so sort it by time"
            )
        self._latest_us = int(log.time_us[-1])

    def _check_columns(self, log: Log) -> None:
        history = self._history(log)
        for feature in self.campaign.features:
            column = (history if feature.source == "history" else log.context).get(feature.name)
            if column is None:
                self.missing.add(feature.name)
            elif not _fits(feature, column):
                raise InvalidInput(
                    f"campaign {self.campaign.id!r}: its feature {feature.name!r} is a {feature.type}, and the log's "
                    f"column of that name holds something else: give the column this type where the log is described"
                )


def _fits(feature: Feature, column: NDArray[np.generic]) -> bool:
    kind = AttributeType(feature.type)
    if kind.is_numeric or column.dtype != object:
        return kind.is_numeric == (column.dtype != object)
    first = next((value for value in column.tolist() if value is not None), None)
    return first is None or isinstance(first, tuple) == (kind is AttributeType.MULTI_CATEGORY)
