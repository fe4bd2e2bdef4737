"""The decider with a contact policy against the same decider without one: what filtering by it costs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from benchmarks import shop
from benchmarks.figures import Figure, rates, ratio
from optimizer.campaign import CampaignFile
from optimizer.clock import to_us
from optimizer.decider import Decider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

    from optimizer.choices import Batch
    from optimizer.scorer import Scorer

TITLE = "The decider with a contact policy: 5 caps, quiet hours and consent, 4 touches of history a customer, 120 arms"
ROUNDS = 7
ROWS = 100_000
SINGLE = 2_000
TRAINED = 2_000
TOUCHES = 4
_DAY_US = 86_400_000_000
_STATES = ("sent", "sent", "delivered", "opened", "bounced", "cancelled")

POLICY: dict[str, Any] = {
    "quiet_hours": [{"from": "20:00", "to": "08:00"}],
    "caps": [
        {"count": 1, "window": {"calendar": "day"}},
        {"count": 3, "window": {"rolling": "7d"}},
        {"count": 8, "window": {"calendar": "month"}, "counts": "decided"},
        {"count": 2, "window": {"rolling": "7d"}, "scope": "channel"},
        {"count": 1, "window": {"rolling": "14d"}, "scope": "message"},
    ],
}


def figures() -> Iterator[Figure]:
    """How many times as long a batch takes with the policy, and what one decision takes."""
    rng = np.random.default_rng(1)
    plain = Decider(shop.campaign())
    ruled = Decider(_campaign())
    snapshot = shop.snapshot(shop.learned(plain, rng, TRAINED), pairs=False)
    batch = shop.batch(plain, rng, ROWS)
    facts = [_facts(rng) for _ in range(ROWS)]
    start = perf_counter()
    contact = ruled.contact.reader.read(facts)
    read_s = perf_counter() - start
    schedules = [ruled.catalog.schedule(ZoneInfo(zone), shop.NOW) for zone in shop.ZONES]
    with_policy = replace(batch, schedules=schedules, contact=contact)
    both = {"without": (plain, plain.scorer(snapshot), batch), "with": (ruled, ruled.scorer(snapshot), with_policy)}
    yield from _batches(both, read_s)
    yield from _singles(both)


def _campaign() -> CampaignFile:
    data = shop.campaign().model_dump(mode="json", by_alias=True)
    for channel in data["catalog"]["channels"]:
        channel["consent"] = f"{channel['id']}_marketing"
    return CampaignFile.model_validate({**data, "contact_policy": POLICY})


def _facts(rng: Generator) -> dict[str, Any]:
    """Touches of the last 40 days and the next 2, most of other campaigns, and most consents."""
    now_us = to_us(shop.NOW)
    touches = []
    for at_us in sorted(rng.integers(now_us - 40 * _DAY_US, now_us + 2 * _DAY_US, TOUCHES).tolist()):
        state = "planned" if at_us > now_us else _STATES[rng.integers(len(_STATES))]
        campaign, channel = ("speed", "other")[rng.integers(2)], ("email", "sms", "push", "chat")[rng.integers(4)]
        touches.append([at_us, state, campaign, channel, f"message_{rng.integers(6)}", None])
    consents = [f"{channel}_marketing" for channel in ("email", "sms", "push", "chat") if rng.random() < 0.8]  # noqa: PLR2004
    return {"consents": consents, "touches": touches}


def _batches(both: dict[str, tuple[Decider, Scorer, Batch]], read_s: float) -> Iterator[Figure]:
    def decide(decider: Decider, scorer: Scorer, batch: Batch, workers: int | None) -> int:
        decider.decide(batch, scorer, workers=workers)
        return len(batch)

    for where, workers in (("all cores", None), ("one core", 1)):
        measured = rates({name: partial(decide, *each, workers) for name, each in both.items()}, ROUNDS)
        yield Figure(
            f"{ROWS:,} customers, {where}: the time with against without",
            ratio(measured["without"], measured["with"]),
            "{:,.2f} x",
            3 if workers is None else None,
            at_most=True,
            note=f"{median(measured['with']):,.0f}/s against {median(measured['without']):,.0f}/s",
        )
    yield Figure("reading the logged facts of a customer", read_s / ROWS * 1e6, "{:,.1f} us")


def _singles(both: dict[str, tuple[Decider, Scorer, Batch]]) -> Iterator[Figure]:
    for name, (decider, scorer, batch) in both.items():
        singles = [
            replace(batch.rows(i, i + 1), schedules=[batch.schedules[s]], schedule_of=np.zeros(1, np.intp))
            for i, s in enumerate(batch.schedule_of[:SINGLE].tolist())
        ]
        for single in singles:
            decider.decide(single, scorer)
        times_us = []
        for single in singles:
            start = perf_counter()
            decider.decide(single, scorer)
            times_us.append((perf_counter() - start) * 1e6)
        yield Figure(f"one decision in process {name} the policy, median", median(times_us), "{:,.0f} us")
    for name, (decider, _, _) in both.items():
        times_us = []
        for i in range(SINGLE):
            start = perf_counter()
            decider.catalog.schedule(ZoneInfo(shop.ZONES[i % len(shop.ZONES)]), shop.NOW)
            times_us.append((perf_counter() - start) * 1e6)
        yield Figure(f"the schedule of a customer's zone {name} the policy, median", median(times_us), "{:,.1f} us")
