"""The export of dsjson: Vowpal Wabbit learns from it what the campaign's learner has learned."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
import vowpalwabbit

from optimizer.decisions import Decision
from optimizer.errors import NotFound
from optimizer.evaluation.log import customer_keys
from optimizer.learner import Learner
from optimizer.registry import resume_of
from optimizer.store import retention, rewards
from optimizer.trainer import lessons_of
from optimizer.vw import weights
from simulator.logs import learning_order
from simulator.logs.dsjson_writing import vowpal_wabbit_options, write_dsjson
from simulator.logs.export import Format, export_log
from simulator.logs.reading import Intake
from tests.optimizer.engine_example import FEATURES, SLOTS, Rig, campaign, message
from tests.simulator.logs.dsjson_example import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from optimizer.campaign import CampaignFile
    from simulator.logs.counts import ExportCounts

HOURS = "hours_since_last_touch_on_channel"
CHANNELS = [{"id": "email", "cost": 0.01}, {"id": "push", "cost": 0.02, "dispatch": "caller"}]
NUMBERS = {"age": {"missing": "median"}, HOURS: {"missing": "flag"}}


def versions() -> tuple[CampaignFile, CampaignFile]:
    """Two of one campaign, of which the second has one message more; a feature of every kind, and times."""
    features = [feature | NUMBERS.get(str(feature["name"]), {}) for feature in FEATURES]
    more: dict[str, Any] = {
        "features": [*features, {"name": "city", "bucket": "customer", "type": "category"}],
        "policy": {"kind": "squarecb", "importance": "mtr"},
        "groups": {"random_control": 0.3, "holdout": 0.1},
        "settings": {"timezone": {"attr": "zone"}},
    }
    messages = [message("hello", "email", "push"), message("offer", "email", attributes={"price": 12.5, "new": True})]
    first, second = (
        campaign(catalog={"messages": messages[:n], "channels": CHANNELS, "timing": SLOTS}, **more) for n in (1, 2)
    )
    return first, second


def ask(rig: Rig, chance: random.Random, people: range) -> list[str]:
    """A decision for each of these people, some of whom buy; what is due is sent."""
    made = []
    for i in people:
        facts: dict[str, Any] = {
            "plan": chance.choice(["free", "gold", 'a "quoted\\" | plan', "ñandú 漢"]),
            "city": chance.choice(["Rome", None]),
            "age": chance.choice([None, chance.uniform(18, 80)]),
            "vip": chance.choice([None, True, False]),
            "tags": chance.sample(["sport", "news", "007"], 2),
            "zone": chance.choice(["Europe/Berlin", "America/New_York"]),
        }
        request = rig.request(f"c{i % 25:03d}", **{name: value for name, value in facts.items() if value is not None})
        (answer,) = rig.engine.decide([request])
        assert isinstance(answer, Decision)
        made.append(answer.decision_id)
        if chance.random() < 0.4:
            amount = {"amount": chance.uniform(1, 5)}
            rig.tell(f"bought{i}", "purchased", decision_id=answer.decision_id, fields=amount)
        if i % 5 == 0:
            rig.pass_by(hours=9)
            rig.jobs()
    return made


def lived(between: Callable[[Rig], object] = id) -> Rig:
    """120 decisions of two versions, of which 90 are closed and three void; people come back.

    `between` is called when the first 40 have been learned.
    """
    chance, (first, second) = random.Random(7), versions()
    made = Rig(first)
    made.customers(25)
    ask(made, chance, range(40))
    made.settle()
    between(made)
    made.engine.load_campaign(second)
    others = ask(made, chance, range(40, 90))
    made.engine.void(others[:3], "outage")
    made.settle()
    ask(made, chance, range(90, 120))
    return made


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """For tests that change nothing."""
    with lived() as made:
        yield made


@pytest.fixture(scope="module")
def export(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportCounts]:
    path = tmp_path_factory.mktemp("export") / "log.dsjson"
    return path, write_dsjson(rig.engine, "camp", path)


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_vowpal_wabbit_trained_on_the_file_has_the_learners_weights(
    rig: Rig, export: tuple[Path, ExportCounts], tmp_path: Path
) -> None:
    row = rig.snapshot()
    assert row is not None
    version, _ = rig.store.read(lambda c: rig.engine.versions.learning(c, "camp"))
    learner = Learner(version.decider.space, "mtr", resume_of(row))
    told = vowpal_wabbit_options(rig.engine, "camp")
    squared = [member for member in learner.members if member.loss == "squared"]
    assert [member.pairs for member in squared] == [name == "with pairs" for name in told] == [False, True]
    model = tmp_path / "model"
    for member, options in zip(squared, told.values(), strict=True):
        vowpalwabbit.Workspace(options).save(str(model))
        header = model.stat().st_size
        vowpalwabbit.Workspace(f"{options} -d {export[0]}").save(str(model))
        found, ours = weights(model.read_bytes(), header), member.weights()
        assert np.count_nonzero(ours) > 100
        assert np.abs(found - ours).max() < 1e-5 * max(1.0, float(np.abs(ours).max()))
    assert learner.counters.events == export[1].learned


def test_the_data_card_tells_vowpal_wabbits_options(rig: Rig, tmp_path: Path) -> None:
    exported = export_log(rig.engine, "camp", tmp_path / "log.dsjson", Format.DSJSON)
    card = exported.card.read_text(encoding="utf-8")
    assert all(options in card for options in vowpal_wabbit_options(rig.engine, "camp").values())


def test_the_arms_drawn_alone_are_the_examples_that_unweighted_learning_has(
    rig: Rig, export: tuple[Path, ExportCounts], tmp_path: Path
) -> None:
    """What is learned with `importance: one` has no counterpart in `--cb_adf`; as plain regression it has one."""
    version, _ = rig.store.read(lambda c: rig.engine.versions.learning(c, "camp"))
    space = version.decider.space
    learner = Learner(space, "one", second_order=False)
    rows = rig.store.read(
        lambda c: rewards.rewards_after(c, "default", "camp", watermark=(-1, ""), until_us=rig.now_us, limit=1_000)
    )
    for row in rows:
        made_by = rig.store.read(partial(rig.engine.versions.get, campaign_id="camp", config_hash=row.config_hash))
        learner.learn(lessons_of(made_by.space_for(version.campaign), made_by, version.campaign, [row]))
    plain = tmp_path / "plain.json"
    with plain.open("wb") as file:
        for value in lines(export[0]):
            if not value.get("_skipLearn"):
                drawn = value["c"].pop("_multi")[value["_labelIndex"]]
                both = {
                    name: value["c"].get(name, {}) | drawn.get(name, {}) for name in {*value["c"], *drawn} - {"_tag"}
                }
                file.write(orjson.dumps({"_label": value["_label_cost"], **both}) + b"\n")
    model = tmp_path / "model"
    for member in learner.members:
        if member.loss == "squared":
            ignored = "" if member.pairs else "".join(f" --ignore {each}" for each in space.pooled_spaces)
            options = f"{member.model.options} --json{ignored}"
            vowpalwabbit.Workspace(f"{options} -d {plain}").save(str(model))
            found, ours = (
                weights(model.read_bytes(), member.header + _more(options, member, tmp_path)),
                member.weights(),
            )
            assert np.abs(found - ours).max() < 1e-5 * max(1.0, float(np.abs(ours).max()))


def _more(options: str, member: Any, folder: Path) -> int:  # noqa: ANN401
    """How much longer the header of a model with these options is than that of the member."""
    path = folder / "empty"
    vowpalwabbit.Workspace(options).save(str(path))
    return path.stat().st_size - int(member.header)


def test_every_decision_is_there_once_in_the_order_of_learning(rig: Rig, export: tuple[Path, ExportCounts]) -> None:
    values, counts = lines(export[0]), export[1]
    rows = {row.decision_id: row for row in rig.log()}
    closed = rig.rewards()
    ids = [value["EventId"] for value in values]
    assert sorted(ids) == sorted(rows)
    order = [(rig.reward(each).mature_us, each) for each in ids if each in closed]
    assert order == sorted(order)
    assert len(order) == 90
    assert ids[: len(order)] == [each for _, each in order]
    learned = [value["EventId"] for value in values if not value.get("_skipLearn")]
    assert learned == [each for each in ids if each in closed and closed[each][1]]
    held = sum(rows[each].group_name == "holdout" for each in closed)
    assert counts.decisions == len(rows) == 120
    assert counts.learned == len(learned)
    assert counts.left_out["not closed yet"] == 30
    assert counts.left_out["holdout"] + counts.left_out["outage"] == held + 3 - _voided_holdouts(rows, closed)
    assert counts.learned + sum(counts.left_out.values()) == counts.decisions


def _voided_holdouts(rows: dict[str, Any], closed: dict[str, tuple[float, bool, str]]) -> int:
    parts = {each: orjson.loads(told)["left_out"] for each, (_, _, told) in closed.items()}
    return sum(rows[each].group_name == "holdout" and why is not None for each, why in parts.items())


def test_what_is_read_back_is_what_was_decided_and_earned(rig: Rig, export: tuple[Path, ExportCounts]) -> None:
    intake = Intake(strict=True)
    log, counts = read(export[0], intake), export[1]
    assert len(log) == intake.taken == counts.learned
    assert intake.passed == {"not learned (_skipLearn)": counts.decisions - counts.learned}
    closed, rows = rig.rewards(), {row.decision_id: row for row in rig.log()}
    assert log.decision_ids is not None
    assert log.distribution is not None
    assert log.customer is not None
    assert log.time_us is not None
    for i, decision_id in enumerate(log.decision_ids.tolist()):
        row = rows[decision_id]
        told = {each.arm.id: each.probability for each in rig.engine.explain(decision_id).candidates if not each.reason}
        found = {log.arms[k]: float(log.distribution[i, k]) for k in np.flatnonzero(log.candidates[i])}
        assert found == told
        assert (log.arms[log.chosen[i]], log.propensity[i], log.time_us[i]) == (row.arm, row.propensity, row.decided_us)
        assert log.reward[i] == pytest.approx(closed[decision_id][0], abs=1e-12)
    assert (log.customer == customer_keys([rows[each].subject_id for each in log.decision_ids])).all()


def test_only_the_arms_of_a_channel_see_its_numbers(export: tuple[Path, ExportCounts]) -> None:
    seen: dict[str, set[str]] = {"email": set(), "push": set(), "no_send": set()}
    for value in lines(export[0]):
        assert not any(
            name.startswith(HOURS) for space in value["c"].values() if isinstance(space, dict) for name in space
        )
        for action in value["c"]["_multi"]:
            channel = action["_tag"].split("/")[1] if "/" in action["_tag"] else "no_send"
            seen[channel] |= set(action.get("A", {}))
    # The platform has never told that it has shown a push.
    assert seen == {"email": {HOURS, f"{HOURS}=?"}, "push": {f"{HOURS}=?"}, "no_send": set()}


def test_numbers_go_on_from_where_the_log_was_cut(rig: Rig, export: tuple[Path, ExportCounts], tmp_path: Path) -> None:
    """Where retention keeps a model to rebuild from, learning begins after it."""
    with lived(lambda made: made.store.write(lambda c: retention.mark_base(c, "default"))) as cut:
        counts = write_dsjson(cut.engine, "camp", tmp_path / "cut.dsjson")
    before = counts.left_out["learned before the log begins"]
    first = {row.decision_id for row in rig.log()[:40]}
    assert before == sum(learned for each, (_, learned, _) in rig.rewards().items() if each in first)
    whole, found = lines(export[0]), lines(tmp_path / "cut.dsjson")
    assert counts.learned == export[1].learned - before
    assert found[40:] == whole[40:]


def test_the_size_of_a_page_changes_nothing(
    rig: Rig, export: tuple[Path, ExportCounts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning_order, "PAGE", 7)
    again = tmp_path / "again.dsjson"
    assert write_dsjson(rig.engine, "camp", again) == export[1]
    assert again.read_bytes() == export[0].read_bytes()


def test_there_is_no_export_of_a_campaign_that_is_not_there(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        write_dsjson(rig.engine, "other", tmp_path / "log.dsjson")
    assert not list(tmp_path.iterdir())
