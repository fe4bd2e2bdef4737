"""The campaign that speed is measured on: 120 arms (6 messages x 4 channels x 5 slots), 20 numbers, 2 categories.

Everything else is the default. The customers live in four time zones, whose slots have two different schedules.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

import numpy as np

from optimizer.campaign import CampaignFile
from optimizer.choices import Batch
from optimizer.groups import assign
from optimizer.learner import Learner
from optimizer.lessons import Lessons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.random import Generator
    from numpy.typing import NDArray

    from optimizer.attributes import Columns
    from optimizer.catalog import Schedule
    from optimizer.decider import Decider
    from optimizer.features import Encoded
    from optimizer.snapshot import Snapshot

NOW = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
"""In New York the early slot is over, in Los Angeles it is to come."""

ZONES = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles")
NUMBERS = tuple(f"number_{i}" for i in range(20))
CATEGORIES = {"segment": 12, "region": 30}
CONSENTS = {f"{channel}_marketing": True for channel in ("email", "sms", "push", "chat")}
"""Which every customer has given."""
_SLOTS = {"early": (7, 9), "morning": (9, 12), "midday": (12, 15), "afternoon": (15, 18), "evening": (18, 21)}
_CHANNELS = ("email", "sms", "push", "chat")
_TONES = ("warm", "direct", "playful", "urgent", "warm", "direct")


def campaign(categories: Mapping[str, int] = CATEGORIES, importance: Literal["one", "mtr"] = "one") -> CampaignFile:
    """The campaign with an audience, groups, and two messages that not everybody may get."""
    messages: list[dict[str, Any]] = [
        {
            "id": f"message_{i}",
            "attributes": {"tone": tone},
            "creatives": {channel: {"template": f"message_{i}", "version": 1} for channel in _CHANNELS},
        }
        for i, tone in enumerate(_TONES)
    ]
    messages[0]["eligibility"] = {"attr": "number_1", "op": ">", "value": -1.0}
    messages[1]["eligibility"] = {"attr": "segment", "op": "!=", "value": "segment_0"}
    slots = [
        {"id": name, "days": "all", "from": f"{start:02}:00", "to": f"{end:02}:00"}
        for name, (start, end) in _SLOTS.items()
    ]
    return CampaignFile.model_validate(
        {
            "version": 1,
            "campaign": {"id": "speed", "name": "speed", "starts_at": "2026-01-01T00:00:00Z"},
            "audience": {"attr": "number_0", "op": ">", "value": -2.0},
            "groups": {"holdout": 0.05, "random_control": 0.10},
            "features": [
                *({"name": name, "bucket": "customer", "type": "number"} for name in NUMBERS),
                *({"name": name, "bucket": "customer", "type": "category"} for name in categories),
            ],
            "catalog": {
                "messages": messages,
                "channels": [{"id": channel, "cost": 0.0} for channel in _CHANNELS],
                "timing": {"horizon": "24h", "slots": slots},
                "no_send": False,
            },
            "policy": {"importance": importance},
            "reward": {"events": [{"name": "bought", "value": 1, "window": "20h"}]},
        }
    )


def with_policy(plain: CampaignFile) -> CampaignFile:
    """The same with the contact rules of a real campaign: hours, caps, a gap, a cooldown, a blackout, consent."""
    data = plain.model_dump(mode="json", by_alias=True)
    for channel in data["catalog"]["channels"]:
        channel["consent"] = f"{channel['id']}_marketing"
    data["catalog"]["messages"][1]["caps"] = [{"count": 1, "window": {"rolling": "30d"}}]
    data["contact_policy"] = {
        "quiet_hours": [{"days": "all", "from": "21:00", "to": "08:00", "action": "defer"}],
        "caps": [
            {"id": "day", "count": 1, "window": {"calendar": "day"}, "channels": ["email", "push", "sms"]},
            {"id": "week", "count": 3, "window": {"rolling": "7d"}},
        ],
        "min_gap": "20h",
        "cooldowns": [{"after": {"ignored_touches": 2, "within": "30d"}, "for": "60d", "scope": "message"}],
        "blackouts": [{"from": "2026-02-01T00:00", "until": "2026-02-03T00:00", "reason": "institutional launch"}],
    }
    return CampaignFile.model_validate(data)


def columns(rng: Generator, n: int, categories: Mapping[str, int] = CATEGORIES) -> Columns:
    """Attributes of n customers."""
    values: dict[str, NDArray[Any]] = {name: rng.normal(size=n) for name in NUMBERS}
    for name, size in categories.items():
        names = np.array([f"{name}_{i}" for i in range(size)], object)
        values[name] = names[rng.integers(0, size, n)]
    return values


def batch(decider: Decider, rng: Generator, n: int, categories: Mapping[str, int] = CATEGORIES) -> Batch:
    """Everything that is known of n customers when the decider is asked."""
    return Batch(
        words=rng.integers(0, 2**64, (n, 2), np.uint64),
        groups=assign([f"customer-{i}" for i in range(n)], decider.campaign.groups, "speed"),
        context=columns(rng, n, categories),
        history={},
        touches=np.zeros(n, np.intp),
        schedules=[decider.catalog.schedule(ZoneInfo(zone), NOW) for zone in ZONES],
        schedule_of=rng.integers(0, len(ZONES), n),
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    """Random arms (n,) and the rewards (n,) of customers who like some messages better than others."""

    arms: NDArray[np.intp]
    rewards: NDArray[np.float64]

    @classmethod
    def at_random(cls, decider: Decider, rng: Generator, encoded: Encoded) -> Drawn:
        """One for each customer."""
        n = len(encoded)
        arms = rng.integers(0, len(decider.catalog), n)
        liking = encoded.numbers[np.arange(n), decider.catalog.message_of[arms]]
        return cls(arms, (rng.random(n) < 0.1 + 0.1 * np.tanh(liking)).astype(np.float64))

    def lessons(self, decider: Decider, encoded: Encoded) -> Lessons:
        """What the learner reads of them, all on the schedule of the first zone."""
        n, k = len(encoded), len(decider.catalog)
        slots = decider.catalog.slot_of[self.arms].tolist()
        variants = schedule(decider).variants
        return Lessons.of(
            decider.space,
            encoded,
            self.arms,
            [variants[slot] for slot in slots],
            rewards=self.rewards,
            propensities=np.full(n, 1.0 / k),
            candidates=np.full(n, k),
        )


def schedule(decider: Decider) -> Schedule:
    """That of the first zone."""
    return decider.catalog.schedule(ZoneInfo(ZONES[0]), NOW)


def learned(decider: Decider, rng: Generator, n: int, categories: Mapping[str, int] = CATEGORIES) -> Learner:
    """Vowpal Wabbit's models alone, whose number of weights has no limit, after n random decisions."""
    learner = Learner(decider.space, decider.campaign.policy.importance, second_order=False)
    encoded = decider.space.encode(columns(rng, n, categories), {}, n)
    learner.learn(Drawn.at_random(decider, rng, encoded).lessons(decider, encoded))
    return learner


def snapshot(learner: Learner, *, pairs: bool) -> Snapshot:
    """What would be published if Vowpal Wabbit's squared-loss model with or without pairs were the one that serves."""
    return learner.snapshot_of(next(m for m in learner.members if m.loss == "squared" and m.pairs == pairs))
