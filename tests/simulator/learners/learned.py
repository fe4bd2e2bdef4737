"""Campaigns, customers and decisions for the tests of learners."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from optimizer.campaign import CampaignFile
from optimizer.decider import Decider
from simulator.learners import Taken
from simulator.learners.playing import customers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.choices import Batch

NOW: Final = datetime(2026, 1, 5, 12, tzinfo=UTC)
NUMBERS: Final = ("x0", "x1", "x2")


def campaign(messages: int = 3, channels: int = 0) -> CampaignFile:
    """Three numbers and two categories; with channels there are arms that share something, and a no_send."""
    catalog: dict[str, Any] = {"messages": [{"id": f"m{i}"} for i in range(messages)], "no_send": bool(channels)}
    if channels:
        catalog["channels"] = [{"id": f"c{i}", "cost": 0.0} for i in range(channels)]
        creatives = {f"c{i}": {"template": "t", "version": 1} for i in range(channels)}
        catalog["messages"] = [{**message, "creatives": creatives} for message in catalog["messages"]]
    features = [
        *({"name": name, "type": "number"} for name in NUMBERS),
        *({"name": name, "type": "category"} for name in ("town", "plan")),
    ]
    return CampaignFile.model_validate(
        {
            "version": 1,
            "campaign": {"id": "c", "name": "c", "starts_at": "2026-01-01T00:00:00Z"},
            "features": [{"bucket": "customer", **feature} for feature in features],
            "catalog": catalog,
            "reward": {"events": [{"name": "hit", "value": 1, "window": "1h"}]},
        }
    )


SINGLE: Final = campaign()
SEVERAL: Final = campaign(channels=2)


def people(made: CampaignFile, n: int, seed: int, towns: int = 2) -> Batch:
    """Customers of so many towns."""
    rng = np.random.default_rng(seed)
    context: dict[str, NDArray[Any]] = {name: rng.normal(size=n) for name in NUMBERS}
    context["town"] = np.array([f"t{i}" for i in rng.integers(0, towns, n)], object)
    context["plan"] = np.array([f"p{i}" for i in rng.integers(0, 2, n)], object)
    return customers(context, n, [Decider(made).catalog.schedule(None, NOW)])


def drawn(made: CampaignFile, batch: Batch, seed: int) -> Taken:
    """Uniformly drawn arms, and rewards of 1 where `liked` is the arm, mostly."""
    rng = np.random.default_rng([seed, 1])
    n, k = len(batch), len(Decider(made).catalog)
    arms = rng.integers(0, k, n)
    right = rng.random(n) < np.where(arms == liked(batch), 0.9, 0.1)
    return Taken(batch, np.ones((n, k), np.bool_), arms, np.full(n, 1.0 / k), right.astype(np.float64))


def liked(batch: Batch) -> NDArray[np.intp]:
    """The first arm by those whose first number is positive, else the second."""
    return np.where(batch.context["x0"] > 0.0, 0, 1)
