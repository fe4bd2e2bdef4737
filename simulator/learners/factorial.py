"""The factorial world step by step, without the service around it: who is decided in a run, and what comes of it.

The closed loop (`simulator.loop`) has the engine decide, dispatch, join and learn; this has the same customers, groups,
runs and responses, and keeps just the history that the world's customers react to, so that any learner can take part.
A run's rewards are known before the next run, as the campaign's windows have it.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

from optimizer.clock import to_us
from optimizer.decider import Decider
from optimizer.groups import GROUPS, Group, assign
from optimizer.history import DAY_US, HOUR_US
from simulator.learners.playing import Outcome, Turn, customers
from simulator.measured import Measured
from simulator.worlds.effects import CHANNELS, MESSAGES
from simulator.worlds.factorial import NO_SEND, FactorialConfig, FactorialWorld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from optimizer.attributes import Columns
    from optimizer.campaign import CampaignFile
    from optimizer.choices import Batch
    from simulator.learners.interface import Floats, Indices

RUN_EVERY: Final = timedelta(days=2)
_RUN_AT: Final = timedelta(hours=6)
_WEEK_US: Final = 7 * DAY_US
_WEEK_OF_RUNS: Final = 4
_WINDOW_S: Final = 20 * 3600.0
_LEARNED_FROM: Final = (Group.TREATMENT, Group.RANDOM_CONTROL)


class FactorialRuns:
    """Runs of the factorial campaign over those of its customers who are learned from.

    Args:
        campaign: that of `configs/factorial.yaml`.
        people: how many customers, the groups that nothing is learned from included.
        seed: of people and responses.

    Attributes:
        measured: what the decisions so far were worth, those of treatment.
    """

    def __init__(self, campaign: CampaignFile, people: int, seed: int) -> None:
        self.campaign = campaign
        self.measured: list[Measured] = []
        self._world = FactorialWorld(FactorialConfig(), people, seed)
        self._rng = np.random.default_rng([seed, 2])
        population = self._world.population
        groups = assign(population.ids, campaign.groups, campaign.groups.salt)
        self._who = np.flatnonzero(np.isin(groups, [GROUPS.index(group) for group in _LEARNED_FROM]))
        self._control = groups[self._who] == GROUPS.index(Group.RANDOM_CONTROL)
        self._context = {name: column[self._who] for name, column in population.columns.items()}
        zones = population.zones[self._who].tolist()
        self._zones = [ZoneInfo(zone) for zone in dict.fromkeys(zones)]
        place = {zone.key: i for i, zone in enumerate(self._zones)}
        self._zone_of = np.array([place[zone] for zone in zones], np.intp)
        self._catalog = Decider(campaign).catalog
        self._touches = _Touches(len(self._who))

    def turns(self, days: int) -> Iterator[Turn]:
        """The runs of so many days, one turn each."""
        starts = self.campaign.campaign.starts_at + _RUN_AT
        n = len(self._who)
        for run in range(timedelta(days=days) // RUN_EVERY):
            now = starts + run * RUN_EVERY
            schedules = [self._catalog.schedule(zone, now) for zone in self._zones]
            history = self._touches.history(to_us(now))
            batch = customers(self._context, n, schedules, schedule_of=self._zone_of, history=history)
            allowed = np.ones((n, len(self._catalog)), np.bool_)
            yield Turn(batch, allowed, self._control, partial(self._outcome, batch))

    def _outcome(self, batch: Batch, arms: Indices) -> Outcome:
        expected = self._world.expected(self._who, batch.history)
        mine = np.flatnonzero(~self._control)
        self.measured.append(
            Measured(
                np.full(len(mine), batch.schedules[0].now_us),
                np.full(len(mine), Group.TREATMENT.value),
                expected[mine, arms[mine]],
                expected[mine].max(axis=1),
                expected[mine].mean(axis=1),
            )
        )
        got = self._world.respond(self._who, arms, batch.history, self._rng)
        send_us = np.array([schedule.send_us for schedule in batch.schedules], np.int64)
        self._touches.add(arms, send_us[batch.schedule_of, self._catalog.cell_of[arms]])
        in_time = got.converted & ~(got.conversion_delay_s > _WINDOW_S)
        return Outcome(in_time.astype(np.float64), np.ones(len(arms), np.bool_))


class _Touches:
    """When everybody was touched: what history features are made of."""

    def __init__(self, n: int) -> None:
        self._sent_us: list[NDArray[np.float64]] = []
        self._last_us = np.full((n, len(CHANNELS)), np.nan)
        self._last_arm = np.full(n, NO_SEND, np.intp)

    def add(self, arms: Indices, send_us: NDArray[np.int64]) -> None:
        """These arms (n,) were sent then, but for no_send."""
        touched = np.flatnonzero(arms != NO_SEND)
        self._last_arm[touched] = arms[touched]
        self._last_us[touched, _channel(arms[touched])] = send_us[touched]
        sent = np.full(len(arms), -np.inf)
        sent[touched] = send_us[touched]
        self._sent_us = [*self._sent_us, sent][-_WEEK_OF_RUNS:]

    def history(self, now_us: int) -> Columns:
        """The history features at an instant."""
        never = self._last_arm == NO_SEND
        messages = self._last_arm // (NO_SEND // len(MESSAGES))
        messages[never] = len(MESSAGES)
        channels = np.where(never, len(CHANNELS), _channel(self._last_arm))
        hours: Floats = (now_us - self._last_us) / HOUR_US
        week = [now_us - sent_us < _WEEK_US for sent_us in self._sent_us]
        return {
            "touches_7d": np.sum(week, axis=0, dtype=np.float64) if week else np.zeros(len(never)),
            "hours_since_last_touch": np.fmin.reduce(hours, axis=1),
            "hours_since_last_touch_on_channel": hours,
            "last_message": np.array([*MESSAGES, None], object)[messages],
            "last_channel": np.array([*CHANNELS, None], object)[channels],
        }


def _channel(arms: Indices) -> Indices:
    per_message = NO_SEND // len(MESSAGES)
    return np.asarray(arms % per_message // (per_message // len(CHANNELS)), np.intp)
