from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.vw import BITS, Model, cross, escape, feature_hash, weights
from tests.optimizer.kernel import partial_prediction, workspace

LEARNING = "-l 0.5 --power_t 0.5"

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
"""Names as a person might write them, in every script, with every control character."""


@given(st.lists(names, min_size=1, max_size=4, unique=True), st.lists(names, min_size=1, max_size=3, unique=True))
def test_the_weight_of_a_cross_is_where_vowpal_wabbit_looks_for_it(contexts: list[str], arms: list[str]) -> None:
    vw = workspace("-q Aa --ignore_linear A --ignore_linear a")
    first = np.array([feature_hash("A", f"k={escape(name)}") for name in contexts], np.uint64)
    second = np.array([feature_hash("a", f"m={escape(name)}") for name in arms], np.uint64)
    for i, row in enumerate(cross(first, second).tolist()):
        for j, index in enumerate(row):
            before = vw.get_weight(index, 0)
            vw.set_weight(index, 0, 3.5)
            text = f"|A k={escape(contexts[i])} |a m={escape(arms[j])}"
            assert partial_prediction(vw, text) == 3.5
            vw.set_weight(index, 0, before)


@given(names)
def test_an_escaped_value_is_one_feature_of_its_own_in_vowpal_wabbit(value: str) -> None:
    """A weight put where we expect the value's is used once, and by nothing else in the line."""
    vw = workspace("--ignore_linear z")
    index = feature_hash("A", f"k={escape(value)}")
    vw.set_weight(index, 0, 2.0)
    assert partial_prediction(vw, f"|A k={escape(value)} |z end") == 2.0
    assert partial_prediction(vw, f"|z begin |A k={escape(value)}") == 2.0


@given(names, names)
def test_different_values_stay_different_when_escaped(first: str, second: str) -> None:
    assert (escape(first) == escape(second)) == (first == second)


@given(names)
def test_an_escaped_value_cannot_be_taken_for_missing_or_for_a_pair(value: str) -> None:
    assert escape(value) != "?"
    assert "^" not in escape(value)


def stream(rng: np.random.Generator, loss: str, n: int) -> list[str]:
    def features(letter: str) -> str:
        return " ".join(f"{letter}{i}:{rng.normal():.9g}" for i in rng.integers(0, 6, 3).tolist())

    labels = rng.choice([-1, 1], n) if loss == "logistic" else rng.choice([0.0, -1.0, -0.25], n)
    return [f"{label:g} {rng.uniform(0.1, 9):.9g} |A {features('x')} |a {features('m')}" for label in labels.tolist()]


@settings(max_examples=25)
@given(st.sampled_from(["squared", "logistic"]), st.integers(0, 2**32), st.integers(0, 40), st.integers(0, 40))
def test_a_saved_model_goes_on_exactly_where_it_stood(loss: str, seed: int, before: int, after: int) -> None:
    lines = stream(np.random.default_rng(seed), loss, before + after)
    options = f"--loss_function {loss} {LEARNING} --ignore_linear A -q Aa"
    whole, first = Model(options), Model(options)
    expected = [whole.learn(line) for line in lines]
    got = [first.learn(line) for line in lines[:before]]
    second = Model(options, first.save())
    got += [second.learn(line) for line in lines[before:]]
    assert got == expected
    assert second.save() == whole.save()


def test_saving_changes_nothing() -> None:
    lines = stream(np.random.default_rng(1), "squared", 50)
    quiet, saving = Model(LEARNING), Model(LEARNING)
    for line in lines:
        saving.save()
        assert saving.learn(line) == quiet.learn(line)
    assert saving.save() == quiet.save() == saving.save()


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_the_weights_read_from_a_model_file_are_those_in_use(loss: str) -> None:
    options = f"--loss_function {loss} {LEARNING} -q Aa"
    model, header = Model(options), len(Model(options).save())
    vw = workspace(options)
    for line in stream(np.random.default_rng(2), loss, 60):
        model.learn(line)
        vw.learn(line)
    table = weights(model.save(), header)
    assert table.shape == (1 << BITS,)
    assert np.count_nonzero(table) > 40
    assert [vw.get_weight(i, 0) for i in range(1 << BITS)] == table.tolist()


def test_an_untrained_model_has_no_weights() -> None:
    saved = Model(LEARNING).save()
    assert not weights(saved, len(saved)).any()


def test_what_a_model_predicted_before_learning_is_vowpal_wabbits_prediction() -> None:
    model, vw = Model(LEARNING), workspace(LEARNING)
    for line in stream(np.random.default_rng(3), "squared", 60):
        expected = vw.predict(line[line.index("|") :])
        assert model.learn(line) == pytest.approx(expected, abs=1e-6)
        vw.learn(line)
