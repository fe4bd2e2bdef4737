"""What makes people convert in the factorial world: log-odds that add up over message, channel and slot.

    logit P(convert | person, history, message, channel, slot)
        = intercept + buys_often(person) + M[message] + K[channel] + S[slot] + F[message, channel] + fatigue(history)

M, K and S are each a main effect, plus what the person's attributes add to it, plus what earlier touches add to it.
Numbers act through a bounded function of themselves and recency decays exponentially, so that a linear model over
crosses of context with message, channel and slot comes close to the truth without having its form.

The tables say who likes what. How much that matters in all is the business of `Strengths`, whose numbers are found by
`simulator.worlds.calibration`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.worlds.population import LEVELS, Floats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from optimizer.attributes import Columns

MESSAGES = ("new_arrivals", "ten_percent", "free_delivery", "loyalty_points", "style_advice", "last_chance")
CHANNELS = ("email", "sms", "push", "chat")
SLOTS = ("early", "morning", "midday", "afternoon", "evening")

_MESSAGE_MAIN = np.array([0.1, 0.3, 0.1, 0.0, -0.3, -0.2])
_MESSAGE_BY_NUMBER: Mapping[str, tuple[float, ...]] = {
    "price_sensitivity": (-0.6, 1.0, 0.3, -0.3, -0.9, 0.5),
    "age": (-0.2, 0.0, 0.2, 0.2, 0.1, -0.3),
}
_MESSAGE_BY_LEVEL: Mapping[str, tuple[tuple[float, ...], ...]] = {
    "lifecycle": (
        (0.1, 0.6, 0.7, -1.1, 0.0, -0.3),
        (0.5, -0.3, 0.0, 0.2, 0.2, -0.6),
        (0.4, -1.0, -0.5, 1.4, 0.4, -0.7),
        (-0.8, 0.4, -0.2, -0.5, -0.6, 1.7),
    ),
    "favourite_category": (
        (0.6, -0.1, -0.3, -0.1, 0.4, -0.2),
        (-0.5, -0.1, 0.8, 0.1, -0.3, -0.1),
        (0.1, 0.3, -0.2, 0.1, -0.5, 0.2),
        (-0.1, -0.3, -0.2, 0.2, 0.8, -0.1),
    ),
}

_CHANNEL_MAIN = np.array([0.25, -0.2, 0.1, -0.15])
_CHANNEL_BY_NUMBER: Mapping[str, tuple[float, ...]] = {
    "age": (0.4, 0.4, -0.4, -0.4),
    "app_sessions_30d": (-0.4, -0.5, 0.9, 0.0),
}
_SLOT_MAIN = np.array([-0.2, 0.1, 0.05, -0.15, 0.2])
_SLOT_BY_NUMBER: Mapping[str, tuple[float, ...]] = {"age": (0.2, 0.4, 0.0, -0.2, -0.4)}
_SLOT_BY_LEVEL: Mapping[str, tuple[tuple[float, ...], ...]] = {
    "work_pattern": (
        (0.4, -0.9, 0.7, -0.8, 0.6),
        (-0.6, 0.2, -0.3, 1.4, -0.7),
        (-0.8, 1.3, 0.2, 0.2, -0.9),
        (-1.2, -0.5, 0.1, 0.4, 1.2),
    ),
}

_FIT = np.array(
    [
        [0.2, -0.2, 0.1, -0.1],
        [-0.1, 0.2, 0.0, -0.1],
        [0.0, 0.0, -0.1, 0.1],
        [0.1, -0.1, 0.0, 0.0],
        [0.2, -0.2, -0.1, 0.1],
        [-0.4, 0.3, 0.1, 0.0],
    ]
)
"""How well a message suits a channel: long advice wants room, a last chance wants a short buzz."""

_REPEATED_MESSAGE = -1.0
_RECENT_CHANNEL = -1.8
_CHANNEL_DECAY_H = 60.0
_RECENT_TOUCH = np.array([-0.6, -0.3, 0.0, 0.3, 0.6])
_TOUCH_DECAY_H = 24.0
_TOUCH_AGE_H = 36.0
_CHANNEL_FATIGUE = np.array([0.1, -0.2, -0.1, 0.2])
_BUYS_OFTEN = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Strengths:
    """How much each family of effects matters, in log-odds a unit of its table.

    Attributes:
        intercept: log-odds of an average touch on somebody never contacted before.
        message: the main effect of the message.
        execution: the main effects of channel and slot, and what earlier touches do to the effect of message, channel
            and slot.
        personal: what a person's attributes do to the effect of message, channel and slot.
        fatigue: what each touch of the last seven days takes from the next.
        organic: log-odds, beside the intercept, of converting without any touch.
    """

    intercept: float
    message: float
    execution: float
    personal: float
    fatigue: float
    organic: float


@dataclass(frozen=True, slots=True)
class Logits:
    """Log-odds of `n` rows, apart by what they depend on.

    Attributes:
        base: (n,) what every arm has, no_send included.
        message: (n, messages); channel: (n, channels); slot: (n, slots).
    """

    base: Floats
    message: Floats
    channel: Floats
    slot: Floats

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> Logits:
        return Logits(self.base[rows], self.message[rows], self.channel[rows], self.slot[rows])

    def __add__(self, other: Logits) -> Logits:
        return Logits(
            self.base + other.base, self.message + other.message, self.channel + other.channel, self.slot + other.slot
        )


def fit(strengths: Strengths) -> Floats:
    """(messages, channels) log-odds of the message on the channel beyond those of either."""
    return strengths.execution * _FIT


def personal_logits(columns: Columns, strengths: Strengths) -> Logits:
    """What the people of `columns` bring along, main effects included."""
    numbers = {
        name: _bounded(name, columns[name])
        for name in ("age", "price_sensitivity", "app_sessions_30d", "purchases_90d")
    }
    message = _by_numbers(numbers, _MESSAGE_BY_NUMBER) + _by_levels(columns, _MESSAGE_BY_LEVEL)
    channel = _by_numbers(numbers, _CHANNEL_BY_NUMBER)
    slot = _by_numbers(numbers, _SLOT_BY_NUMBER) + _by_levels(columns, _SLOT_BY_LEVEL)
    return Logits(
        strengths.intercept + _BUYS_OFTEN * numbers["purchases_90d"],
        strengths.personal * message + strengths.message * _MESSAGE_MAIN,
        strengths.personal * channel + strengths.execution * _CHANNEL_MAIN,
        strengths.personal * slot + strengths.execution * _SLOT_MAIN,
    )


def history_logits(history: Columns, strengths: Strengths) -> Logits:
    """What earlier touches do to the next one.

    A channel just used and a message just sent work less, a recent touch wants a later slot, and each touch of the last
    seven days tires, on some channels more than on others.
    """
    last = history["last_message"]
    repeated = np.stack([last == message for message in MESSAGES], axis=1)
    channel_age_h = np.nan_to_num(history["hours_since_last_touch_on_channel"], nan=np.inf)
    touch_age_h = np.nan_to_num(history["hours_since_last_touch"], nan=np.inf)
    recency = np.where(np.isinf(touch_age_h), 0.0, np.exp(-(touch_age_h - _TOUCH_AGE_H) / _TOUCH_DECAY_H))
    touches_7d = history["touches_7d"][:, None]
    n = len(last)
    return Logits(
        np.zeros(n),
        strengths.execution * _REPEATED_MESSAGE * repeated,
        strengths.execution
        * (_RECENT_CHANNEL * np.exp(-channel_age_h / _CHANNEL_DECAY_H) + _CHANNEL_FATIGUE * touches_7d)
        - strengths.fatigue * touches_7d,
        strengths.execution * recency[:, None] * _RECENT_TOUCH,
    )


def _bounded(name: str, values: Floats) -> Floats:
    """A number as people's behaviour depends on it: about -2 to 2, with less and less difference at the ends."""
    match name:
        case "age":
            z = (values - 42.0) / 15.0
        case "price_sensitivity":
            z = (values - 0.44) / 0.21
        case "app_sessions_30d":
            z = (np.log1p(values) - 1.7) / 0.9
        case _:
            z = (np.log1p(values) - 0.85) / 0.65
    bounded: Floats = 2.0 * np.tanh(z / 2.0)
    return bounded


def _by_numbers(numbers: Mapping[str, Floats], table: Mapping[str, tuple[float, ...]]) -> Floats:
    total: Floats = np.sum([numbers[name][:, None] * np.array(row) for name, row in table.items()], axis=0)
    return total


def _by_levels(columns: Columns, table: Mapping[str, tuple[tuple[float, ...], ...]]) -> Floats:
    parts = []
    for name, rows in table.items():
        position = {level: i for i, level in enumerate(LEVELS[name])}
        parts.append(np.array(rows)[[position[level] for level in columns[name].tolist()]])
    total: Floats = np.sum(parts, axis=0)
    return total
