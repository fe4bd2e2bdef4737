"""Reading dsjson: what a line says, what is no decision, what is wrong, and that neither batches nor bytes matter."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimizer.clock import from_us
from optimizer.errors import InvalidInput
from simulator.logs import dsjson
from simulator.logs.dsjson import DsjsonLog
from simulator.logs.reading import Intake
from tests.simulator.logs.dsjson_example import line, read, written

if TYPE_CHECKING:
    from pathlib import Path

    from optimizer.evaluation.log import Log

IN_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def test_a_decision_is_what_its_line_says(tmp_path: Path) -> None:
    log = read(written(tmp_path / "log.dsjson", [line()]))
    assert log.arms == ("x", "y", "z")
    assert log.chosen.tolist() == [1]
    assert (log.propensity.tolist(), log.reward.tolist()) == ([0.5], [1.0])
    assert log.distribution is not None
    assert log.distribution.tolist() == [[0.25, 0.5, 0.25]]
    assert log.allowed is None
    assert log.time_us is not None
    assert from_us(int(log.time_us[0])).isoformat() == "2026-01-31T12:00:00.123456+00:00"
    assert log.decision_ids is not None
    assert log.decision_ids.tolist() == ["e0"]
    assert {name: column.tolist() for name, column in log.context.items()} == {
        "User.age": [30.0],
        "User.plan": ["gold"],
    }
    assert (log.customer, log.position) == (None, None)


def test_candidates_are_the_actions_that_are_ranked(tmp_path: Path) -> None:
    path = written(tmp_path / "log.dsjson", [line(a=[2, 3], p=[0.5, 0.5]), line()])
    log = read(path)
    assert log.candidates.tolist() == [[False, True, True], [True, True, True]]
    assert log.distribution is not None
    assert log.distribution[0].tolist() == [0.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("actions", "arms"),
    [
        ([{"_tag": "x"}, {"_tag": "y"}, {"_tag": "z"}], ("x", "y", "z")),
        ([{"id": "x"}, {"id": "y"}, {"id": 7}], ("x", "y", "7")),
        ([{"i": {"constant": 1, "id": "x"}}, {"i": {"id": "y"}}, {"i": {"id": "z"}}], ("x", "y", "z")),
        ([{"_tag": "same"}, {"_tag": "same"}, {"_tag": "same"}], ("1", "2", "3")),
        ([{"topic": "x"}, {"topic": "y"}, {}], ("1", "2", "3")),
    ],
)
def test_arms_are_named_by_tag_or_id_where_every_action_has_one_else_by_number(
    actions: list[dict[str, Any]], arms: tuple[str, ...], tmp_path: Path
) -> None:
    assert read(written(tmp_path / "log.dsjson", [line(c={"_multi": actions})])).arms == arms


def test_arms_are_numbered_as_they_are_met_whatever_the_order_in_a_line(tmp_path: Path) -> None:
    others = [{"_tag": name} for name in ("new", "y", "x")]
    log = read(written(tmp_path / "log.dsjson", [line(), line(c={"_multi": others})]))
    assert log.arms == ("x", "y", "z", "new")
    assert log.candidates.tolist() == [[True, True, True, False], [True, True, False, True]]
    assert log.distribution is not None
    assert log.distribution.tolist() == [[0.25, 0.5, 0.25, 0.0], [0.25, 0.5, 0.0, 0.25]]


def test_slots_are_rows_with_a_position_and_those_of_a_line_one_customers(tmp_path: Path) -> None:
    outcomes = [
        {"_label_cost": 0.0, "_a": [1, 0, 2], "_p": [0.5, 0.25, 0.25]},
        {"_label_cost": -2.0, "_a": [2, 0], "_p": [0.75, 0.25]},
    ]
    some = {"_outcomes": outcomes, "a": None, "p": None, "_label_cost": None, "_label_probability": None}
    context = line()["c"] | {"_slots": [{"_id": "first"}, {"size": 2}]}
    path = written(tmp_path / "log.dsjson", [line(**some, c=context), line(**some, c=context, EventId="e1")])
    log = read(path)
    assert log.position is not None
    assert log.position.tolist() == [0, 1, 0, 1]
    assert log.chosen.tolist() == [1, 2, 1, 2]
    assert (log.reward.tolist()[:2], log.propensity.tolist()[:2]) == ([0.0, 2.0], [0.5, 0.75])
    assert log.candidates[:2].tolist() == [[True, True, True], [True, False, True]]
    assert log.customer is not None
    assert len(set(log.customer.tolist())) == 2
    assert log.customer[0] == log.customer[1]
    assert log.context["slot.size"].tolist()[1] == 2.0


def test_a_slate_has_its_whole_reward_in_each_slot_among_the_slots_own_arms(tmp_path: Path) -> None:
    actions = [{"_tag": f"{slot}{name}", "_slot_id": slot} for slot in (0, 1) for name in "ab"]
    outcomes = [{"_a": 1, "_p": 1.0}, {"_a": [0, 1], "_p": [0.6, 0.4]}]
    slate = line(c={"_multi": actions}, _outcomes=outcomes, a=None, p=None, _label_probability=None)
    log = read(written(tmp_path / "log.dsjson", [slate, slate | {"EventId": "e1"}]))
    assert log.arms == ("0a", "0b", "1a", "1b")
    assert [log.arms[i] for i in log.chosen] == ["0b", "1a", "0b", "1a"]
    assert log.reward.tolist() == [1.0] * 4
    assert log.candidates[:2].tolist() == [[False, True, False, False], [False, False, True, True]]


def test_what_is_no_decision_is_counted_by_its_kind(tmp_path: Path) -> None:
    lines = [
        b"",
        b"  \r",
        {"RewardValue": 1.0, "EnqueuedTimeUtc": "2026-01-31T12:00:00Z", "EventId": "e0"},
        line(_skipLearn=True),
        line(_skipLearn=False),
        line(_label_cost=None, o=[{"v": 1.0, "EventId": "e0"}]),
        line(a=[]),
    ]
    intake = Intake(strict=True)
    assert len(read(written(tmp_path / "log.dsjson", lines), intake)) == 1
    assert intake.taken == 1
    assert intake.passed == {
        "blank line": 2,
        "reward without a decision": 1,
        "not learned (_skipLearn)": 1,
        "decision without a reward": 1,
        "decision without actions": 1,
    }


BAD: list[tuple[object, str, str]] = [
    (b'{"a": [', "line", "not JSON"),
    (b"[1, 2]", "line", "expected a JSON object"),
    ({"other": 1}, "c", "neither a decision nor a reward"),
    (line(c=[1]), "c", "expected an object"),
    (line(c={}), "c._multi", "expected a list of objects"),
    (line(c={"_multi": [{"_tag": "x"}, {"_tag": "y"}, {}]}), "c._multi", "without the _tag"),
    (line(c={"_multi": [{"_tag": "x"}, {"_tag": "y"}, {"_tag": "y"}]}), "c._multi", "two actions with the same"),
    (line(c={"_multi": [{"_tag": "x"}, {"_tag": "y"}, {"_tag": [1]}]}), "c._multi", "no name"),
    (line(_label_cost="NaN"), "_label_cost", "expected a number"),
    (line(_label_cost=True), "_label_cost", "expected a number"),
    (line(_label_cost=[]), "_label_cost", "expected a number"),
    (line(_label_probability=0.0), "_label_probability", "above 0"),
    (line(_label_probability=1.5), "_label_probability", "1 at most"),
    (line(_label_probability=None), "_label_probability", "above 0"),
    (line(_label_probability=0.4), "_label_probability", "p has another"),
    (line(_labelIndex=3, _label_Action=4), "_labelIndex", "expected an action's place"),
    (line(_labelIndex="1", _label_Action=None), "_labelIndex", "expected an action's place"),
    (line(_labelIndex=0), "_label_Action", "differs from _labelIndex"),
    (line(a=[2, 1, 4]), "a", "expected places of actions"),
    (line(a=[2, 1, 2**63]), "a", "expected places of actions"),
    (line(a=[2, 2, 1]), "a", "twice"),
    (line(a=[1, 3], p=[0.5, 0.5]), "a", "does not name the action that was drawn"),
    (line(a="213"), "a", "expected a list"),
    (line(p=[0.5, 0.5]), "p", "as many probabilities"),
    (line(p=[0.5, "x", 0.5]), "p", "expected numbers"),
    (line(p=[0.5, 0.5, 0.5]), "p", "add up to 1"),
    (line(p=None), "p", "is missing"),
    (line(Timestamp="yesterday"), "Timestamp", "expected an instant"),
    (line(Timestamp=None), "Timestamp", "is missing"),
    (line(EventId=7), "EventId", "expected text"),
    (line(pdrop=0.5), "pdrop", "was 0 in the first decision"),
    (line(_outcomes=[{}]), "_outcomes", "of one slot or of several"),
]


def test_what_is_wrong_is_told_with_its_line_and_put_aside_and_the_rest_is_read(tmp_path: Path) -> None:
    lines: list[object] = [line()]
    for bad, _, _ in BAD:
        lines += [bad, line()]
    path, rejects = written(tmp_path / "log.dsjson", lines), tmp_path / "rejects"
    with Intake(rejects) as intake:
        log = read(path, intake)
    assert (intake.taken, intake.rejected) == (len(BAD) + 1, len(BAD)) == (len(log), len(BAD))
    for i, (problem, (_, name, message)) in enumerate(zip(intake.problems, BAD, strict=False)):
        assert (problem.file, problem.line, problem.field) == (str(path), 2 * i + 2, name), problem
        assert message in problem.message, problem
    assert rejects.read_bytes().splitlines() == path.read_bytes().splitlines()[1::2]


@pytest.mark.parametrize(("bad", "name", "message"), BAD)
def test_each_is_the_first_that_strict_reading_stops_at(bad: object, name: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path / "log.dsjson", [line(), line(), bad, b"{", line()])
    with pytest.raises(InvalidInput, match=f"{path}:3: {name}: .*{message}"):
        read(path)


def test_what_it_cost_goes_before_what_is_learned_of_it(tmp_path: Path) -> None:
    log = read(written(tmp_path / "log.dsjson", [line(_original_label_cost=-10), line(_original_label_cost=0)]))
    assert log.reward.tolist() == [10.0, 0.0]
    with pytest.raises(InvalidInput, match="_original_label_cost: is missing"):
        read(written(tmp_path / "log.dsjson", [line(_original_label_cost=-10), line()]))


def test_decisions_that_were_dropped_alike_are_taken_and_a_share_that_is_none_is_not(tmp_path: Path) -> None:
    assert len(read(written(tmp_path / "a", [line(pdrop=0.5), line(pdrop=0.5, _label_cost=0)]))) == 2
    with pytest.raises(InvalidInput, match="pdrop: expected a share"):
        read(written(tmp_path / "b", [line(pdrop=1)]))


def test_a_file_that_cannot_be_read_to_its_end_says_how_far_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "log.dsjson.gz"
    whole = gzip.compress(b"".join(orjson.dumps(line(EventId=f"e{i}")) + b"\n" for i in range(5_000)))
    path.write_bytes(whole)
    assert len(read(path)) == 5_000
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match="cannot be read beyond line"):
        read(path)


def decisions(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    """Decisions of a service: a few lists of actions, contexts of different shapes."""
    lists = [[{"_tag": f"arm{k}", "f": {"v": k}} for k in rng.permutation(8)[:size].tolist()] for size in (8, 8, 3, 5)]
    made = []
    for i in range(n):
        actions = lists[rng.integers(len(lists))]
        ranked = rng.permutation(len(actions))[: rng.integers(1, len(actions) + 1)]
        p = rng.dirichlet(np.ones(len(ranked)))
        context: dict[str, Any] = {"User": {"age": float(rng.normal())}}
        if rng.integers(2):
            context["Geo"] = {"city": "Rome" if rng.integers(2) else None, "ids": [1.5, 2]}
        made.append(
            line(
                _label_cost=float(rng.normal()),
                _label_probability=float(p[0]),
                _labelIndex=int(ranked[0]),
                _label_Action=int(ranked[0]) + 1,
                EventId=f"e{i}",
                a=(ranked + 1).tolist(),
                p=p.tolist(),
                c={**context, "_multi": actions},
            )
        )
    return made


def same(one: Log, other: Log) -> bool:
    """Whether two logs say the same, arms by name."""
    places = [other.arms.index(arm) for arm in one.arms]
    assert one.distribution is not None
    assert other.distribution is not None
    assert one.decision_ids is not None
    assert other.decision_ids is not None
    return (
        one.decision_ids.tolist() == other.decision_ids.tolist()
        and [one.arms[i] for i in one.chosen] == [other.arms[i] for i in other.chosen]
        and one.reward.tolist() == other.reward.tolist()
        and one.propensity.tolist() == other.propensity.tolist()
        and bool((one.candidates == other.candidates[:, places]).all())
        and bool((one.distribution == other.distribution[:, places]).all())
        and one.context.keys() == other.context.keys()
        and all(list(map(str, one.context[name])) == list(map(str, other.context[name])) for name in one.context)
    )


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    values = decisions(np.random.default_rng(3), 400)
    log = read(written(tmp_path / "log.dsjson", values))
    assert log.distribution is not None
    for i, value in enumerate(values):
        tags = [action["_tag"] for action in value["c"]["_multi"]]
        said = {tags[place - 1]: p for place, p in zip(value["a"], value["p"], strict=True)}
        assert {log.arms[k]: float(log.distribution[i, k]) for k in np.flatnonzero(log.candidates[i])} == said
        assert log.arms[log.chosen[i]] == tags[value["_labelIndex"]]
        assert log.reward[i] == -value["_label_cost"]
        assert log.context["User.age"][i] == value["c"]["User"]["age"]


def test_batches_chunks_and_known_bytes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = decisions(np.random.default_rng(4), 300)
    whole = read(written(tmp_path / "log.dsjson", values))
    # With a blank after the colon the bytes of actions are never known, and each line is parsed whole.
    spaced = [orjson.dumps(value).replace(b'"_multi":', b'"_multi": ') for value in values]
    assert same(read(written(tmp_path / "spaced.dsjson", spaced)), whole)
    monkeypatch.setattr(dsjson, "BATCH", 7)
    monkeypatch.setattr(dsjson, "CHUNK", 50)
    chunks = list(DsjsonLog(tmp_path / "log.dsjson").chunks(Intake()))
    assert [len(chunk) for chunk in chunks] == [50] * 6
    assert same(read(tmp_path / "log.dsjson"), whole)


def test_actions_are_known_by_their_bytes_only_where_they_are_the_contexts(tmp_path: Path) -> None:
    actions, other = line()["c"]["_multi"], [{"_tag": name} for name in ("u", "v", "w")]
    lines = [
        line(),
        line(o=[{"_multi": actions}], c={"_multi": other}),  # the known bytes lie elsewhere
        {"o": {"_multi": actions}} | line(c={"_multi": other}),
        line(c={'quo"_multi': 1, "_multi": other}),
        line(c={"n": {"_multi": actions}, "_multi": other}),
    ]
    log = read(written(tmp_path / "log.dsjson", lines))
    assert [log.arms[i] for i in log.chosen] == ["y", "v", "v", "v", "v"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from([*line(), "_outcomes", "_skipLearn", "pdrop", "o"])
spoiled = st.builds(lambda name, value: line() | {name: value}, fields, json_values)
spoiled_context = st.builds(lambda value: line(c={"_multi": line()["c"]["_multi"], "more": value}), json_values)


@IN_ONE_FOLDER
@given(st.lists(st.binary(max_size=30) | spoiled | spoiled_context | json_values, max_size=12))
def test_no_line_stops_the_others_and_each_is_taken_passed_or_told(tmp_path: Path, lines: list[object]) -> None:
    flat = [each.replace(b"\n", b" ") if isinstance(each, bytes) else each for each in lines]
    path = written(tmp_path / "log.dsjson", [line(), *flat, line()])
    with Intake(tmp_path / "rejects") as intake:
        log = read(path, intake)
    assert len(log) == intake.taken >= 2
    assert intake.taken + intake.rejected + intake.passed.total() == len(flat) + 2
    told = [problem.line for problem in intake.problems]
    assert told == sorted(set(told))
    assert len(told) == intake.rejected
    if told:
        text = path.read_bytes().split(b"\n")
        assert (tmp_path / "rejects").read_bytes() == b"".join(text[at - 1].rstrip(b"\r\n") + b"\n" for at in told)


def test_a_context_that_is_nested_beyond_measure_is_put_aside(tmp_path: Path) -> None:
    bottomless = orjson.dumps(line()).replace(b'"age":30', b'"age":' + b'{"n":' * 900 + b"1" + b"}" * 900)
    intake = Intake()
    log = read(written(tmp_path / "log.dsjson", [line(), bottomless, line()]), intake)
    assert len(log) == 2
    assert [(problem.line, problem.field) for problem in intake.problems] == [(2, "c")]
