"""What every learner keeps, of whatever kind: all that a module of the package defines."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import replace
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import numpy as np
import pytest

import simulator.learners
from simulator.learners import Learner, Outcome, Turn, Uniform, play
from simulator.learners.linear import Linear
from simulator.learners.linucb import LinUCB
from simulator.learners.playing import picked
from tests.simulator.learners.learned import SEVERAL, SINGLE, drawn, liked, people

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optimizer.campaign import CampaignFile
    from optimizer.choices import Batch

BASES = (Learner, Linear, LinUCB)


def found() -> Iterator[type]:
    for module in iter_modules(simulator.learners.__path__, f"{simulator.learners.__name__}."):
        for _, each in inspect.getmembers(import_module(module.name), inspect.isclass):
            if each.__module__ == module.name and each not in BASES and hasattr(each, "probabilities"):
                yield each


LEARNERS = sorted(found(), key=lambda each: each.__name__)
every = pytest.mark.parametrize("make", LEARNERS)
campaigns = pytest.mark.parametrize("campaign", [SINGLE, SEVERAL], ids=["one dimension", "two dimensions"])


def test_all_public_learners_are_found() -> None:
    public = {getattr(simulator.learners, name) for name in simulator.learners.__all__}
    assert set(LEARNERS) == {each for each in public if hasattr(each, "probabilities")} - {Learner}


def mostly(n: int, k: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Most arms are allowed, some row allows one only, and some none."""
    allowed = np.random.default_rng(seed).random((n, k)) < 0.7
    allowed[0] = False
    allowed[1] = np.arange(k) == k - 1
    return allowed


@every
@campaigns
def test_distributions_sum_to_one_over_the_candidates_and_are_nothing_elsewhere(
    make: Callable[[CampaignFile], Learner], campaign: CampaignFile
) -> None:
    learner = make(campaign)
    batch = people(campaign, 50, 1)
    for step in range(3):
        taken = drawn(campaign, people(campaign, 80, step), step)
        allowed = mostly(50, taken.allowed.shape[1], step)
        p = learner.probabilities(batch, allowed)
        assert p.shape == allowed.shape
        assert (p >= 0.0).all()
        assert (p[~allowed] == 0.0).all()
        np.testing.assert_allclose(p.sum(axis=1), allowed.any(axis=1), atol=1e-12)
        learner.learn(taken)


@every
@campaigns
def test_a_customers_distribution_does_not_depend_on_who_else_is_asked_about(
    make: Callable[[CampaignFile], Learner], campaign: CampaignFile
) -> None:
    learner = make(campaign)
    learner.learn(drawn(campaign, people(campaign, 120, 1), 1))
    batch = people(campaign, 30, 2)
    allowed = mostly(30, len(drawn(campaign, batch, 2).allowed[0]), 3)
    whole = learner.probabilities(batch, allowed)
    apart = [learner.probabilities(picked(batch, np.array([i])), allowed[i : i + 1])[0] for i in range(30)]
    np.testing.assert_allclose(whole, apart, atol=1e-9)


@every
def test_asking_changes_nothing(make: Callable[[CampaignFile], Learner]) -> None:
    asked, left = make(SEVERAL), make(SEVERAL)
    batch = people(SEVERAL, 20, 1, towns=9)
    for step in range(3):
        taken = drawn(SEVERAL, people(SEVERAL, 60, step), step)
        for _ in range(3):
            asked.probabilities(batch, np.ones((20, taken.allowed.shape[1]), np.bool_))
        asked.learn(taken)
        left.learn(taken)
    allowed = np.ones((20, 7), np.bool_)
    np.testing.assert_array_equal(asked.probabilities(batch, allowed), left.probabilities(batch, allowed))


@every
@campaigns
def test_the_same_seed_makes_the_same_pass_and_a_pickle_goes_on_where_it_stood(
    make: Callable[[CampaignFile], Learner], campaign: CampaignFile
) -> None:
    one, other = make(campaign), make(campaign)
    for step in range(4):
        batch = people(campaign, 40, step)
        taken = drawn(campaign, batch, step)
        np.testing.assert_array_equal(
            one.probabilities(batch, taken.allowed), other.probabilities(batch, taken.allowed)
        )
        one.learn(taken)
        other.learn(taken)
        other = pickle.loads(pickle.dumps(other))  # noqa: S301 -- our own


@every
def test_features_may_appear_and_vanish(make: Callable[[CampaignFile], Learner]) -> None:
    learner = make(SEVERAL)
    for step, towns in enumerate((1, 6, 2, 12)):
        batch = people(SEVERAL, 60, step, towns)
        if step == 2:
            batch = replace(batch, context={name: batch.context[name] for name in ("x0", "town")})
        if step == 3:
            batch.context["x1"][:] = np.nan
        taken = drawn(SEVERAL, batch, step)
        learner.learn(taken)
        for strange in (people(SEVERAL, 10, step, 40), replace(batch, context={})):
            p = learner.probabilities(strange, np.ones((len(strange), 7), np.bool_))
            np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-12)


@every
def test_a_lesson_without_decisions_teaches_nothing(make: Callable[[CampaignFile], Learner]) -> None:
    learner, batch = make(SINGLE), people(SINGLE, 10, 1)
    taken = drawn(SINGLE, people(SINGLE, 0, 1), 1)
    learner.learn(taken)
    np.testing.assert_allclose(learner.probabilities(batch, np.ones((10, 3), np.bool_)), 1.0 / 3.0)


@every
@campaigns
def test_decisions_may_be_told_one_by_one(make: Callable[[CampaignFile], Learner], campaign: CampaignFile) -> None:
    learner = make(campaign)
    for seed in range(12):
        taken = drawn(campaign, people(campaign, 1, seed), seed)
        learner.learn(taken)
        p = learner.probabilities(taken.batch, taken.allowed)
        np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("make", [each for each in LEARNERS if each is not Uniform])
@campaigns
def test_an_easy_problem_is_learned(make: Callable[[CampaignFile], Learner], campaign: CampaignFile) -> None:
    # Two arms are right for half of the people each; whoever learns is right more often than chance, 1/3 or 1/7.
    def turns() -> Iterator[Turn]:
        for step in range(20):
            batch = people(campaign, 100, step)
            every_arm = drawn(campaign, batch, step).allowed
            yield Turn(batch, every_arm, np.zeros(100, np.bool_), partial(hits, batch))

    def hits(batch: Batch, arms: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Outcome:
        return Outcome((arms == liked(batch)).astype(np.float64), np.ones(len(arms), np.bool_))

    right = [taken.rewards.mean() for taken in play(make(campaign), turns(), 1)]
    assert np.mean(right[-5:]) > 0.75
