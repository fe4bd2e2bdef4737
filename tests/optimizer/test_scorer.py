from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from optimizer.catalog import Catalog
from optimizer.features import Encoded, FeatureSpace
from optimizer.learner import Learner
from optimizer.scorer import TILE, Scorer
from optimizer.snapshot import Snapshot
from tests.optimizer.kernel import (
    WORDS,
    campaign_of,
    campaigns,
    customers,
    example,
    grown,
    instants,
    log,
    options_of,
    partial_prediction,
    space_of,
    workspace,
    zones,
)

if TYPE_CHECKING:
    from datetime import datetime

    from optimizer.campaign import CampaignFile
    from optimizer.learner import AnyMember

TOLERANCE = 1e-5


def snapshot_of(learner: Learner, member: AnyMember) -> Snapshot:
    """What would be published if this member of the pool served, through the bytes that are stored."""
    return Snapshot.loads(learner.snapshot_of(member).dumps())


def scorer_of(snapshot: Snapshot, space: FeatureSpace) -> Scorer:
    return Scorer(snapshot, space, space.catalog.slot_of, space.catalog.channel_of)


def rows_of(encoded: Encoded, rows: list[int]) -> Encoded:
    return Encoded(encoded.numbers[rows], tuple([values[i] for i in rows] for values in encoded.levels))


@settings(max_examples=60)
@given(campaigns(), st.integers(0, 2**32), instants(), zones())
def test_the_scores_of_every_model_of_the_pool_are_vowpal_wabbits_own_predictions(
    campaign: CampaignFile, seed: int, now: datetime, zone: ZoneInfo
) -> None:
    """With categories that were never learned, and arms that were added since."""
    rng = np.random.default_rng(seed)
    learned = space_of(campaign)
    learner = Learner(learned, "one", second_order=False)
    learner.learn(log(rng, learned, 40).lessons(learned))

    next_version = grown(campaign)
    space = FeatureSpace(next_version, Catalog(next_version))
    people = customers(rng, 5, len(space.catalog.channels), WORDS)
    encoded = people.encoded(space)
    variants = space.catalog.schedule(zone, now).variants
    for member in learner.members:
        snapshot = snapshot_of(learner, member)
        scores = scorer_of(snapshot, space).scores(encoded, variants)
        assert scores.dtype == np.float32
        assert scores.shape == (5, len(space.catalog))
        link = " --link logistic" if member.loss == "logistic" else ""
        vw = workspace(options_of(member, space) + link, member.model.save())
        for row in range(5):
            for arm, slot in enumerate(space.catalog.slot_of.tolist()):
                variant = variants[slot] if slot >= 0 else None
                text = example(space, snapshot.standardiser, encoded, row, arm, variant, pairs=member.pairs)
                partial, predicted = partial_prediction(vw, text), vw.predict(text)
                if member.loss == "logistic":
                    assert scores[row, arm] == pytest.approx(predicted, abs=TOLERANCE)
                    assert scores[row, arm] == pytest.approx(expit(partial), abs=TOLERANCE)
                else:
                    assert scores[row, arm] == pytest.approx(-partial, abs=TOLERANCE * max(1.0, abs(partial)))
                    if -0.99 < predicted < -0.01:  # inside the range of the labels, which Vowpal Wabbit clips to
                        assert scores[row, arm] == pytest.approx(-predicted, abs=TOLERANCE)


