"""Vowpal Wabbit reads dsjson, and the text that we make of it, as we read dsjson."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import vowpalwabbit
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.evaluation.estimators import IPS
from optimizer.evaluation.judged import judge
from optimizer.evaluation.log import Log
from optimizer.vw import BITS, weights
from simulator.logs.dsjson import DsjsonLog
from simulator.logs.json_columns import JsonColumns
from simulator.logs.reading import Intake
from simulator.logs.vw_text import write_vw_text
from tests.simulator.logs.dsjson_example import line, read, written

SHARED = Path(os.environ.get("SHARED_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
SERVICE = SHARED / "vw" / "decisionservice.json.gz"
MASK = (1 << BITS) - 1

here = pytest.mark.skipif(not SERVICE.exists(), reason="the shared data is not there: set SHARED_DATA")

names = st.text("abcxyz", min_size=1, max_size=3)
numbers = st.integers(-9, 9) | st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)
texts = st.text(st.sampled_from("ab :|\t9é漢"), max_size=6)
scalars = st.none() | st.booleans() | numbers | texts


def space(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object whose names are its own: where two paths end alike, Vowpal Wabbit makes one namespace of them."""
    return st.dictionaries(names, inner, max_size=4)


contexts = space(
    scalars
    | space(scalars | space(scalars))
    | st.lists(numbers | st.none(), max_size=3)
    | st.builds(lambda words: {"_text": " ".join(words)}, st.lists(names, max_size=3))
)


def features(examples: Any) -> tuple[list[int], list[float]]:  # noqa: ANN401 - vowpalwabbit has no types
    """Indexes and values of the features of the first example, which is the shared one."""
    first = examples[0] if isinstance(examples, list) else examples
    found = sorted((index & MASK, value) for index, value in first.iter_features())
    return [index for index, _ in found], [value for _, value in found]


@pytest.fixture(scope="module")
def parsers() -> list[Any]:
    """One for dsjson, one for text."""
    return [vowpalwabbit.Workspace(f"--quiet --cb_adf -b {BITS}{more}") for more in (" --dsjson", "")]


@settings(max_examples=150)
@given(contexts)
def test_what_we_take_of_a_context_is_what_vowpal_wabbit_takes(parsers: list[Any], context: dict[str, Any]) -> None:
    as_json, as_text = parsers
    log = replace(EMPTY, context=JsonColumns().columns([context]))
    theirs = as_json.parse(orjson.dumps(line(c={**context, "_multi": [{}, {}]}, a=[2, 1], p=[0.5, 0.5])).decode())
    ours = as_text.parse(text_of([log]).strip("\n").split("\n"))
    (indexes, values), (expected_indexes, expected) = features(ours), features(theirs)
    as_json.finish_example(theirs)
    as_text.finish_example(ours)
    assert indexes == expected_indexes
    # Vowpal Wabbit reads decimals of text a little less exactly than those of JSON.
    assert values == pytest.approx(expected, rel=1e-6)


EMPTY = Log(arms=("x", "y"), chosen=np.zeros(1, np.intp), propensity=np.ones(1), reward=np.zeros(1))


def text_of(chunks: list[Log]) -> str:
    file = BytesIO()
    assert write_vw_text(chunks, file) == sum(map(len, chunks))
    return file.getvalue().decode()


def test_the_text_of_a_decision(tmp_path: Path) -> None:
    log = read(written(tmp_path / "log.dsjson", [line(a=[2, 3], p=[0.5, 0.5])]))
    assert text_of([log]) == "shared |User age:30 plangold\n0:-1.0:0.5 |arm y\n|arm z\n\n"


def many(path: Path, seed: int = 5) -> Path:
    """Decisions among up to six arms, each with one feature, its id."""
    rng, lines = np.random.default_rng(seed), []
    for _ in range(400):
        shown = rng.permutation(6)[: rng.integers(2, 7)].tolist()
        ranked = (rng.permutation(len(shown)) + 1).tolist()
        p = (rng.dirichlet(np.ones(len(shown))) * 0.9 + 0.1 / len(shown)).tolist()
        person = {
            "age": float(rng.normal()),
            "plan": ["free", "gold or so"][rng.integers(2)],
            "vip": bool(rng.integers(2)),
        }
        lines.append(
            line(
                _label_cost=-float(rng.integers(0, 3)),
                _label_probability=p[0],
                _label_Action=ranked[0],
                _labelIndex=ranked[0] - 1,
                a=ranked,
                p=p,
                c={
                    "top": float(rng.normal()),
                    "U": person,
                    "_multi": [{"_tag": f"m{k}", "arm": {f"m{k}": 1}} for k in shown],
                },
            )
        )
    return written(path, lines)


