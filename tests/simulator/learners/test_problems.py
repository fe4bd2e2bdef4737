"""The learners on real data, small: against MABWiser on the same rows, and against chance."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from mabwiser.mab import MAB, LearningPolicy

from benchmarks import data, problems
from simulator.learners import DisjointLinUCB, EpsilonGreedy, Uniform, play
from simulator.learners.encoding import Encoder

EVERY = 100


def there(name: str) -> bool:
    try:
        return data.shared(name).exists()
    except FileNotFoundError:
        return False


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not there(name), reason=f"{name} is not there: set SHARED_DATA to the folder that has it")


@needs("multiclass/penbased.csv.gz")
def test_a_pass_of_linucb_over_penbased_is_that_of_mabwiser() -> None:
    stream = problems.multiclass("penbased", 1)
    ours = DisjointLinUCB(stream.campaign, alpha=0.3)
    theirs = MAB(list(range(10)), LearningPolicy.LinUCB(alpha=0.3, l2_lambda=17.0))
    encoder = Encoder(stream.campaign, pairs=False)
    hits = []
    for turn, taken in enumerate(play(ours, islice(stream.turns(EVERY), 15), 1)):
        if turn:
            assert taken.arms.tolist() == theirs.predict(encoder.apply(taken.batch))
            assert (taken.propensities == 1.0).all()
        theirs.partial_fit(taken.arms, taken.rewards, encoder.learn(taken.batch))
        hits.append(taken.rewards.mean())
    assert hits[0] < 0.3
    assert np.mean(hits[-5:]) > 0.6


@needs("hillstrom.csv.gz")
def test_replay_of_hillstrom_sees_a_third_and_a_uniform_draw_earns_what_the_log_did() -> None:
    # Of 21,000 rows each is seen with probability 1/3: 7,000 +- 68; the visits are .1467 +- .0042; 5 deviations each.
    stream = problems.hillstrom(1)
    rewards = np.concatenate(
        [taken.rewards for taken in play(Uniform(stream.campaign), islice(stream.turns(1_000), 21), 1)]
    )
    assert abs(len(rewards) - 7_000) < 5 * 68
    assert abs(rewards.mean() - 0.1467) < 5 * 0.0042


def test_with_pairs_of_categories_the_tutorial_is_learned_but_for_exploring() -> None:
    # Of two users and two times each pair is a column beside the four single ones and the constant. Who knows the best
    # article earns 1 - .05 x 6/7 = .957 with epsilon .05; over 1,000 decisions the deviation is .0064.
    stream = problems.tutorial(1, n=2_000)
    learner = EpsilonGreedy(stream.campaign, pairs=True, epsilon=0.05)
    told = list(play(learner, stream.turns(EVERY), 1))
    assert learner.encoder.width == 1 + 4 + 4
    assert Encoder(stream.campaign, pairs=False).learn(told[0].batch).shape[1] == 1 + 4
    assert abs(np.mean([taken.rewards.mean() for taken in told[-10:]]) - 0.957) < 5 * 0.0064
