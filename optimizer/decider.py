"""Filter, score, explore, draw: one kernel for one customer or a million. Pure: all facts come in as arguments.

Everything that can remove an arm acts before the draw, alike in all groups; the first cause in this order stands as the
reason: not_in_audience, then whose the customer is (excluded_by_other_campaign, lower_priority), then what the catalog
says of the arm at this time (no_creative_for_channel, no_timezone, outside_horizon, arm_inactive), ineligible_arm,
whether the channel may be used (no_consent, suppressed, no_address), the hours (blackout, quiet_hours), max_touches,
how often (cooldown, cap_reached, min_gap), and budget_reached. `no_send` is removed only with the whole audience.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from optimizer.catalog import Catalog
from optimizer.choices import Batch, Choices
from optimizer.contact.facts import BUDGET
from optimizer.contact.rules import ContactRules
from optimizer.contact.send_times import SendTimes
from optimizer.costs import ArmCosts
from optimizer.exploration import Exploration, campaign_key, draw, uniforms
from optimizer.features import Encoded, FeatureSpace
from optimizer.groups import GROUPS, Group
from optimizer.policy import EpsilonGreedy, Softmax
from optimizer.reasons import ALLOWED, Reason
from optimizer.rules import evaluate
from optimizer.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from optimizer.campaign import CampaignFile
    from optimizer.contact.facts import ContactFacts
    from optimizer.snapshot import Snapshot

CHUNK = 1024
"""Customers taken at a time; arrays of this many rows and a hundred arms stay in the processor's cache."""


