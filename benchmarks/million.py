"""Decides for a million customers in one call and prints the largest memory that the process ever had, in bytes."""

from __future__ import annotations

import resource
import sys

import numpy as np

from benchmarks import shop
from optimizer.choices import Batch
from optimizer.decider import Decider

CUSTOMERS = 1_000_000
_PAGE = 50_000
_TRAINED = 1_000
_UNIT = 1 if sys.platform == "darwin" else 1024


def main() -> None:
    """Facts come in page by page, as from a store, and are decided on at once."""
    rng = np.random.default_rng(1)
    decider = Decider(shop.campaign())
    scorer = decider.scorer(shop.snapshot(shop.learned(decider, rng, _TRAINED), pairs=True))
    pages = [shop.batch(decider, rng, _PAGE) for _ in range(CUSTOMERS // _PAGE)]
    batch = Batch(
        words=np.concatenate([page.words for page in pages]),
        groups=np.concatenate([page.groups for page in pages]),
        context={name: np.concatenate([page.context[name] for page in pages]) for name in pages[0].context},
        history={},
        touches=np.concatenate([page.touches for page in pages]),
        schedules=pages[0].schedules,
        schedule_of=np.concatenate([page.schedule_of for page in pages]),
    )
    choices = decider.decide(batch, scorer, details=False)
    if len(choices.arm) != CUSTOMERS:
        raise AssertionError(f"{len(choices.arm):,} decisions for {CUSTOMERS:,} customers")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT)


if __name__ == "__main__":
    main()