def test_different_weekdays_and_days_ahead_give_the_scores_of_their_own_examples() -> None:
    campaign = campaign_of(channels=1, slots=2, features=("n0", "k0"))
    space = space_of(campaign)
    rng = np.random.default_rng(1)
    learner = Learner(space, "one", second_order=False)
    learner.learn(log(rng, space, 300).lessons(space))
    member = learner.members[0]
    snapshot = snapshot_of(learner, member)
    scorer, vw = scorer_of(snapshot, space), workspace(options_of(member, space), member.model.save())
    encoded = customers(rng, 1, 1).encoded(space)
    seen = set()
    for variants in ((("mon", 0), ("mon", 0)), (("tue", 1), ("mon", 0)), (("sun", 2), None), (("tue", 1), ("tue", 1))):
        scores = scorer.scores(encoded, variants)[0]
        for arm, slot in enumerate(space.catalog.slot_of.tolist()):
            variant = variants[slot] if slot >= 0 else None
            text = example(space, snapshot.standardiser, encoded, 0, arm, variant, pairs=False)
            assert scores[arm] == pytest.approx(-partial_prediction(vw, text), abs=TOLERANCE)
        seen.add(tuple(scores.tolist()))
    assert len(seen) == 4


@settings(max_examples=40)
@given(campaigns(), st.integers(0, 2**32), st.integers(1, 3 * TILE), instants())
def test_a_batch_of_one_and_of_many_agree_to_the_last_bit(
    campaign: CampaignFile, seed: int, n: int, now: datetime
) -> None:
    rng = np.random.default_rng(seed)
    space = space_of(campaign)
    learner = Learner(space, "one", second_order=bool(seed % 2))
    learner.learn(log(rng, space, 30).lessons(space))
    encoded = customers(rng, n, len(space.catalog.channels), WORDS).encoded(space)
    variants = space.catalog.schedule(ZoneInfo("UTC"), now).variants
    for member in learner.models:
        snapshot = snapshot_of(learner, member)
        together = scorer_of(snapshot, space).scores(encoded, variants)
        scorer = scorer_of(snapshot, space)
        order = rng.permutation(n).tolist()
        parts = [order[i : i + size] for size in (1, 7) for i in range(0, min(n, 40), size)]
        for rows in parts:
            assert (scorer.scores(rows_of(encoded, rows), variants) == together[rows]).all()


def test_large_catalogs_agree_to_the_last_bit_too() -> None:
    campaign = campaign_of(
        messages=7, channels=4, slots=5, features=("n0", "n1", "n2", "hours_since_last_touch_on_channel", "k0", "k1")
    )
    space = space_of(campaign)
    rng = np.random.default_rng(2)
    learner = Learner(space, "one")
    learner.learn(log(rng, space, 500).lessons(space))
    scorer = scorer_of(learner.snapshot(), space)
    encoded = customers(rng, 1000, 4).encoded(space)
    variants = (("mon", 0),) * 5
    together = scorer.scores(encoded, variants)
    for i in range(0, 1000, 13):
        assert (scorer.scores(rows_of(encoded, [i]), variants)[0] == together[i]).all()


def test_nobody_has_no_scores() -> None:
    space = space_of(campaign_of(features=("n0", "k0")))
    scorer = scorer_of(Learner(space, "one").snapshot(), space)
    assert scorer.scores(customers(np.random.default_rng(0), 0, 0).encoded(space), ()).shape == (0, 3)


def test_a_model_that_has_learned_nothing_tells_no_arms_apart() -> None:
    space = space_of(campaign_of(features=("n0", "k0", "k1")))
    scorer = scorer_of(Learner(space, "one").snapshot(), space)
    assert not scorer.scores(customers(np.random.default_rng(0), 9, 0).encoded(space), ()).any()


def test_tables_that_are_started_anew_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    space = space_of(campaign_of(features=("k0",)))
    rng = np.random.default_rng(3)
    learner = Learner(space, "one")
    learner.learn(log(rng, space, 50).lessons(space))
    small, large = (scorer_of(learner.snapshot(), space) for _ in range(2))
    for start in range(0, 300, 30):
        values = [f"new-{i}" for i in range(start, start + 30)]
        encoded = Encoded(np.zeros((30, 0)), (values,))
        monkeypatch.setattr("optimizer.scorer._ROWS_LIMIT", 50)
        limited = small.scores(encoded, ())
        monkeypatch.setattr("optimizer.scorer._ROWS_LIMIT", 10_000)
        assert (limited == large.scores(encoded, ())).all()
