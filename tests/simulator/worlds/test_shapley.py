"""Each bucket of context is worth what the study found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.worlds import FactorialConfig, FactorialWorld, Target, Values, bucket_values, calibrate, shapley
from simulator.worlds.effects import history_logits
from simulator.worlds.factorial import NO_SEND, arm_probabilities
from simulator.worlds.states import uniform_histories


def values_of(world: FactorialWorld, people: int, histories: int, seed: int = 11) -> Values:
    history = uniform_histories(histories, np.random.default_rng(seed))
    return bucket_values(world.personal[:people], history, world.config.strengths, world.config.late_share)


@pytest.fixture(scope="module")
def values() -> Values:
    return values_of(FactorialWorld(FactorialConfig(), 2000, seed=1), people=2000, histories=500)


@pytest.mark.parametrize("seed", [1, 2])
def test_customer_experience_and_execution_share_as_the_study_found(seed: int) -> None:
    # Not the sample that the world was calibrated on. Standard deviation over samples of this size: at most .0027.
    shares = shapley(FactorialWorld(FactorialConfig(), 10_000, seed), histories=100, seed=seed)
    assert shares["customer"] == pytest.approx(0.37, abs=0.01)
    assert shares["experience"] == pytest.approx(0.24, abs=0.01)
    assert shares["execution"] == pytest.approx(0.39, abs=0.01)


def test_uniform_arms_convert_four_percent_and_the_best_eight(values: Values) -> None:
    assert values() == pytest.approx(0.04, abs=0.002)
    assert values("customer", "experience", "execution") == pytest.approx(0.08, abs=0.004)


def test_to_know_the_customer_is_worth_nothing_to_who_chooses_nothing(values: Values) -> None:
    assert values("customer") == values()


def test_to_see_or_choose_more_is_never_worth_less(values: Values) -> None:
    for larger, value in values.of.items():
        assert all(value >= values.of[larger - {bucket}] for bucket in larger)


def test_values_are_those_of_policies_enumerated_one_state_at_a_time() -> None:
    world = FactorialWorld(FactorialConfig(), 7, seed=4)
    history = uniform_histories(43, np.random.default_rng(0))
    past = history_logits(history, world.config.strengths)
    p = np.empty((7, 43, NO_SEND + 1))
    for i in range(7):
        for j in range(43):
            row = world.personal[np.array([i])] + past[np.array([j])]
            p[i, j] = 0.98 * arm_probabilities(row, world.config.strengths)[0]
    choices = {
        "m": [[a for a in range(NO_SEND) if a // 20 == m] for m in range(6)] + [[NO_SEND]],
        "x": [[a for a in range(NO_SEND) if a % 20 == x] for x in range(20)] + [[NO_SEND]],
        "mx": [[a] for a in range(NO_SEND + 1)],
    }

    def best(kind: str, *axes: int) -> float:
        # What is not seen is averaged over before the choice, what is seen after it.
        worth = np.stack([p[:, :, arms].mean(axis=2) for arms in choices[kind]])
        return float(worth.mean(axis=tuple(a + 1 for a in axes), keepdims=True).max(axis=0).mean())

    found = bucket_values(world.personal, history, world.config.strengths, 0.02)
    assert found() == pytest.approx(p.mean())
    assert found("experience") == pytest.approx(best("m", 0, 1))
    assert found("execution") == pytest.approx(best("x", 0))
    assert found("customer", "experience") == pytest.approx(best("m", 1))
    assert found("customer", "execution") == pytest.approx(best("x"))
    assert found("experience", "execution") == pytest.approx(best("mx", 0))
    assert found("customer", "experience", "execution") == pytest.approx(best("mx"))


def test_shares_are_shapley_values_by_hand() -> None:
    # Worth beyond nothing: E 1, X 2, CE 3, CX 4, EX 3, CEX 10. Over the six orders of joining, C brings
    # 0, 0, 2, 2, 7, 7 in all 18, E 1 + 1 + 3 + 6 + 1 + 6 = 18, X 7 + 2 + 4 + 2 + 7 + 2 = 24.
    worth = {"": 0, "c": 0, "e": 1, "x": 2, "ce": 3, "cx": 4, "ex": 3, "cex": 10}
    name = {"c": "customer", "e": "experience", "x": "execution"}
    values = Values({frozenset(name[letter] for letter in key): 5.0 + value for key, value in worth.items()})
    assert values.shares == pytest.approx({"customer": 18 / 60, "experience": 18 / 60, "execution": 24 / 60})


def test_calibration_finds_the_strengths_for_another_target() -> None:
    target = Target(base=0.05, best=0.09, customer=0.36, experience=0.26)
    config = calibrate(FactorialConfig(), target, people=150, histories=80)
    # The sample is the calibration's own, so that the target is met on it closely.
    again = calibrate(config, target, people=150, histories=80, rounds=1)
    assert config.strengths != FactorialConfig().strengths
    assert again.strengths.personal == pytest.approx(config.strengths.personal, rel=0.01)
    values = values_of(FactorialWorld(config, 1000, seed=2), people=1000, histories=100)
    assert values() == pytest.approx(0.05, abs=0.005)
    assert values("customer", "experience", "execution") == pytest.approx(0.09, abs=0.01)


def test_shares_change_when_the_message_matters_more() -> None:
    config = FactorialConfig()
    louder = replace(config, strengths=replace(config.strengths, message=3 * config.strengths.message))
    quiet, loud = (values_of(FactorialWorld(c, 300, seed=1), 300, 60).shares for c in (config, louder))
    assert loud["experience"] > quiet["experience"] + 0.02
