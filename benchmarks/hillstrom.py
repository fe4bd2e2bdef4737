"""Hillstrom's e-mail test replayed through the whole engine, beside Vowpal Wabbit's own SquareCB on the same orders."""

from __future__ import annotations

from math import sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import data, parallel, peer
from benchmarks.figures import Figure
from optimizer.attributes import Attributes, to_columns
from optimizer.config import load_attributes, load_campaign, load_file
from optimizer.decider import Decider
from optimizer.exploration import draw
from optimizer.features import Encoded
from optimizer.standardisation import Standardiser
from simulator.estimates import Mean
from simulator.logs.mapping import LogFormat
from simulator.replay import Replay
from simulator.worlds.logged import LoggedWorld

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from optimizer.campaign import CampaignFile

TITLE = "Hillstrom: 64,000 real customers in 10 random orders, exploration included, published every 100 customers"
ORDERS = 10
PUBLISH_EVERY = 100
LOG = "hillstrom.csv.gz"
OUTCOME = "visited"
PEER = "--cb_explore_adf --squarecb"
_T_95 = 2.262
"""Student's t with 9 degrees of freedom: the 95% interval of a mean over 10 orders."""


def figures() -> Iterator[Figure]:
    """The mean visit rate of both."""
    data.shared(LOG)
    yield _figure("visit rate, the whole engine with its defaults", list(parallel.each(ours, range(ORDERS))), 0.178)
    yield _figure(f"visit rate, Vowpal Wabbit's own {PEER}", list(parallel.each(theirs, range(ORDERS))), None)


def ours(order: int) -> Mean:
    """Visits of the customers whose logged arm the engine chose."""
    campaign, attributes, world = _setting()
    replay = Replay(campaign, attributes, world, seed=order, publish_every=PUBLISH_EVERY)
    for _ in replay.run():
        pass
    visited = replay.learned().outcomes[OUTCOME]
    replay.close()
    return visited


def theirs(order: int) -> Mean:
    """The same by Vowpal Wabbit alone: it predicts with what was published last, and learns what matches the log.

    It gets our features, standardised as ours are, and their crosses with the arm; everything else is its default, also
    what our models leave out: a constant and terms of the context alone. Without these its SquareCB is hardly better
    than chance here.
    """
    campaign, attributes, world = _setting()
    decider = Decider(campaign)
    space = decider.space
    arms = peer.arm_lines(decider, decider.catalog.schedule(None, campaign.campaign.starts_at))
    index = decider.catalog.index
    options = " ".join([PEER, *(f"-q {context}{arm}" for context, each in space.crosses.items() for arm in each)])
    learning, statistics = peer.workspace(options), Standardiser(len(space.numbers))
    rng = np.random.default_rng([order, 1])
    rows, visits = list(world.shuffled(order)), []
    for start in range(0, len(rows), PUBLISH_EVERY):
        step = rows[start : start + PUBLISH_EVERY]
        published = peer.copy_of(learning, options)
        encoded = space.encode(to_columns([row.attributes for row in step], attributes.types), {}, len(step))
        standardised = statistics.apply(encoded.numbers, space.number_of)
        lines = peer.shared_lines(space, encoded, standardised, pairs=False)
        chances = np.array([published.predict(peer.example(line, arms)) for line in lines])
        drawn, propensities = draw(chances / chances.sum(axis=1, keepdims=True), rng.random(len(step)))
        logged = np.array([index[row.arm_id] for row in step])
        matched = np.flatnonzero(drawn == logged)
        rewards = np.array([row.outcomes[OUTCOME] for row in step])
        seen = Encoded(encoded.numbers[matched], tuple([each[i] for i in matched.tolist()] for each in encoded.levels))
        lines = peer.shared_lines(space, seen, statistics.learn(seen.numbers), pairs=False)
        for i, line in zip(matched.tolist(), lines, strict=True):
            learning.learn(peer.labelled(line, arms, int(drawn[i]), rewards[i], propensities[i]))
        visits.append(rewards[matched])
    return Mean.of(np.concatenate(visits))


def _setting() -> tuple[CampaignFile, Attributes, LoggedWorld]:
    attributes = load_attributes(data.CONFIGS / "attributes.yaml")
    campaign = load_campaign(data.CONFIGS / "hillstrom.yaml", attributes)
    layout = load_file(data.CONFIGS / "worlds" / "hillstrom.yaml", LogFormat)
    return campaign, attributes, LoggedWorld.read(data.shared(LOG), layout)


def _figure(what: str, orders: Sequence[Mean], target: float | None) -> Figure:
    rates = [order.mean for order in orders if order.mean is not None]
    half = _T_95 * stdev(rates) / sqrt(len(rates))
    matched = fmean(order.n for order in orders)
    note = f"+- {half:.4f} over the orders; the first alone {orders[0].text(4)}; {matched:,.0f} matched on average"
    return Figure(what, fmean(rates), "{:.4f}", target, note=note)
