"""The factorial world: people who convert with a probability that is known, for every message, channel and slot.

A touch is sent, perhaps opened, and perhaps followed by a conversion within hours; a few conversions come days later,
after every window has closed. People convert now and then without any touch. Each touch has a small chance to make
somebody unsubscribe, larger where there were many; whoever has done so behaves as if never touched again.

Arms are in a catalog's order: messages, within them channels, within them slots; no_send last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.worlds.effects import (
    CHANNELS,
    MESSAGES,
    SLOTS,
    Logits,
    Strengths,
    fit,
    history_logits,
    personal_logits,
)
from simulator.worlds.population import Floats, draw_population

if TYPE_CHECKING:
    from optimizer.attributes import Columns

Indices = NDArray[np.intp]
Bools = NDArray[np.bool_]

ARMS: tuple[tuple[str | None, str | None, str | None], ...] = (
    *((message, channel, slot) for message in MESSAGES for channel in CHANNELS for slot in SLOTS),
    (None, None, None),
)
NO_SEND = len(ARMS) - 1

_OPEN_RATE = np.array([0.22, 0.55, 0.15, 0.45])
_HOURS_S = 3600.0


CALIBRATED = Strengths(
    intercept=-3.0124,
    message=0.114,
    execution=0.0898,
    personal=0.2393,
    fatigue=0.06,
    organic=-0.8,
)
"""What `simulator.worlds.calibration.calibrate` found for its default `Target`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorialConfig:
    """The world's numbers.

    Attributes:
        strengths: how much each family of effects matters.
        mean_delay_h: mean time from touch to conversion before it is cut at `longest_delay_h`.
        longest_delay_h: all conversions but the late ones come sooner than this after the touch, those without a
            touch after the decision.
        late_share: share of conversions that come 2 to 4 days after, when no window of a campaign decided every 2
            days is open any more.
        unsubscribe_rate: chance that a touch makes somebody unsubscribe who had none in the last seven days.
        unsubscribe_growth: how much of that rate each touch of the last seven days adds.
    """

    strengths: Strengths = CALIBRATED
    mean_delay_h: float = 4.0
    longest_delay_h: float = 20.0
    late_share: float = 0.02
    unsubscribe_rate: float = 0.0005
    unsubscribe_growth: float = 0.25


@dataclass(frozen=True, slots=True)
class Responses:
    """What happened after `n` decisions.

    Times are seconds after the touch was sent; without a touch, after the decision.

    Attributes:
        converted: (n,) whether it was followed by a conversion, late ones included.
        conversion_delay_s: (n,) when, NaN where it was not.
        opened: (n,) whether the touch was opened; whoever converted or unsubscribed has opened it.
        open_delay_s: (n,) when, never after the conversion; NaN where it was not.
        unsubscribed: (n,) whether the person unsubscribed, at the moment of opening.
    """

    converted: Bools
    conversion_delay_s: Floats
    opened: Bools
    open_delay_s: Floats
    unsubscribed: Bools


