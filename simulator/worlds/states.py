"""The states in which customers are found while every arm is drawn uniformly.

A ledger in arrays, apart from the engine's, because what it is needed for (the worth of each bucket of context) must
not depend on the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.worlds.effects import CHANNELS, MESSAGES, SLOTS
from simulator.worlds.factorial import NO_SEND
from simulator.worlds.population import ZONES, Floats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from optimizer.attributes import Columns

RUNS = 30
RUN_EVERY_H = 48.0

_LOCAL_DECISION_H: Mapping[str, float] = {
    "America/Mexico_City": 0.0,
    "America/Bogota": 1.0,
    "America/New_York": 1.0,
    "America/Sao_Paulo": 3.0,
    "Europe/Madrid": 7.0,
}
"""Local time at 06:00 UTC in winter."""

_SLOT_FROM_H = np.array([7.0, 9.0, 12.0, 15.0, 18.0])
_WEEK_H = 168.0


def untouched(n: int) -> Columns:
    """The history of `n` customers that were never contacted."""
    return {
        "touches_7d": np.zeros(n),
        "hours_since_last_touch": np.full(n, np.nan),
        "hours_since_last_touch_on_channel": np.full((n, len(CHANNELS)), np.nan),
        "last_message": np.full(n, None, dtype=object),
    }


def uniform_histories(n: int, rng: np.random.Generator, runs: int = RUNS) -> Columns:
    """History features of `n` customers, each at a random one of the first `runs` runs under uniformly random arms.

    Arms drawn uniformly depend on nothing about a customer, so the histories fit any people.
    """
    zones = np.array([_LOCAL_DECISION_H[zone] for zone in ZONES])[rng.choice(len(ZONES), n, p=list(ZONES.values()))]
    arms = rng.integers(0, NO_SEND + 1, (n, runs))
    now = rng.integers(0, runs, n)
    age_h = _touch_ages_h(arms, zones, now)
    channel = np.where(arms == NO_SEND, -1, arms // len(SLOTS) % len(CHANNELS))
    by_channel = [np.where(channel == c, age_h, np.inf).min(axis=1) for c in range(len(CHANNELS))]
    last = age_h.argmin(axis=1)
    last_h = age_h[np.arange(n), last]
    messages = arms[np.arange(n), last] // (NO_SEND // len(MESSAGES))
    messages[np.isinf(last_h)] = len(MESSAGES)
    return {
        "touches_7d": (age_h <= _WEEK_H).sum(axis=1).astype(np.float64),
        "hours_since_last_touch": _or_nan(last_h),
        "hours_since_last_touch_on_channel": _or_nan(np.stack(by_channel, axis=1)),
        "last_message": np.array([*MESSAGES, None], dtype=object)[messages],
    }


def _touch_ages_h(arms: NDArray[np.int64], decision_local_h: Floats, now: NDArray[np.int64]) -> Floats:
    """(n, runs) hours from each run's touch to run `now`; infinite where nothing was sent, or not before `now`."""
    slot_from = _SLOT_FROM_H[arms % len(SLOTS)]
    wait_h = (slot_from - decision_local_h[:, None]) % 24.0
    runs_ago = now[:, None] - np.arange(arms.shape[1])
    age_h: Floats = np.where((runs_ago > 0) & (arms != NO_SEND), RUN_EVERY_H * runs_ago - wait_h, np.inf)
    return age_h


def _or_nan(hours: Floats) -> Floats:
    finite: Floats = np.where(np.isinf(hours), np.nan, hours)
    return finite
