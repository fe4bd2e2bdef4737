"""A campaign's contact rules: which facts they need, and which arms they remove from each customer.

The first cause in this order stands as the reason of an arm: excluded_by_other_campaign or lower_priority (before all
that the catalog says), then, after eligibility, no_consent, suppressed or no_address, blackout, quiet_hours,
max_touches, cooldown, cap_reached, min_gap, budget_reached. Sending nothing is never removed by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from optimizer.catalog import TOUCH_LIFETIME_US
from optimizer.contact.compiling import Compiler
from optimizer.contact.facts import FactReader
from optimizer.contact.limits import Calendar, Following, Ignored, Rolling
from optimizer.contact.send_times import SendTimes
from optimizer.reasons import ALLOWED, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.campaign import CampaignFile
    from optimizer.catalog import Catalog, Schedule
    from optimizer.contact.facts import ContactFacts
    from optimizer.contact.limits import Limit


class ContactRules:
    """The contact rules of one campaign version.

    Attributes:
        reach_us: how far back from now touches matter to them; 0: none are needed, planned ones neither.
        events: the names of events that cooldowns follow; `events_reach_us` back from now.
        consents: the names of consents that the catalog's channels ask for.
        active: whether they need any facts that are gathered, but for exclusion, suppression and budget.
        reader: reads logged facts.
        local: (K,) bool, the arms that the rules cannot judge without the recipient's time zone.
    """

    def __init__(self, campaign: CampaignFile, catalog: Catalog) -> None:
        compiler = Compiler(campaign, catalog)
        self._limits = tuple(compiler.limits())
        self._catalog = catalog
        self._channel = np.maximum(catalog.channel_of, 0)
        self._sends = catalog.message_of >= 0
        self.reader = FactReader(campaign.id, catalog, compiler.channels, compiler.events)
        self.reach_us = max((_reach_us(limit) for limit in self._limits), default=0)
        self.events = frozenset(compiler.events)
        follow = [limit.rule.length_us for limit in self._limits if isinstance(limit.rule, Following)]
        self.events_reach_us = max(follow, default=0)
        self.consents = frozenset(channel.consent for channel in catalog.channels if channel.consent is not None)
        self.local = self._sends & np.array(catalog.hours.local)[catalog.cell_of % len(catalog.hours.local)]
        for limit in self._limits:
            if isinstance(limit.rule, Calendar) and limit.rule.period.zone is None:
                self.local |= limit.key_of_arm >= 0
        self.active = bool(self._limits or self.consents)

    @classmethod
    def of(cls, campaign: CampaignFile, catalog: Catalog) -> ContactRules:
        """Those of a campaign file, for its catalog."""
        return cls(campaign, catalog)

    def barred(self, facts: ContactFacts) -> NDArray[np.uint8]:
        """(n, C) code of no_consent, suppressed or no_address by channel, 0 where the channel may be used."""
        return np.where(facts.consents, facts.barred, np.uint8(Reason.NO_CONSENT.code))

    def remove_untimed(self, codes: NDArray[np.uint8]) -> None:
        """Remove, from the (K,) codes of a schedule without a zone, the arms that need one; in place."""
        codes[self.local & (codes != Reason.NO_CREATIVE_FOR_CHANNEL.code)] = Reason.NO_TIMEZONE.code

    def remove_barred(self, removed: NDArray[np.uint8], facts: ContactFacts) -> None:
        """Remove the arms on channels that may not be used, in place: (n, K) codes."""
        barred = self.barred(facts)
        if barred.any():
            _remove(removed, np.where(self._sends, barred[:, self._channel], ALLOWED))

    def remove_limited(self, removed: NDArray[np.uint8], facts: ContactFacts, times: SendTimes) -> None:
        """Remove the arms that a cooldown, a cap or a gap forbids, in place: (n, K) codes.

        `times.at_us` are those of the catalog's cells.
        """
        cells = times.at_us.shape[1]
        for limit in self._limits:
            forbidden = limit.forbidden(facts, times)
            if forbidden is not None:
                arms = np.flatnonzero(limit.key_of_arm >= 0)
                columns = limit.key_of_arm[arms] * cells + self._catalog.cell_of[arms]
                hit = np.zeros(removed.shape, np.bool_)
                hit[:, arms] = forbidden.reshape(len(removed), -1)[:, columns]
                removed[hit & (removed == ALLOWED)] = limit.reason.code

    def remove_excluded(self, removed: NDArray[np.uint8], facts: ContactFacts) -> None:
        """Give every arm that sends the reason for which the customer is not this campaign's, in place."""
        rows = np.flatnonzero(facts.excluded)
        if len(rows):
            removed[rows] = np.where(self._sends, facts.excluded[rows, None], removed[rows])

    def held_back(
        self,
        facts: ContactFacts | None,
        schedules: Sequence[Schedule],
        schedule_of: NDArray[np.intp],
        arms: NDArray[np.intp],
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """For touches about to be sent now, an arm each (n,): see `Decider.held_back`."""
        rows = np.arange(len(arms))
        codes = np.zeros(len(arms), np.uint8)
        if facts is not None:
            codes = self.barred(facts)[rows, self._channel[arms]]
        untimed = np.array([schedule.zone is None for schedule in schedules], np.bool_)[schedule_of]
        codes[(codes == ALLOWED) & untimed & self.local[arms]] = Reason.NO_TIMEZONE.code
        closed, next_us = self._now(schedules)
        kind = self._catalog.cell_of[arms] % closed.shape[1]
        shut = (codes == ALLOWED) & (closed[schedule_of, kind] != ALLOWED)
        codes[shut] = closed[schedule_of, kind][shut]
        until_us = np.where(shut, next_us[schedule_of, kind], 0)
        if facts is not None:
            times = SendTimes.now(schedules, schedule_of)
            for limit in self._limits:
                forbidden = limit.forbidden(facts, times)
                if forbidden is not None:
                    keys = limit.key_of_arm[arms]
                    hit = (keys >= 0) & forbidden[rows, keys, 0]
                    codes[hit & (codes == ALLOWED)] = limit.reason.code
        return codes, until_us

    def _now(self, schedules: Sequence[Schedule]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """(m, classes) why a touch may not go out at the schedules' instant, 0 where it may; and when it next may."""
        hours = self._catalog.hours
        openings = [
            [
                each.now(schedule.now_us, schedule.now_us + TOUCH_LIFETIME_US)
                for each in hours.around(schedule.zone, schedule.region, schedule.today)
            ]
            for schedule in schedules
        ]
        found = np.array(openings, np.int64).reshape(len(schedules), -1, 3)
        return found[:, :, 0].astype(np.uint8), found[:, :, 1]


def _remove(removed: NDArray[np.uint8], codes: NDArray[np.uint8]) -> None:
    np.copyto(removed, codes, where=removed == ALLOWED)


def _reach_us(limit: Limit) -> int:
    match limit.rule:
        case Rolling(length_us=length_us):
            return length_us
        case Calendar(period=period):
            return period.longest_us
        case Ignored(within_us=within_us, length_us=length_us):
            return within_us + length_us
        case _:
            return 0
