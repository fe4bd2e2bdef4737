"""How fast all arms of a batch of customers are scored, against Vowpal Wabbit's predictions of the same model."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import peer, shop
from benchmarks.figures import Figure, rates, ratio
from optimizer.decider import CHUNK, Decider
from optimizer.learner import Learner

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "Batch scoring: 120 arms, 22 context features, one thread; against Workspace.predict with --cb_explore_adf"
ROUNDS = 9
ROWS = 50 * CHUNK
PEER_ROWS = 250
TRAINED = 1_000
LAMBDA = 5.0
POLICY = f"--cb_explore_adf --cb_type mtr --softmax --lambda {LAMBDA}"
LARGEST_DIFFERENCE = 1e-5


def figures() -> Iterator[Figure]:
    """Ratios with and without encoding, of the model without and with pairs."""
    for pairs in (False, True):
        yield from _figures(pairs=pairs)


def _figures(*, pairs: bool) -> Iterator[Figure]:
    rng = np.random.default_rng(1)
    decider = Decider(shop.campaign(importance="mtr"))
    space = decider.space
    schedule = shop.schedule(decider)
    arms = peer.arm_lines(decider, schedule)

    # The same decisions make the same model of both.
    learner = Learner(space, "mtr")
    workspace = peer.workspace(f"{POLICY} {peer.same_model(space, pairs=pairs)}")
    encoded = space.encode(shop.columns(rng, TRAINED), {}, TRAINED)
    drawn = shop.Drawn.at_random(decider, rng, encoded)
    learner.learn(drawn.lessons(decider, encoded))
    for example in peer.lessons(decider, encoded, drawn, pairs=pairs):
        workspace.learn(example)

    snapshot = shop.snapshot(learner, pairs=pairs)
    compiled = decider.scorer(snapshot).compiled(schedule.variants)
    context = shop.columns(rng, ROWS)
    chunks = [{name: column[at : at + CHUNK] for name, column in context.items()} for at in range(0, ROWS, CHUNK)]
    prepared = [compiled.encode(space.encode(chunk, {}, CHUNK)) for chunk in chunks]
    first = space.encode({name: column[:PEER_ROWS] for name, column in context.items()}, {}, PEER_ROWS)
    standardised = snapshot.standardiser.apply(first.numbers, space.number_of)
    examples = [peer.example(line, arms) for line in peer.shared_lines(space, first, standardised, pairs=pairs)]

    def from_columns() -> int:
        for chunk in chunks:
            compiled.scores(space.encode(chunk, {}, CHUNK))
        return ROWS

    def from_encoded() -> int:
        for dense, rows in prepared:
            compiled.from_encoded(dense, rows)
        return ROWS

    def predict() -> int:
        for example in examples:
            workspace.predict(example)
        return PEER_ROWS

    ours = compiled.scores(first)
    theirs = np.log([workspace.predict(example) for example in examples]) / LAMBDA
    gaps = [scores - scores[:, :1] for scores in (ours, theirs)]  # a softmax tells scores up to a constant
    difference = np.abs(gaps[0] - gaps[1]).max()
    measured = rates({"columns": from_columns, "encoded": from_encoded, "peer": predict}, ROUNDS)
    model = "with pairs" if pairs else "plain model"
    per_s = {name: f"{median(each):,.0f}/s" for name, each in measured.items()}
    yield Figure(
        f"{model}: from raw columns, encoding included",
        ratio(measured["columns"], measured["peer"]),
        "{:,.0f} x",
        500,
        note=f"{per_s['columns']} against {per_s['peer']}",
    )
    yield Figure(
        f"{model}: from encoded columns",
        ratio(measured["encoded"], measured["peer"]),
        "{:,.0f} x",
        1000,
        note=f"{per_s['encoded']} against {per_s['peer']}",
    )
    yield Figure(
        f"{model}: largest difference of the scores",
        float(difference),
        "{:.1e}",
        LARGEST_DIFFERENCE,
        at_most=True,
    )