class FactorialWorld:
    """`n_customers` people drawn from `seed`, and what they would do.

    Everything but `unsubscribed` stays as it was made. A history maps history features to arrays as the engine has them
    at the decision, one row a customer: `touches_7d` and `hours_since_last_touch` (n,),
    `hours_since_last_touch_on_channel` (n, 4) in the order of `CHANNELS`, `last_message` (n,) object array of str or
    None; NaN stands for never.

    Attributes:
        arms: (message, channel, slot) of each of the K arms, three times None for no_send.
        arm_ids: the same as `message/channel/slot`, and `no_send`.
        population: the people.
        personal: (n_customers, ...) what they bring along, in log-odds.
        unsubscribed: (n_customers,) who has unsubscribed so far; `respond` keeps it.
    """

    arms = ARMS
    arm_ids = tuple("/".join(part for part in arm if part) or "no_send" for arm in ARMS)

    def __init__(self, config: FactorialConfig, n_customers: int, seed: int) -> None:
        self.config = config
        self.population = draw_population(n_customers, np.random.default_rng([seed, n_customers]))
        self.personal = personal_logits(self.population.columns, config.strengths)
        self.unsubscribed: Bools = np.zeros(n_customers, np.bool_)

    def customers(self) -> list[dict[str, Any]]:
        """Everybody as `{customer_id, attributes, timezone}`, in the order of the customer indices."""
        return self.population.rows()

    def expected(self, customers: Indices, history: Columns) -> Floats:
        """(n, K) the probability that each arm, decided in this state, is followed by a conversion that counts.

        Args:
            customers: (n,) customer indices.
            history: their history features.
        """
        p = arm_probabilities(self._logits(customers, history), self.config.strengths)
        p *= 1.0 - self.config.late_share
        gone = self.unsubscribed[customers]
        p[gone] = p[gone, NO_SEND:]
        return p

    def respond(self, customers: Indices, arms: Indices, history: Columns, rng: np.random.Generator) -> Responses:
        """What the customers do after the touches of these arms (each customer at most once), drawn from `rng`.

        The number of draws depends on n only. A touch that was never sent is to be given as no_send.

        Args:
            customers: (n,) customer indices.
            arms: (n,) indices into `arms`.
            history: their history features, as in `expected`.
            rng: where the draws come from.
        """
        touched = (arms != NO_SEND) & ~self.unsubscribed[customers]
        n, config = len(customers), self.config
        convert, late, open_, leave = rng.random((4, n))
        when, before = rng.random((2, n))
        converted = convert < self._chosen_probability(customers, arms, history, touched)
        channel = np.where(touched, arms, 0) // len(SLOTS) % len(CHANNELS)
        leave_rate = config.unsubscribe_rate * (1.0 + config.unsubscribe_growth * history["touches_7d"])
        unsubscribed = touched & (leave < leave_rate)
        opened = touched & (converted | unsubscribed | (open_ < _OPEN_RATE[channel]))
        delay_h = self._delay_h(when, late < config.late_share, touched)
        open_h = np.where(converted, before * delay_h, self._delay_h(before, np.zeros(n, np.bool_), touched))
        self.unsubscribed[customers[unsubscribed]] = True
        return Responses(
            converted,
            np.where(converted, delay_h * _HOURS_S, np.nan),
            opened,
            np.where(opened, open_h * _HOURS_S, np.nan),
            unsubscribed,
        )

    def _logits(self, customers: Indices, history: Columns) -> Logits:
        return self.personal[customers] + history_logits(history, self.config.strengths)

    def _chosen_probability(self, customers: Indices, arms: Indices, history: Columns, touched: Bools) -> Floats:
        """(n,) probability of converting at all after the arm drawn."""
        strengths = self.config.strengths
        logits = self._logits(customers, history)
        arm = np.where(touched, arms, 0)
        message, rest = np.divmod(arm, len(CHANNELS) * len(SLOTS))
        channel, slot = np.divmod(rest, len(SLOTS))
        rows = np.arange(len(customers))
        effect = logits.message[rows, message] + logits.channel[rows, channel] + logits.slot[rows, slot]
        effect += fit(strengths)[message, channel]
        probability: Floats = 1.0 / (1.0 + np.exp(-(logits.base + np.where(touched, effect, strengths.organic))))
        return probability

    def _delay_h(self, uniform: Floats, late: Bools, touched: Bools) -> Floats:
        """Delays from uniform numbers.

        After a touch exponential, cut at the longest; without one evenly spread up to it; 2 to 4 days where late.
        """
        config = self.config
        reach = -np.expm1(-config.longest_delay_h / config.mean_delay_h)
        after_touch = -config.mean_delay_h * np.log1p(-uniform * reach)
        soon = np.where(touched, after_touch, uniform * config.longest_delay_h)
        delay: Floats = np.where(late, 48.0 + 48.0 * uniform, soon)
        return delay


def arm_probabilities(logits: Logits, strengths: Strengths) -> Floats:
    """(n, K) probability of converting at all, for rows that have not unsubscribed."""
    n = len(logits.base)
    odds = np.empty((n, len(ARMS)))
    base = logits.base[:, None]
    content = (base + logits.message)[:, :, None] + logits.channel[:, None, :] + fit(strengths)
    touches = odds[:, :NO_SEND].reshape(n, len(MESSAGES), len(CHANNELS), len(SLOTS))
    np.add(content[..., None], logits.slot[:, None, None, :], out=touches)
    odds[:, NO_SEND] = logits.base + strengths.organic
    np.negative(odds, out=odds)
    np.exp(odds, out=odds)
    odds += 1.0
    return np.divide(1.0, odds, out=odds)
