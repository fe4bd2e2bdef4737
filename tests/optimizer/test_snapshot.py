from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.learner import Learner
from optimizer.snapshot import Snapshot, pack, unpack
from tests.optimizer.kernel import campaign_of, campaigns, log, space_of

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile

CAMPAIGN = campaign_of(channels=1, features=("n0", "n1", "k0", "k1", "mc"))


@settings(max_examples=25)
@given(campaigns(), st.integers(0, 2**32))
def test_a_snapshot_survives_its_bytes(campaign: CampaignFile, seed: int) -> None:
    space = space_of(campaign)
    learner = Learner(space, "one")
    learner.learn(log(np.random.default_rng(seed), space, 20).lessons(space))
    snapshot = learner.snapshot()
    data = snapshot.dumps()
    again = Snapshot.loads(data)
    assert again.dumps() == data
    assert (again.weights == snapshot.weights).all()
    assert again.standardiser.state() == snapshot.standardiser.state()
    for name in ("loss", "pairs", "vocabulary", "events", "sigma", "gamma"):
        assert getattr(again, name) == getattr(snapshot, name)


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_what_is_learned_later_does_not_change_a_published_snapshot(seed: int) -> None:
    space = space_of(CAMPAIGN)
    learner = Learner(space, "one")
    past = log(np.random.default_rng(seed), space, 30)
    learner.learn(past.lessons(space, 0, 15))
    snapshot = learner.snapshot()
    before = snapshot.dumps()
    learner.learn(past.lessons(space, 15))
    assert snapshot.dumps() == before
    assert learner.snapshot().dumps() != before


@given(st.dictionaries(st.text("abc.-", min_size=1), st.binary()))
def test_packed_parts_come_back_and_equal_parts_make_equal_bytes(files: dict[str, bytes]) -> None:
    assert unpack(pack(files)) == files
    assert pack(files) == pack(dict(files))


def test_gamma_is_zero_while_no_reward_but_zero_was_seen() -> None:
    snapshot = Learner(space_of(CAMPAIGN), "one").snapshot()
    assert snapshot.gamma == 0.0
    assert replace(snapshot, events=81, sigma=0.5).gamma == pytest.approx(54.0)
