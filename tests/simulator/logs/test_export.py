"""What is exported and read again is what the database holds, in whatever form, whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import json
import pickle
import random
from collections import Counter
from typing import TYPE_CHECKING

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from optimizer.clock import from_us
from optimizer.decisions import Decision
from optimizer.errors import Conflict, InvalidInput, NotFound
from optimizer.evaluation.log import Log, customer_keys
from simulator.logs import parts, service
from simulator.logs.export import Format, export_log
from simulator.logs.opening import open_log
from simulator.logs.reading import Intake
from tests.optimizer.engine_example import SLOTS, Rig, campaign, message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optimizer.store.rows import DecisionRow
    from simulator.logs.service_reading import ServiceLog

GROUPS = {"random_control": 0.2, "holdout": 0.1, "bau": {"share": 0.1, "arm": {"message": "offer", "channel": "email"}}}
CHANNELS = [{"id": "email", "cost": 0.01}, {"id": "push", "cost": 0.02, "dispatch": "caller"}]
CATALOG = {"messages": [message("hello", "email", "push")], "channels": CHANNELS}
"""What the campaign of `lived` has at first, before it gets `offer`."""


def lived() -> Rig:
    """A campaign of two versions: 90 decisions that are closed, some left out, and 30 that are not."""
    chance = random.Random(5)
    groups = {**GROUPS, "bau": {"share": 0.1, "arm": {"message": "hello", "channel": "email"}}}
    rig = Rig(campaign(catalog=CATALOG, groups=groups))
    ask(rig, chance, range(45))
    rig.settle()
    rig.engine.load_campaign(campaign(groups=GROUPS))
    ask(rig, chance, range(45, 90))
    rig.engine.void([row.decision_id for row in rig.log()[-45::9]], "outage")
    rig.settle()
    ask(rig, chance, range(90, 120))
    return rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    """Of the test alone."""
    with lived() as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Rig]:
    """For tests that change nothing."""
    with lived() as made:
        yield made


def ask(rig: Rig, chance: random.Random, numbers: range) -> None:
    for first in range(numbers.start, numbers.stop, 15):
        step = range(first, min(first + 15, numbers.stop))
        requests = [
            rig.request(
                f"c{chance.randrange(40)}",
                f"r{number}",
                plan=chance.choice(["free", "gold", None]),
                vip=chance.choice([True, False, None]),
                age=chance.choice([chance.uniform(18, 80), None]),
                tags=chance.choice([["a", 'b"c'], [], None]),
            )
            for number in step
        ]
        for number, decision in zip(step, rig.engine.decide(requests), strict=True):
            assert isinstance(decision, Decision)
            if decision.arm is not None and chance.random() < 0.4:
                amount = {"amount": chance.uniform(1, 5)}
                rig.tell(f"e{number}", "purchased", decision_id=decision.decision_id, fields=amount)
        rig.pass_by(minutes=20)
        rig.engine.outbox.dispatch_due()


def exported(rig: Rig, path: Path, kind: Format = Format.PARQUET) -> Path:
    return export_log(rig.engine, "camp", path, kind).data


def read(path: Path | str) -> tuple[Log, Intake]:
    intake = Intake()
    return Log.join(list(open_log(path).chunks(intake))), intake


def learned(rig: Rig) -> dict[str, DecisionRow]:
    """The decisions that the campaign learns from, from the tables."""
    rewards = rig.rewards()
    return {row.decision_id: row for row in rig.log() if rewards.get(row.decision_id, (0, False, ""))[1]}


@pytest.mark.databases
def test_a_log_read_again_has_the_numbers_of_the_store(rig: Rig, tmp_path: Path) -> None:
    log, intake = read(exported(rig, tmp_path / "log.parquet"))
    rows, rewards = learned(rig), rig.rewards()
    assert log.decision_ids is not None
    assert log.allowed is not None
    assert log.distribution is not None
    assert log.decision_ids.tolist() == list(rows)
    assert intake.taken == len(log) == len(rows) > 50
    assert set(log.arms) == {"hello/email", "hello/push", "offer/email", "offer/push", "no_send"}
    for i, row in enumerate(rows.values()):
        assert log.arms[log.chosen[i]] == row.arm
        assert log.propensity[i] == row.propensity
        assert log.distribution[i, log.chosen[i]] == row.propensity
        assert log.reward[i] == rewards[row.decision_id][0]
        assert log.time_us is not None
        assert log.time_us[i] == row.decided_us
        assert log.close_us is not None
        assert log.close_us[i] == row.mature_us
    assert log.customer is not None
    assert log.customer.tolist() == customer_keys([row.subject_id for row in rows.values()]).tolist()
    assert len(set(log.reward.tolist())) > 3
    assert log.zone is None


def test_candidates_and_probabilities_are_those_that_the_service_explains(shared: Rig, tmp_path: Path) -> None:
    log, _ = read(exported(shared, tmp_path / "log.parquet"))
    assert log.allowed is not None
    assert log.distribution is not None
    assert log.decision_ids is not None
    for i in range(0, len(log), 5):
        told = {each.arm.id: each for each in shared.engine.explain(log.decision_ids[i]).candidates}
        for k, arm in enumerate(log.arms):
            assert log.allowed[i, k] == (arm in told and told[arm].reason is None)
            assert log.distribution[i, k] == (told[arm].probability if arm in told else 0.0)
    assert log.distribution.sum(axis=1) == pytest.approx(1.0)
    assert not np.isin(log.distribution, [0.0, 1 / 3, 1 / 5]).all()  # a model has decided, too


def test_facts_are_columns_of_their_types(shared: Rig, tmp_path: Path) -> None:
    log, _ = read(exported(shared, tmp_path / "log.parquet"))
    assert set(log.context) == {"plan", "vip", "age", "tags"}
    for i, row in enumerate(learned(shared).values()):
        facts, history = json.loads(row.context)["attributes"], json.loads(row.history)
        assert log.context["plan"][i] == facts.get("plan")
        for name in ("vip", "age"):
            assert log.context[name][i] == pytest.approx(
                np.nan if facts.get(name) is None else float(facts[name]), nan_ok=True
            )
        assert log.context["tags"][i] == (None if facts.get("tags") is None else tuple(facts["tags"]))
        assert log.history["touches_7d"][i] == history["touches_7d"]
        assert log.history["last_channel"][i] == history.get("last_channel")
        by_channel = history["hours_since_last_touch_on_channel"]
        expected = [by_channel.get(channel, np.nan) for channel in ("push", "email")]
        got = log.history_for(("push", "email"))["hours_since_last_touch_on_channel"][i]
        assert got.tolist() == pytest.approx(expected, nan_ok=True)


@pytest.mark.databases
def test_what_a_policy_cannot_be_judged_on_is_counted_by_kind(rig: Rig, tmp_path: Path) -> None:
    _, intake = read(exported(rig, tmp_path / "log.parquet"))
    rewards, expected = rig.rewards(), Counter[str]()
    for row in rig.log():
        if row.group_name in {"holdout", "bau"}:
            expected[row.group_name] += 1
        elif row.decision_id not in rewards:
            expected["not closed yet"] += 1
        elif not rewards[row.decision_id][1]:
            expected["left out: outage"] += 1
    assert intake.passed == expected
    assert set(expected) == {"holdout", "bau", "not closed yet", "left out: outage"}
    assert intake.taken + expected.total() == 120
    assert intake.rejected == 0


def test_parts_read_by_others_are_the_log(shared: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = read(exported(shared, tmp_path / "whole.parquet"))
    monkeypatch.setattr(service, "PAGE", 16)
    monkeypatch.setattr(parts, "CHUNK", 40)
    path = exported(shared, tmp_path / "log.parquet")
    opened: ServiceLog = open_log(path)  # type: ignore[assignment]
    found = pickle.loads(pickle.dumps(opened.parts()))  # noqa: S301 - our own
    assert len(found) > 2
    assert [part.stretch.row for part in found] == sorted({part.stretch.row for part in found})
    intakes = [Intake() for _ in found]
    assert_equal(Log.join([part.read(intake) for part, intake in zip(found, intakes, strict=True)]), whole)
    assert_equal(read(path)[0], whole)
    assert sum((intake.passed for intake in intakes), Counter()) == read(path)[1].passed


def test_rows_that_were_changed_since_are_put_aside(shared: Rig, tmp_path: Path) -> None:
    path = exported(shared, tmp_path / "log.parquet")
    whole, _ = read(path)
    facts = pq.read_metadata(path).metadata[service.FACTS]
    rows = pq.read_table(path).to_pylist()
    mine = [i for i, row in enumerate(rows) if row["learn"]]
    rows[mine[0]]["propensity"] = 2.0
    rows[mine[1]]["arm"] = "unheard/of"
    rows[mine[2]]["context"] = "{"
    rows[mine[3]]["probabilities"] = [1.0] * (1 + len(rows[mine[3]]["candidates"]))
    rows[mine[4]]["matures_at"] = None
    # The attribute had another type then: it is missing.
    rows[mine[5]]["context"] = json.dumps({"attributes": {"plan": 7, "tags": "a", "age": True}})
    table = pa.Table.from_pylist(rows, schema=service.SCHEMA).replace_schema_metadata({service.FACTS: facts})
    pq.write_table(table, path)
    with Intake(rejects=tmp_path / "rejects") as intake:
        log = Log.join(list(open_log(path).chunks(intake)))
    assert intake.rejected == 5
    assert [problem.line for problem in intake.problems] == [place + 1 for place in mine[:5]]
    assert "export the log again" in str(intake.problems[0])
    rejected = [json.loads(line) for line in (tmp_path / "rejects").read_text().splitlines()]
    assert [row["decision_id"] for row in rejected] == [rows[place]["decision_id"] for place in mine[:5]]
    assert log.reward.tolist() == whole.reward[5:].tolist()
    assert (log.context["plan"][0], log.context["tags"][0]) == (None, None)
    assert np.isnan(log.context["age"][0])
    assert log.context["plan"][1:].tolist() == whole.context["plan"][6:].tolist()


def test_a_log_lies_where_fsspec_reaches_and_may_be_several_files(shared: Rig, tmp_path: Path) -> None:
    path = exported(shared, tmp_path / "log.parquet")
    whole, _ = read(path)
    for name in ("one", "two"):
        with fsspec.open(f"memory://logs/{name}.parquet", "wb") as file:
            file.write(path.read_bytes())
    assert_equal(read("memory://logs/one.parquet")[0], whole)
    assert_equal(read("memory://logs")[0], Log.join([whole, whole]))
    with pytest.raises(InvalidInput, match=r"memory://logs/three\.parquet"):
        open_log("memory://logs/three.parquet")


def assert_equal(one: Log, other: Log) -> None:
    assert one.arms == other.arms
    for name in ("chosen", "propensity", "reward", "allowed", "distribution", "customer", "time_us", "decision_ids"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("context", "history"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert set(mine) == set(theirs)
        for column in mine:
            np.testing.assert_array_equal(mine[column], theirs[column])


@pytest.mark.databases
def test_the_card_counts_what_the_file_holds_and_names_nobody(rig: Rig, tmp_path: Path) -> None:
    done = export_log(rig.engine, "camp", tmp_path / "log.parquet", Format.PARQUET)
    card = json.loads(done.card.read_bytes())
    rows, rewards, mine = rig.log(), rig.rewards(), learned(rig)
    assert card["decisions"] == {
        "decisions": 120,
        "first": from_us(rows[0].decided_us).isoformat(),
        "last": from_us(rows[-1].decided_us).isoformat(),
    }
    assert {name: each["decisions"] for name, each in card["versions"].items()} == Counter(
        row.config_hash for row in rows
    )
    assert card["groups"] == Counter(row.group_name for row in rows)
    assert (card["closed"], card["learned"]) == (len(rewards), len(mine))
    left_out = sum("outage" in rewards[row.decision_id][2] for row in rows if row.decision_id in rewards)
    drawn = [row for row in rows if row.decision_id in rewards and row.group_name in {"treatment", "random_control"}]
    assert card["left_out"] == {"outage": len(drawn) - len(mine)}
    assert left_out >= len(drawn) - len(mine) > 0
    assert card["left_out_share"] == (len(drawn) - len(mine)) / len(drawn)
    assert card["reward_mean"] == pytest.approx(np.mean([rewards[each][0] for each in mine]))
    random_draws = [row.propensity for row in rows if row.group_name in {"treatment", "random_control"}]
    assert card["propensity_min"] == min(p for p in random_draws if p is not None)
    assert card["sha256"] == hashlib.sha256(done.data.read_bytes()).hexdigest()
    assert card["size_bytes"] == done.data.stat().st_size
    assert set(card["columns"]) == set(service.SCHEMA.names)
    page = done.page.read_text()
    assert "| treatment |" in page
    assert "outage" in page
    told = page + json.dumps(card)
    assert not any(row.subject_id in told or (row.request_id or "") in told.split() for row in rows)


def test_csv_has_the_same_rows_flat(shared: Rig, tmp_path: Path) -> None:
    log, _ = read(exported(shared, tmp_path / "log.parquet"))
    done = export_log(shared.engine, "camp", tmp_path / "log.csv", Format.CSV)
    with done.data.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [each["decision_id"] for each in found] == [row.decision_id for row in shared.log()]
    assert set(found[0]) == set(json.loads(done.card.read_bytes())["columns"])
    mine = [each for each in found if each["learn"] == "true"]
    assert log.distribution is not None
    for i, (each, row) in enumerate(zip(mine, learned(shared).values(), strict=True)):
        assert each["arm"] == row.arm
        assert float(each["propensity"]) == row.propensity
        assert float(each["reward"]) == log.reward[i]
        assert each["context.plan"] == (log.context["plan"][i] or "")
        tags = log.context["tags"][i]
        assert each["context.tags"] == ("" if tags is None else json.dumps(list(tags), separators=(",", ":")))
        pairs = zip(each["candidates"].split(), map(float, each["probabilities"].split()), strict=True)
        assert {arm: p for arm, p in pairs if p} == {
            arm: p for arm, p in zip(log.arms, log.distribution[i].tolist(), strict=True) if p
        }


def test_dsjson_has_the_same_draws(shared: Rig, tmp_path: Path) -> None:
    log, _ = read(exported(shared, tmp_path / "log.parquet"))
    done = export_log(shared.engine, "camp", tmp_path / "log.dsjson", Format.DSJSON)
    card = json.loads(done.card.read_bytes())
    lines = [json.loads(line) for line in done.data.read_bytes().splitlines()]
    mine = {line["EventId"]: line for line in lines if not line.get("_skipLearn")}
    assert set(mine) == set(learned(shared))
    assert log.decision_ids is not None
    for i, decision_id in enumerate(log.decision_ids):
        assert mine[decision_id]["_label_probability"] == log.propensity[i]
        assert mine[decision_id]["_original_label_cost"] == -log.reward[i]
    assert card["learned"] == len(mine)
    told = {name for fields in card["columns"] for name in fields.split(", ")}
    assert set(lines[0]) <= told


def test_what_is_there_is_only_replaced_when_told_to(rig: Rig, tmp_path: Path) -> None:
    path = exported(rig, tmp_path / "log.parquet")
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    rig.settle()
    with pytest.raises(Conflict, match=r"log\.parquet exists already"):
        exported(rig, path)
    path.unlink()
    with pytest.raises(Conflict, match=r"log\.parquet\.card\.json exists already"):
        exported(rig, path)
    path.write_bytes(before[path.name])
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
    export_log(rig.engine, "camp", path, Format.PARQUET, overwrite=True)
    assert path.read_bytes() != before[path.name]


@pytest.mark.parametrize("kind", [Format.PARQUET, Format.CSV])
def test_an_export_that_fails_leaves_nothing(
    shared: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Format
) -> None:
    monkeypatch.setattr(service, "PAGE", 50)
    made = service.LogPage.table

    def fails(page: service.LogPage) -> object:
        if page.rows[0].decision_id > shared.log()[60].decision_id:
            raise RuntimeError("the database is away")
        return made(page)

    monkeypatch.setattr(service.LogPage, "table", fails)
    with pytest.raises(RuntimeError, match="away"):
        exported(shared, tmp_path / "log", kind)
    assert list(tmp_path.iterdir()) == []


def test_decisions_that_are_made_meanwhile_are_for_the_next_export(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PAGE", 50)
    chance = random.Random(1)

    def go_on(read: int) -> None:
        rig.pass_by(minutes=1)
        ask(rig, chance, range(1000 + read, 1005 + read))

    done = export_log(rig.engine, "camp", tmp_path / "log.parquet", Format.PARQUET, tell=go_on)
    assert done.contents.decisions <= 120 + 49
    assert len(rig.log()) > 120


def test_an_unknown_campaign_and_a_folder_that_is_not_there_are_told(shared: Rig, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nobody"):
        export_log(shared.engine, "nobody", tmp_path / "log.parquet", Format.PARQUET)
    with pytest.raises(InvalidInput, match="cannot be written"):
        exported(shared, tmp_path / "absent" / "log.parquet")


def test_a_campaign_without_decisions_is_an_empty_file_with_a_card(tmp_path: Path) -> None:
    with Rig(campaign()) as rig:
        done = export_log(rig.engine, "camp", tmp_path / "log.parquet", Format.PARQUET)
    intake = Intake()
    assert list(open_log(done.data).chunks(intake)) == []
    card = json.loads(done.card.read_bytes())
    assert card["decisions"] == {"decisions": 0, "first": None, "last": None}
    assert card["reward_mean"] is card["propensity_min"] is card["left_out_share"] is None
    assert intake.taken == intake.passed.total() == 0


def test_slots_come_with_the_zone_in_which_they_were(tmp_path: Path) -> None:
    catalog = {**CATALOG, "timing": SLOTS}
    with Rig(campaign(catalog=catalog, settings={"timezone": {"attr": "zone"}})) as rig:
        for number, zone in enumerate(["America/Lima", "Europe/Madrid", "Mars/Base"]):
            rig.ask(f"c{number}", zone=zone)
        rig.settle()
        rig.settle()
        log, intake = read(exported(rig, tmp_path / "log.parquet"))
    assert log.zone is not None
    assert log.zone.tolist() == ["America/Lima", "Europe/Madrid", None]
    assert intake.taken == 3
