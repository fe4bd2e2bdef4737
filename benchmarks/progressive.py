"""How fast a campaign's policy goes through a log: 1 million decisions, 40 arms, learning as it goes."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.figures import Figure
from optimizer.campaign import CampaignFile
from optimizer.evaluation.log import CHUNK, Log
from simulator.progressive import PUBLISH_EVERY, Progressive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


TITLE = "Progressive validation: 40 arms, 6 numbers and 2 categories, published after every 1,000 decisions"
ROWS = 1_000_000
ARMS = 40
NUMBERS = 6
LEVELS = ("one", "two", "three", "four", "five")
WINDOW_US = 3_600_000_000
BETWEEN_US = 100_000


def campaign() -> CampaignFile:
    """Forty messages, and features of customers."""
    features = [{"name": f"x{i}", "bucket": "customer", "type": "number"} for i in range(NUMBERS)]
    features += [{"name": name, "bucket": "customer", "type": "category"} for name in ("segment", "source")]
    return CampaignFile.model_validate(
        {
            "version": 1,
            "campaign": {"id": "bench", "name": "bench", "starts_at": "2026-01-01T00:00:00Z"},
            "features": features,
            "catalog": {"messages": [{"id": f"m{i}"} for i in range(ARMS)], "no_send": False},
            "reward": {"events": [{"name": "hit", "value": 1, "window": "1h"}]},
        }
    )


def log(rows: int, seed: int = 1) -> Iterator[Log]:
    """Decisions of a uniform policy, ten a second, whose rewards are known an hour later; chunk by chunk."""
    rng = np.random.default_rng(seed)
    tastes = rng.normal(size=(NUMBERS, ARMS)) / 3
    for first in range(0, rows, CHUNK):
        n = min(CHUNK, rows - first)
        x = rng.normal(size=(n, NUMBERS))
        chosen = rng.integers(0, ARMS, n)
        rate = 1.0 / (1.0 + np.exp(2.5 - (x * tastes[:, chosen].T).sum(axis=1)))
        time_us = (first + np.arange(n)) * BETWEEN_US
        context: dict[str, Any] = {f"x{i}": x[:, i] for i in range(NUMBERS)}
        context |= {name: rng.choice(np.array(LEVELS, object), n) for name in ("segment", "source")}
        yield Log(
            arms=tuple(f"m{i}" for i in range(ARMS)),
            chosen=chosen,
            propensity=np.full(n, 1.0 / ARMS),
            reward=(rng.random(n) < rate).astype(np.float64),
            time_us=time_us,
            close_us=time_us + WINDOW_US,
            context=context,
        )


class Timed(Progressive):
    """Tells apart how long it learns and publishes, and how long it does everything else."""

    def __init__(self) -> None:
        super().__init__(campaign(), publish_every=PUBLISH_EVERY)
        self.publishing_s = 0.0

    def _publish(self, now_us: int) -> None:
        start = perf_counter()
        super()._publish(now_us)
        self.publishing_s += perf_counter() - start


def passed(policy: Timed, chunks: Sequence[Log]) -> float:
    """Seconds to go through a log."""
    start = perf_counter()
    for chunk in chunks:
        policy.probabilities(chunk)
    return perf_counter() - start


def figures(rows: int = ROWS) -> Iterator[Figure]:
    """The whole, and where its time goes."""
    chunks = list(log(rows))
    policy = Timed()
    whole_s = passed(policy, chunks)
    learned = policy.learned
    yield Figure("rows a second", rows / whole_s, "{:,.0f}", 50_000, note=f"{learned:,} rewards learned on the way")
    yield Figure("of these, learning and publishing alone", learned / policy.publishing_s, note="rewards a second")
    yield Figure(
        "everything else: encoding, scoring, exploring", rows / (whole_s - policy.publishing_s), note="rows a second"
    )
