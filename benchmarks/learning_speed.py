"""How fast the learner learns, encoding included, against Vowpal Wabbit learning whole examples with all arms."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import peer, shop
from benchmarks.figures import Figure, rates, ratio
from benchmarks.problems import campaign as messages_only
from optimizer.decider import Decider
from optimizer.learner import Learner
from optimizer.lessons import Lessons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TITLE = "Learning: 120 arms, 22 context features, encoding included; against Workspace.learn with --cb_explore_adf"
ROUNDS = 7
ROWS = 2_000
PEER_ROWS = 250
MESSAGE_ROWS = 20_000


def figures() -> Iterator[Figure]:
    """Ratios of one of Vowpal Wabbit's models alone and of the pool, each against the peer with the plain model.

    Then the pool where an arm is a message alone.
    """
    rng = np.random.default_rng(1)
    decider = Decider(shop.campaign())
    space = decider.space
    context = shop.columns(rng, ROWS)
    first = space.encode({name: column[:PEER_ROWS] for name, column in context.items()}, {}, PEER_ROWS)
    examples = peer.lessons(decider, first, shop.Drawn.at_random(decider, rng, first), pairs=False)
    workspace = peer.workspace(f"--cb_explore_adf --cb_type mtr {peer.same_model(space, pairs=False)}")
    drawn = shop.Drawn.at_random(decider, rng, space.encode(context, {}, ROWS))
    pool, alone = Learner(space, "one"), Learner(space, "one", second_order=False)
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
    for name, what, target in (("one", "one of Vowpal Wabbit's models", 10), ("pool", "the pool", 3)):
        yield Figure(
            what,
            ratio(measured[name], measured["peer"]),
            "{:,.1f} x",
            target,
            note=f"{per_s[name]} against {per_s['peer']}",
        )
    measured = rates({"messages": _messages(rng)}, ROUNDS)
    yield Figure("the pool, 40 messages and 30 numbers: lessons/s", median(measured["messages"]), "{:,.0f}")


def _messages(rng: np.random.Generator) -> Callable[[], int]:
    features = [{"name": f"number_{i}", "type": "number"} for i in range(30)]
    decider = Decider(messages_only(features, [f"message_{i}" for i in range(40)]))
    space, learner = decider.space, Learner(decider.space, "one")
    context = {feature["name"]: rng.normal(size=MESSAGE_ROWS) for feature in features}
    arms = rng.integers(0, 40, MESSAGE_ROWS)
    rewards = rng.integers(0, 2, MESSAGE_ROWS).astype(np.float64)

    def learn() -> int:
        encoded = space.encode(context, {}, MESSAGE_ROWS)
        kept = {"propensities": np.full(MESSAGE_ROWS, 1 / 40), "candidates": np.full(MESSAGE_ROWS, 40)}
        learner.learn(Lessons.of(space, encoded, arms, [None] * MESSAGE_ROWS, rewards=rewards, **kept))
        return MESSAGE_ROWS

    return learn
