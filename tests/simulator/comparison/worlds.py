"""A log whose truth is known, and a reader of logs in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optimizer.campaign import CampaignFile
from optimizer.evaluation.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from simulator.logs.reading import Intake

ARMS = ("a", "b", "no_send")
RATES = np.array([[0.50, 0.20, 0.10], [0.15, 0.45, 0.10]])
"""What each arm earns with each of two kinds of customers, who are equally many."""

SIDES = CampaignFile.model_validate(
    {
        "version": 1,
        "campaign": {"id": "sides", "name": "sides", "starts_at": "2026-01-01T00:00:00Z"},
        "features": [{"name": "side", "bucket": "customer", "type": "category"}],
        "catalog": {"messages": [{"id": "a"}, {"id": "b"}], "no_send": True},
        "reward": {"events": [{"name": "hit", "value": 1, "window": "1h"}]},
    }
)


def changed(**parts: object) -> CampaignFile:
    """The campaign with other parts."""
    return CampaignFile.model_validate({**SIDES.model_dump(mode="json", by_alias=True), **parts})


def truth(p: NDArray[np.float64]) -> float:
    """The value of a policy with these probabilities (2, 3) for the two kinds."""
    return float((RATES * p).sum(axis=1).mean())


def two_sides(n: int, seed: int = 0, *, each: int = 1) -> Log:
    """Decisions for both kinds of customers, `each` a customer, by a policy that prefers what is worse."""
    rng = np.random.default_rng(seed)
    customer = np.repeat(np.arange(-(-n // each), dtype=np.uint64), each)[:n]
    kind = rng.integers(0, 2, len(customer))[customer.astype(np.intp)]
    p = np.array([[0.2, 0.5, 0.3], [0.5, 0.2, 0.3]])[kind]
    chosen = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    return Log(
        arms=ARMS,
        chosen=chosen,
        propensity=p[np.arange(n), chosen],
        reward=(rng.random(n) < RATES[kind, chosen]).astype(np.float64),
        distribution=p,
        customer=customer if each > 1 else None,
        context={"side": np.array(["left", "right"], object)[kind]},
    )


@dataclass(frozen=True)
class Memory:
    """A log in memory, in chunks of some rows."""

    log: Log
    size: int = 50_000

    def chunks(self, intake: Intake) -> Iterator[Log]:
        for start in range(0, len(self.log), self.size):
            part = self.log.take(slice(start, start + self.size))
            intake.taken += len(part)
            yield part