class Decider:
    """One campaign version, ready to decide.

    Attributes:
        catalog, space, costs, contact: the campaign's arms, features, what its arms cost, and its contact rules.
    """

    def __init__(self, campaign: CampaignFile, tenant: str = "default") -> None:
        self.campaign = campaign
        self.catalog = Catalog(campaign)
        self.space = FeatureSpace(campaign, self.catalog)
        self.costs = ArmCosts(campaign, self.catalog)
        self.contact = ContactRules.of(campaign, self.catalog)
        self._key = campaign_key(tenant, campaign.id)
        self._max_touches = campaign.campaign.max_touches_per_customer
        self._sends = np.array([arm.message is not None for arm in self.catalog.arms])
        self._eligibility = [
            (message.eligibility, np.flatnonzero(self.catalog.message_of == m))
            for m, message in enumerate(self.catalog.messages)
            if message.eligibility is not None
        ]

    def scorer(self, snapshot: Snapshot) -> Scorer:
        """The snapshot compiled for this version's arms."""
        return Scorer(snapshot, self.space, self.catalog.slot_of, self.catalog.channel_of)

    def exploration(self, group: Group, snapshot: Snapshot | None) -> Exploration:
        """The policy of a group: treatment has the campaign's, random_control is uniform, bau and holdout are fixed.

        An `arm` of -1 is no arm at all: a holdout where the campaign has no no_send.
        """
        policy = self.campaign.policy
        if group is Group.RANDOM_CONTROL:
            return Exploration("uniform")
        if group is Group.HOLDOUT:
            return Exploration("fixed", arm=self.catalog.no_send)
        if group is Group.BAU:
            bau = self.campaign.groups.bau
            parts = (bau.arm.message, bau.arm.channel, bau.arm.timing) if bau else ()
            return Exploration("fixed", arm=self.catalog.index["/".join(p for p in parts if p is not None)])
        parameter = 0.0
        if isinstance(policy, EpsilonGreedy):
            parameter = policy.epsilon
        elif isinstance(policy, Softmax):
            parameter = policy.softmax_lambda
        elif policy.kind == "squarecb" and snapshot is not None:
            parameter = snapshot.gamma
        return Exploration(policy.kind, parameter, policy.uniform_share)

    def decide(
        self, batch: Batch, scorer: Scorer | None, *, details: bool = True, workers: int | None = None
    ) -> Choices:
        """Decide for every customer of the batch, in chunks, on as many threads as there are processors.

        Args:
            batch: the facts.
            scorer: the model, from `self.scorer`; without one the policy is uniform.
            details: whether to return `removed` and `scores`, (n, K) each.
            workers: number of threads; None: one a processor.
        """
        n, k = len(batch), len(self.catalog)
        out = Choices(
            np.empty(n, np.intp),
            np.empty(n),
            np.empty(n, np.uint8),
            np.empty((n, k), np.uint8) if details else None,
            np.empty((n, k), np.float32) if details and scorer else None,
        )

        policies = self.policies(batch, scorer.snapshot if scorer else None)

        def chunk(start: int) -> None:
            self._chunk(batch.rows(start, min(start + CHUNK, n)), scorer, policies, out, start)

        if n <= CHUNK:
            self._chunk(batch, scorer, policies, out, 0)
        else:
            with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
                list(pool.map(chunk, range(0, n, CHUNK)))
        return out

    def policies(self, batch: Batch, snapshot: Snapshot | None) -> dict[int, Exploration]:
        """The policy of each group in the batch, by the group's code."""
        return {code: self.exploration(GROUPS[code], snapshot) for code in np.unique(batch.groups).tolist()}

    def _chunk(
        self, batch: Batch, scorer: Scorer | None, policies: Mapping[int, Exploration], out: Choices, start: int
    ) -> None:
        rows = slice(start, start + len(batch))
        removed = self.removed(batch)
        scores = self.scores(batch, scorer) if scorer else None
        arm, propensity, reason = self.draw(batch, removed, scores, policies)
        out.arm[rows], out.propensity[rows], out.reason[rows] = arm, propensity, reason
        if out.removed is not None:
            out.removed[rows] = removed
        if out.scores is not None and scores is not None:
            out.scores[rows] = scores

    def removed(self, batch: Batch) -> NDArray[np.uint8]:
        """(n, K) the code of the reason for which each arm is removed, 0 for candidates."""
        n = len(batch)
        facts = {**batch.context, **batch.history}
        removed = self._timed(batch)
        for eligibility, arms in self._eligibility:
            self._remove(removed, ~evaluate(eligibility, facts, n), arms, Reason.INELIGIBLE_ARM)
        if batch.contact is not None:
            self.contact.remove_barred(removed, batch.contact)
        closed = np.stack([self.catalog.closed(schedule) for schedule in batch.schedules])
        if closed.any():
            np.copyto(removed, closed[batch.schedule_of], where=removed == ALLOWED)
        if self._max_touches is not None:
            self._remove(removed, batch.touches >= self._max_touches, np.flatnonzero(self._sends), Reason.MAX_TOUCHES)
        if batch.contact is not None:
            self.contact.remove_limited(removed, batch.contact, SendTimes.of(batch.schedules, batch.schedule_of))
            if batch.contact.budget.any():
                self._remove_unpaid(removed, batch.contact)
            self.contact.remove_excluded(removed, batch.contact)
        if self.campaign.audience is not None:
            removed[~evaluate(self.campaign.audience, facts, n)] = Reason.NOT_IN_AUDIENCE.code
        return removed

    def _timed(self, batch: Batch) -> NDArray[np.uint8]:
        """(n, K) what the catalog says of each arm at this time, see `Catalog.removed`."""
        codes = np.stack([self.catalog.removed(schedule) for schedule in batch.schedules])
        for code, schedule in zip(codes, batch.schedules, strict=True):
            if schedule.zone is None:
                self.contact.remove_untimed(code)
        return codes[batch.schedule_of]

    def _remove_unpaid(self, removed: NDArray[np.uint8], contact: ContactFacts) -> None:
        for code, reached in enumerate(BUDGET):
            if reached is not None:
                self._remove(removed, contact.budget == code, self.costs.removed(reached), Reason.BUDGET_REACHED)

    def held_back(self, batch: Batch, arms: NDArray[np.intp]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Whether touches that are to go out at the batch's instant may, an arm each (n,).

        Consent, suppression, the address, blackouts, quiet hours, cooldowns, caps and gaps are asked again, of facts
        without the touches themselves; what else was so when they were planned is not.

        Returns:
            (n,) uint8, the code of the reason for which the touch must not go out now, 0 where it may; and (n,) int64,
            where hours forbid it now that end: the next instant at which they do not, UTC microseconds, else 0. That
            may be later than the touch expires.
        """
        return self.contact.held_back(batch.contact, batch.schedules, batch.schedule_of, arms)

    @staticmethod
    def _remove(removed: NDArray[np.uint8], rows: NDArray[np.bool_], arms: NDArray[np.intp], reason: Reason) -> None:
        if rows.any():
            part = removed[:, arms]
            part[rows[:, None] & (part == ALLOWED)] = reason.code
            removed[:, arms] = part

    def scores(self, batch: Batch, scorer: Scorer) -> NDArray[np.float32]:
        """(n, K) the scorer's scores, each customer's on the schedule of their time zone."""
        encoded = self.space.encode(batch.context, batch.history, len(batch))
        variants = [schedule.variants for schedule in batch.schedules]
        if len(set(variants)) == 1:
            return scorer.scores(encoded, variants[0])
        scores = np.empty((len(batch), len(self.catalog)), np.float32)
        for each in dict.fromkeys(variants):
            same = np.array([v == each for v in variants])
            rows = np.flatnonzero(same[batch.schedule_of])
            if len(rows):
                levels = tuple([values[i] for i in rows.tolist()] for values in encoded.levels)
                scores[rows] = scorer.scores(Encoded(encoded.numbers[rows], levels), each)
        return scores

    def draw(
        self,
        batch: Batch,
        removed: NDArray[np.uint8],
        scores: NDArray[np.float32] | None,
        policies: Mapping[int, Exploration],
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.uint8]]:
        """Arm, propensity and reason as in `Choices`, from the candidates, their scores and each group's policy."""
        allowed = removed == ALLOWED
        u = uniforms(self._key, batch.words)
        arm = np.full(len(batch), -1, np.intp)
        propensity = np.full(len(batch), np.nan)
        for code, exploration in policies.items():
            rows = np.flatnonzero(batch.groups == code)
            whole = len(rows) == len(batch)
            if exploration.kind == "fixed" and exploration.arm < 0:
                continue
            mine = allowed if whole else allowed[rows]
            p = exploration.probabilities(scores if whole or scores is None else scores[rows], mine)
            arm[rows], propensity[rows] = draw(p, u[rows])
        return self._settle(batch, removed, allowed, arm, propensity)

    def _settle(
        self,
        batch: Batch,
        removed: NDArray[np.uint8],
        allowed: NDArray[np.bool_],
        arm: NDArray[np.intp],
        propensity: NDArray[np.float64],
    ) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.uint8]]:
        """Give rows without an arm no_send where that is allowed, and every row that sends nothing its reason."""
        reason = np.zeros(len(batch), np.uint8)
        no_send = self.catalog.no_send
        undrawn = np.flatnonzero(arm < 0)
        if no_send >= 0:
            stays = undrawn[allowed[undrawn, no_send]]
            arm[stays], propensity[stays] = no_send, 1.0
        propensity[arm < 0] = np.nan
        nothing = np.flatnonzero((arm < 0) | ~self._sends[arm])
        if len(nothing):
            reason[nothing] = Reason.CHOSE_NO_SEND.code
            blocked = nothing[~(allowed[nothing] & self._sends).any(axis=1)]
            for row in blocked.tolist():
                reason[row] = np.bincount(removed[row][self._sends]).argmax()
            fixed_arm = self._bau_arm()
            if fixed_arm >= 0:
                bau = nothing[batch.groups[nothing] == GROUPS.index(Group.BAU)]
                reason[bau] = removed[bau, fixed_arm]
            held = batch.groups[nothing] == GROUPS.index(Group.HOLDOUT)
            outside = removed[nothing, -1] == Reason.NOT_IN_AUDIENCE.code
            reason[nothing[held & ~outside]] = Reason.HOLDOUT.code
        return arm, propensity, reason

    def _bau_arm(self) -> int:
        return self.exploration(Group.BAU, None).arm if self.campaign.groups.bau else -1
