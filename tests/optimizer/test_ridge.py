from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest.mock import patch
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as Reference
from threadpoolctl import threadpool_limits

from optimizer.learner import Learner, RidgeMember
from optimizer.ridge import LAMBDAS, block_end
from optimizer.scorer import Scorer
from optimizer.standardisation import Standardiser
from optimizer.vw import cross, feature_hash
from tests.optimizer.kernel import WORDS, campaign_of, campaigns, customers, example, log, space_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from optimizer.campaign import CampaignFile
    from optimizer.features import FeatureSpace
    from tests.optimizer.kernel import Log

N = 40
SOLVED_AT = (0, 16, 32)
"""The ends of blocks at which the coefficients are solved for that predict what follows."""
seeds = st.integers(0, 2**32)


def row(space: FeatureSpace, text: str) -> dict[int, float]:
    """The features of an example in Vowpal Wabbit's text format, crosses included: index in its table and value."""
    found: dict[str, list[tuple[int, float]]] = {}
    for part in text.split(" |")[1:]:
        namespace, *words = part.split(" ")
        for word in words:
            if word:
                name, _, value = word.partition(":")
                found.setdefault(namespace, []).append((feature_hash(namespace, name), float(value or 1.0)))
    x: dict[int, float] = {}
    for namespace, features in found.items():
        for index, x_i in features:
            if namespace.islower():
                x[index] = x.get(index, 0.0) + x_i
            for second, times in [each for other in space.crosses.get(namespace, ()) for each in found.get(other, ())]:
                crossed = int(cross(np.array([index], np.uint64), np.array([second], np.uint64))[0, 0])
                x[crossed] = x.get(crossed, 0.0) + x_i * times
    return x


@dataclass(frozen=True)
class Examples:
    """The examples of a log, each standardised by what came before it and itself."""

    index: NDArray[np.intp]
    x: NDArray[np.float64]
    rewards: NDArray[np.float64]

    @classmethod
    def of(cls, space: FeatureSpace, past: Log, *, pairs: bool) -> Examples:
        """All of a log."""
        encoded = past.people.encoded(space)
        medians = [i for i, f in enumerate(space.numbers) if f.missing == "median"]
        standardiser = Standardiser(len(space.numbers), medians)
        rows = []
        for i, (arm, variant) in enumerate(zip(past.arms.tolist(), past.variants, strict=True)):
            one = type(encoded)(encoded.numbers[[i]], tuple(values[i : i + 1] for values in encoded.levels))
            standardiser.learn(space.chosen(one, space.catalog.channel_of[[arm]]))
            rows.append(row(space, example(space, standardiser, encoded, i, arm, variant, pairs=pairs)))
        index = np.array(sorted({feature for each in rows for feature in each}), np.intp)
        return cls(index, np.array([[each.get(i, 0.0) for i in index.tolist()] for each in rows]), past.rewards)

    def fitted(self, n: int, penalty: float) -> NDArray[np.float64]:
        """The coefficients of the first n examples by scikit-learn."""
        if n == 0 or not len(self.index):
            return np.zeros(len(self.index))
        fit = Reference(alpha=penalty, fit_intercept=False, solver="cholesky").fit(self.x[:n], self.rewards[:n])
        return np.asarray(fit.coef_)


@settings(max_examples=12)
@given(campaigns(), seeds, st.sampled_from([(0.0, 0.3, 1.0), (-5.0, 0.0, 30.0)]))
def test_coefficients_and_errors_are_those_of_scikit_learns_ridge_regression_on_vowpal_wabbits_features(
    campaign: CampaignFile, seed: int, values: tuple[float, ...]
) -> None:
    space = space_of(campaign)
    past = log(np.random.default_rng(seed), space, N, values)
    learner = Learner(space, "one")
    learner.learn(past.lessons(space))
    scale = max(abs(value) for value in values)
    models = [model for model in learner.models if isinstance(model, RidgeMember)]
    assert len(models) == len(LAMBDAS) * len(learner.ridges)
    designs = {pairs: Examples.of(space, past, pairs=pairs) for pairs in {model.pairs for model in models}}
    for model in models:
        examples, penalty = designs[model.pairs], LAMBDAS[model.number]
        weights = model.weights()
        assert -weights[examples.index] == pytest.approx(examples.fitted(N, penalty), abs=1e-5 * scale)
        assert np.count_nonzero(weights) == np.count_nonzero(weights[examples.index])
        error, low, high = 0.0, 0.0, 0.0
        for start in SOLVED_AT:
            coefficients = examples.fitted(start, penalty)
            for i in range(start, min(start + 16, N)):
                low, high = min(low, past.rewards[i]), max(high, past.rewards[i])
                error += (np.clip(examples.x[i] @ coefficients, low, high) - past.rewards[i]) ** 2
        assert model.squared_error == pytest.approx(error, rel=1e-4, abs=1e-6)
    assert learner.serving.squared_error == min(model.squared_error for model in learner.models)


