"""A log of uniformly random decisions in the factorial world, made at once rather than by running a campaign.

Each decision finds a random one of the people with a random history of uniformly random arms, as `uniform_histories`
draws them: the states over which the buckets' true shares are defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.evaluation.log import Log
from simulator.worlds.effects import CHANNELS
from simulator.worlds.states import uniform_histories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.worlds.factorial import FactorialWorld

CHUNK: Final = 20_000


def uniform_log(world: FactorialWorld, decisions: int, seed: int) -> Iterator[Log]:
    """So many decisions in chunks; every chunk its own random numbers, so that a longer log begins as a shorter one."""
    for start in range(0, decisions, CHUNK):
        n = min(CHUNK, decisions - start)
        rng = np.random.default_rng([seed, start])
        people = rng.integers(0, len(world.population), n)
        history = uniform_histories(n, rng)
        arms = rng.integers(0, len(world.arms), n)
        probability = world.expected(people, history)[np.arange(n), arms]
        last = history["hours_since_last_touch_on_channel"]
        yield Log(
            arms=world.arm_ids,
            chosen=arms,
            propensity=np.full(n, 1.0 / len(world.arms)),
            reward=(rng.random(n) < probability).astype(np.float64),
            customer=people.astype(np.uint64),
            context={name: column[people] for name, column in world.population.columns.items()},
            history={name: column for name, column in history.items() if column.ndim == 1}
            | {f"hours_since_last_touch_on_channel.{each}": last[:, i] for i, each in enumerate(CHANNELS)},
        )
