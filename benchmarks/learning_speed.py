"""How fast the learner learns, encoding included, against Vowpal Wabbit learning whole examples with all arms."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import peer, shop
from benchmarks.figures import Figure, rates, ratio
from optimizer.decider import Decider
from optimizer.learner import Learner

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "Learning: 120 arms, 22 context features, encoding included; against Workspace.learn with --cb_explore_adf"
ROUNDS = 7
ROWS = 2_000
PEER_ROWS = 250


def figures() -> Iterator[Figure]:
    """Ratios of the plain model alone and of the pool of four, each against the peer with the plain model."""
    rng = np.random.default_rng(1)
    decider = Decider(shop.campaign())
    space = decider.space
    context = shop.columns(rng, ROWS)
    first = space.encode({name: column[:PEER_ROWS] for name, column in context.items()}, {}, PEER_ROWS)
    examples = peer.lessons(decider, first, shop.Drawn.at_random(decider, rng, first), pairs=False)
    workspace = peer.workspace(f"--cb_explore_adf --cb_type mtr {peer.same_model(space, pairs=False)}")
    drawn = shop.Drawn.at_random(decider, rng, space.encode(context, {}, ROWS))
    pool, alone = Learner(space, "one"), Learner(space, "one")
    alone.members = alone.members[:1]

    def learn(learner: Learner) -> int:
        encoded = space.encode(context, {}, ROWS)
        learner.learn(drawn.lessons(decider, encoded))
        return ROWS

    def learn_whole() -> int:
        for example in examples:
            workspace.learn(example)
        return PEER_ROWS

    measured = rates({"one": partial(learn, alone), "pool": partial(learn, pool), "peer": learn_whole}, ROUNDS)
    per_s = {name: f"{median(each):,.0f}/s" for name, each in measured.items()}
    for name, what, target in (("one", "one model", 10), ("pool", f"the pool of {len(pool.members)}", 3)):
        yield Figure(
            what,
            ratio(measured[name], measured["peer"]),
            "{:,.1f} x",
            target,
            note=f"{per_s[name]} against {per_s['peer']}",
        )