@settings(max_examples=12)
@given(campaigns(), seeds)
def test_the_scorer_gives_the_products_of_examples_and_coefficients(campaign: CampaignFile, seed: int) -> None:
    """With categories that were never learned."""
    rng = np.random.default_rng(seed)
    space = space_of(campaign)
    learner = Learner(space, "one")
    learner.learn(log(rng, space, N).lessons(space))
    people = customers(rng, 3, len(space.catalog.channels), WORDS).encoded(space)
    variants = space.catalog.schedule(ZoneInfo("UTC"), campaign.campaign.starts_at).variants
    for model in learner.models:
        if not isinstance(model, RidgeMember):
            continue
        snapshot = learner.snapshot_of(model)
        scores = Scorer(snapshot, space, space.catalog.slot_of, space.catalog.channel_of).scores(people, variants)
        for i in range(3):
            for arm, slot in enumerate(space.catalog.slot_of.tolist()):
                variant = variants[slot] if slot >= 0 else None
                text = example(space, snapshot.standardiser, people, i, arm, variant, pairs=model.pairs)
                cost = sum(value * snapshot.weights[feature] for feature, value in row(space, text).items())
                assert scores[i, arm] == pytest.approx(-cost, abs=1e-5)


def test_blocks_end_at_fixed_numbers_of_lessons() -> None:
    ends = sorted({block_end(t) for t in range(5_000)})
    sizes = np.diff([0, *ends])
    assert sorted(set(sizes.tolist())) == [16, 64, 512]
    assert (np.diff(sizes) >= 0).all()
    assert all(t < block_end(t) for t in range(5_000))


WIDE = campaign_of(messages=3, channels=2, slots=2, features=("n0", "n2", "k0", "k1", "mc"))


def test_the_bytes_do_not_depend_on_how_many_threads_do_the_linear_algebra() -> None:
    space = space_of(WIDE)
    past = log(np.random.default_rng(0), space, 600)
    states = []
    for threads in (1, 2):
        learner = Learner(space, "one")
        with threadpool_limits(threads):
            learner.learn(past.lessons(space))
            states.append((learner.save(), learner.snapshot().dumps()))
    assert states[0] == states[1]


def test_where_coefficients_become_too_many_vowpal_wabbits_models_join_and_those_in_place_keep_their_lead() -> None:
    space = space_of(WIDE)
    past = log(np.random.default_rng(0), space, 120)
    plain, paired = [len(ridge.design.coefficients.index) for ridge in _learned(space, past, 120).ridges]
    assert plain < paired
    for limit, kinds in ((plain, {True}), (30, {False, True})):
        with patch("optimizer.ridge.design.LIMIT", limit):
            learner = _learned(space, past, 120)
            assert {member.pairs for member in learner.members} == kinds
            assert [member.loss for member in learner.members] == ["squared", "logistic"] * len(kinds)
            assert [ridge.pairs for ridge in learner.ridges] == [False]
            before = _learned(space, past, 16)
        if limit == 30:
            # All joined after the first block.
            worst = max(each.squared_error for each in before.models)
            assert all(member.squared_error == worst for member in before.members)
            assert isinstance(before.serving, RidgeMember)


def test_a_regression_that_is_full_goes_on_with_what_it_has() -> None:
    """Coefficients of what came too late are 0; the others are those of a regression without it."""
    space = space_of(campaign_of(messages=2, features=("k0",)))
    past = log(np.random.default_rng(0), space, 112)
    late = np.arange(112) >= 16
    words = past.people.context["k0"]
    words[~late], words[late] = "gold", np.where(np.arange(96) % 2, "gold", "two words")
    with patch("optimizer.ridge.design.LIMIT", len(space.catalog) * 2):
        learner = _learned(space, past, 112)
    (ridge,) = learner.ridges
    assert ridge.full
    known = row(space, " |A k0=gold |a message=m0 message=m1 message=no_send")
    assert len(known) == 6
    examples = Examples.of(space, past, pairs=False)
    late = ~np.isin(examples.index, list(known))
    assert late.sum() == 3
    examples.x[:, late] = 0.0
    assert -ridge.weights(0)[examples.index] == pytest.approx(examples.fitted(112, LAMBDAS[0]), abs=1e-5)


def _learned(space: FeatureSpace, past: Log, n: int) -> Learner:
    learner = Learner(space, "one")
    learner.learn(past.lessons(space, 0, n))
    return learner
