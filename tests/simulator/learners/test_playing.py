"""What a pass tells the learner, the other learners' own rules, and the factorial world step by step."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binom

from optimizer.campaign import CampaignFile
from optimizer.groups import Group
from simulator.learners import Bagging, DisjointLinUCB, EpsilonGreedy, Outcome, Taken, Turn, Uniform, play
from simulator.learners.factorial import FactorialRuns
from simulator.measured import Measured
from tests.simulator.factory import FACTORIAL, STARTS, rehearsed
from tests.simulator.learners.learned import SINGLE, drawn, people

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.choices import Batch
    from simulator.learners.interface import Bools, Floats

FALSE_ALARM = 1e-9
"""The chance that a statistical test here would fail, with another seed, without a defect."""


class Always(Uniform):
    """The arm 1, and remembers what it was told."""

    told: Taken

    def probabilities(self, batch: Batch, allowed: Bools) -> Floats:  # noqa: ARG002
        return np.eye(3)[np.ones(len(allowed), np.intp)]

    def learn(self, taken: Taken) -> None:
        self.told = taken


def outcome(seen: NDArray[np.bool_], arms: NDArray[np.intp]) -> Outcome:
    return Outcome(arms / 10.0, seen)


def test_a_learner_is_told_of_what_was_seen_and_the_control_is_drawn_uniformly() -> None:
    n = 6_000
    seen, control = np.arange(n) % 3 > 0, np.arange(n) % 2 > 0
    batch = people(SINGLE, n, 1)
    learner = Always(SINGLE)
    turn = Turn(batch, np.ones((n, 3), np.bool_), control, partial(outcome, seen))
    (told,) = play(learner, [turn], 1)
    assert learner.told is told
    assert told.batch.context["town"].tolist() == batch.context["town"][seen].tolist()
    treated = ~control[seen]
    assert (told.arms[treated] == 1).all()
    assert (told.propensities[treated] == 1.0).all()
    np.testing.assert_array_equal(told.propensities[~treated], 1.0 / 3.0)
    for count in np.bincount(told.arms[~treated], minlength=3).tolist():
        assert binom.cdf(count, 2_000, 1 / 3) > FALSE_ALARM
        assert binom.sf(count - 1, 2_000, 1 / 3) > FALSE_ALARM
    np.testing.assert_array_equal(told.rewards, told.arms / 10.0)


def test_epsilon_greedy_and_linucb_choose_by_mean_and_by_bound() -> None:
    taken = drawn(SINGLE, people(SINGLE, 40, 1), 1)
    batch = people(SINGLE, 30, 2)
    every = np.ones((30, 3), np.bool_)
    greedy, bold = EpsilonGreedy(SINGLE, epsilon=0.3), DisjointLinUCB(SINGLE, alpha=2.0)
    for learner in (greedy, bold):
        learner.learn(taken)
    x = greedy.encoder.apply(batch)
    mean, width = greedy.regression.mean(x), greedy.regression.width(x)
    p = greedy.probabilities(batch, every)
    np.testing.assert_allclose(p, 0.1 + 0.7 * np.eye(3)[mean.argmax(axis=1)])
    best = (mean + 2.0 * width).argmax(axis=1)
    assert bold.probabilities(batch, every).argmax(axis=1).tolist() == best.tolist()
    assert best.tolist() != mean.argmax(axis=1).tolist()


def test_bagging_is_the_vote_of_models_that_saw_each_decision_a_poisson_number_of_times() -> None:
    taken = drawn(SINGLE, people(SINGLE, 80, 1), 1)
    batch = people(SINGLE, 40, 2)
    learner = Bagging(SINGLE, seed=5, bags=3)
    learner.learn(taken)
    counts = np.random.default_rng(5).poisson(1.0, (80, 3))
    plain = EpsilonGreedy(SINGLE)
    x, asked = plain.encoder.learn(taken.batch), plain.encoder.apply(batch)
    votes = np.zeros((40, 3))
    for mine in counts.T:
        again = np.repeat(np.arange(80), mine)
        alone = EpsilonGreedy(SINGLE).regression
        alone.learn(x[again], taken.arms[again], taken.rewards[again])
        votes[np.arange(40), alone.mean(asked).argmax(axis=1)] += 1.0 / 3.0
    np.testing.assert_allclose(learner.probabilities(batch, np.ones((40, 3), np.bool_)), votes)


def test_the_factorial_runs_are_those_of_the_closed_loop() -> None:
    # 200 customers, two runs, arms drawn uniformly in both: the same people at the same instants, and states that are
    # worth the same, from chance and from the best arm, within 2%.
    uniformly = CampaignFile.model_validate(
        {**FACTORIAL.model_dump(mode="json", by_alias=True), "policy": {"kind": "uniform"}}
    )
    runs = FactorialRuns(uniformly, 200, 1)
    told = list(play(Uniform(uniformly), runs.turns(4), 1))
    loop = rehearsed(4, customers=200, campaign=uniformly)
    treated = loop.measured.where(loop.measured.group == Group.TREATMENT.value)
    mine = Measured.concatenate(runs.measured)
    assert len(mine) == len(treated)
    np.testing.assert_array_equal(np.unique(mine.decided_us), np.unique(treated.decided_us))
    for name in ("best", "uniform"):
        assert abs(getattr(mine, name).mean() / getattr(treated, name).mean() - 1.0) < 0.02
    assert len(told) == 2


def test_the_history_of_the_factorial_runs_is_what_was_sent() -> None:
    runs = FactorialRuns(FACTORIAL, 50, 1)
    arms_before: list[NDArray[np.intp]] = []
    for run, turn in enumerate(runs.turns(12)):
        history = turn.batch.history
        sends = np.array([arms != 120 for arms in arms_before]).reshape(run, len(turn.batch))
        # A touch goes out within 24 hours of its run, so the one of four runs ago may be more than seven days old.
        certain, possible = sends[-3:].sum(axis=0), sends[-4:].sum(axis=0)
        assert ((history["touches_7d"] >= certain) & (history["touches_7d"] <= possible)).all()
        assert (np.isnan(history["hours_since_last_touch"]) == ~sends.any(axis=0)).all()
        if run:
            last = sends[-1]
            hours = history["hours_since_last_touch"][last]
            assert ((hours > 24.0) & (hours <= 48.0)).all()
            messages = [FACTORIAL.catalog.messages[arm // 20].id for arm in arms_before[-1][last].tolist()]
            assert history["last_message"][last].tolist() == messages
            assert np.nanmin(history["hours_since_last_touch_on_channel"][last], axis=1).tolist() == hours.tolist()
            channels = [FACTORIAL.catalog.channels[arm // 5 % 4].id for arm in arms_before[-1][last].tolist()]
            assert history["last_channel"][last].tolist() == channels
        arms = np.random.default_rng(run).integers(0, 121, len(turn.batch))
        turn.outcome(arms)
        arms_before.append(arms)
    assert turn.batch.schedules[0].now_us == int((STARTS + timedelta(days=10, hours=6)).timestamp() * 1e6)