def trained(options: str, model: Path) -> tuple[Any, bytes]:
    """A workspace that has read its data, and its model."""
    workspace = vowpalwabbit.Workspace(f"--quiet --cb_adf -b {BITS} {options}")
    workspace.save(str(model))
    return workspace, model.read_bytes()


def test_vowpal_wabbit_learns_the_same_from_a_file_and_from_the_text_of_what_we_read(tmp_path: Path) -> None:
    path, text, model = many(tmp_path / "log.dsjson"), tmp_path / "log.vw", tmp_path / "model"
    text.write_text(text_of(list(DsjsonLog(path).chunks(Intake(strict=True)))))
    options = "--cb_type mtr -q Ua"
    header = len(trained(options, model)[1])
    theirs, from_json = trained(f"{options} --dsjson -d {path}", model)
    ours, from_text = trained(f"{options} -d {text}", model)
    expected, found = weights(from_json, header), weights(from_text, header)
    assert np.count_nonzero(expected) > 20
    assert (np.nonzero(found)[0] == np.nonzero(expected)[0]).all()
    assert np.abs(found - expected).max() < 1e-6 * max(1.0, float(np.abs(expected).max()))
    assert ours.get_weighted_examples() == theirs.get_weighted_examples() == 400


@pytest.mark.parametrize("kind", ["dsjson", "text"])
def test_vowpal_wabbits_off_policy_loss_is_our_ips(kind: str, tmp_path: Path) -> None:
    """Of the policy that a model of its own makes, on decisions that the model has not seen."""
    path, text, model, said = (tmp_path / name for name in ("log.dsjson", "log.vw", "model", "said"))
    log = read(many(path))
    text.write_text(text_of([log]))
    trained(f"--cb_type ips -q Ua --dsjson -d {many(tmp_path / 'others', seed=6)}", model)
    data = f"--dsjson -d {path}" if kind == "dsjson" else f"-d {text}"
    judged = vowpalwabbit.Workspace(f"--quiet -t -i {model} -p {said} {data}")
    loss = judged.get_sum_loss() / judged.get_weighted_examples()
    judged.finish()
    target = np.zeros((len(log), len(log.arms)))
    chosen = [row.split(",")[0].split(":")[0] for row in said.read_text().split()]
    for i, place in enumerate(map(int, map(float, chosen))):
        value = orjson.loads(path.read_bytes().splitlines()[i])
        ids = [action["_tag"] for action in value["c"]["_multi"]]
        listed = ids if kind == "dsjson" else [log.arms[k] for k in np.flatnonzero(log.candidates[i])]
        target[i, log.arms.index(listed[place])] = 1.0
    assert 0 < np.count_nonzero(target[np.arange(len(log)), log.chosen]) < len(log)
    ours = IPS().terms(judge(log, target)).mean()
    assert -loss == pytest.approx(ours, rel=1e-5)


@here
def test_the_log_of_a_service_has_the_labels_that_vowpal_wabbit_finds() -> None:
    log, parser = read(SERVICE), vowpalwabbit.Workspace("--quiet --cb_adf --dsjson")
    with gzip.open(SERVICE, "rt", encoding="utf-8") as file:
        for i, text in enumerate(file):
            examples = parser.parse(text)
            (place,) = (k for k, each in enumerate(examples[1:]) if each.get_cbandits_num_costs())
            assert len(examples) - 1 == np.count_nonzero(log.candidates[i]) == 12
            assert place == log.chosen[i]
            assert -examples[1 + place].get_cbandits_cost(0) == log.reward[i]
            assert examples[1 + place].get_cbandits_probability(0) == pytest.approx(log.propensity[i], rel=1e-6)
            parser.finish_example(examples)
    assert len(log) == i + 1 == 3
    judged = vowpalwabbit.Workspace(f"--quiet --cb_adf --dsjson -t -d {SERVICE}")
    assert judged.get_weighted_examples() == len(log)


@here
def test_vowpal_wabbit_reads_of_our_text_the_context_that_it_reads_of_the_services_log() -> None:
    as_json, as_text = (vowpalwabbit.Workspace(f"--quiet --cb_adf -b {BITS}{more}") for more in (" --dsjson", ""))
    ours = text_of([read(SERVICE)]).strip("\n").split("\n\n")
    with gzip.open(SERVICE, "rt", encoding="utf-8") as file:
        for text, mine in zip(file, ours, strict=True):
            assert features(as_text.parse(mine.split("\n"))) == features(as_json.parse(text))
