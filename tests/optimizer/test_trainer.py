"""Learning happens once, in a fixed order: killed at any moment, in one go or in many, the weights are the same."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer import closing, trainer
from optimizer.clock import VirtualClock, from_us
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.ids import IdSource
from optimizer.recording import EventIn
from optimizer.snapshot import Snapshot
from optimizer.store import Store, snapshots
from optimizer.store.customers import Customer
from tests import databases
from tests.optimizer.engine_example import ATTRIBUTES, FEATURES, START, Notes, Rig, campaign, message, only

if TYPE_CHECKING:
    from pathlib import Path

    from optimizer.store.rows import SnapshotRow

pytestmark = pytest.mark.databases

GROUPS = {"random_control": 0.2, "holdout": 0.1, "bau": {"share": 0.1, "arm": {"message": "offer", "channel": "email"}}}
CITIES = {"name": "city", "bucket": "customer", "type": "category"}


def lived(rig: Rig, days: int = 6, each_day: int = 25, seed: int = 0) -> None:
    """Customers are asked for, shown and react, so that there is something to learn; nothing is closed."""
    chance = random.Random(seed)
    for day in range(days):
        for number in range(each_day):
            customer = f"c{chance.randrange(40)}"
            plan, vip, age = chance.choice(["free", "gold"]), chance.random() < 0.5, chance.uniform(18, 80)
            facts: dict[str, Any] = {"plan": plan, "vip": vip, "age": age}
            kept = {name: value for name, value in facts.items() if chance.random() < 0.8}
            made = rig.ask(customer, f"{day}-{number}", **kept)
            if made.arm and made.arm.channel == "push":
                rig.tell(f"s{day}-{number}", "shown", decision_id=made.decision_id)
            liked = made.arm is not None and made.arm.message == "offer" and plan == "gold"
            if chance.random() < (0.8 if liked else 0.2):
                rig.tell(f"e{day}-{number}", "clicked", decision_id=made.decision_id)
            rig.pass_by(minutes=50)
        rig.engine.outbox.dispatch_due()


def published(rig: Rig) -> tuple[bytes, bytes, int]:
    """What the newest snapshot scores with, what the trainer goes on from, and how much was learned."""
    row = rig.snapshot()
    assert row is not None
    assert row.resume is not None
    return row.body, row.resume, row.learned


def learned_in(rig: Rig, hours: int) -> None:
    """Close and learn everything, stopping to publish every so many hours."""
    rig.clock.advance_to(START)
    end = rig.clock.now() + timedelta(days=20)
    while rig.clock.now() < end:
        rig.pass_by(hours=hours)
        rig.engine.closing.close_due()
        rig.engine.trainer.train_due()


def test_learning_in_one_go_or_in_many_gives_the_same_weights_to_the_byte() -> None:
    results = []
    for hours in (24 * 20, 24, 11):
        with Rig(campaign(groups=GROUPS)) as rig:
            lived(rig)
            learned_in(rig, hours)
            results.append(published(rig))
    assert results[0][2] > 80
    assert results[0] == results[1] == results[2]


def test_a_process_that_starts_anew_after_every_publication_learns_the_same() -> None:
    results = []
    for restarts in (False, True):
        with Rig(campaign(groups=GROUPS)) as rig:
            lived(rig, days=3)
            for _ in range(10):
                rig.pass_by(days=1)
                if restarts:
                    rig.restart()
                rig.engine.closing.close_due()
                rig.engine.trainer.train_due()
            results.append(published(rig))
    assert results[0] == results[1]


def test_pages_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for page in (3, 5000):
        monkeypatch.setattr(trainer, "PAGE", page)
        with Rig(campaign(groups=GROUPS), only("push", "other")) as rig:
            lived(rig, days=2)
            rig.settle()
            results.append(published(rig))
    assert results[0] == results[1]


# Killed


def _go_on(url: str, start_us: int, end_us: int) -> None:
    """Close and learn as time passes, from the start until all is learned: what a killed process does on its return."""
    clock = VirtualClock(from_us(start_us))
    trainer.PAGE, closing.PAGE = 8, 5
    engine = Engine(Store(url), ATTRIBUTES, Routes.to(Notes()), clock=clock, ids=IdSource(), worker="the only one")
    while clock.now() < from_us(end_us):
        clock.advance_to(clock.now() + timedelta(hours=3))
        engine.closing.close_due()
        engine.trainer.train_due()
    engine.close()


def test_a_trainer_killed_at_any_moments_ends_with_the_same_weights_to_the_byte(tmp_path: Path) -> None:
    if databases.kind() == "postgresql":
        return  # what it needs is a file that can be copied; on both databases it is `test_takeover` that kills
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.optimizer.test_trainer"])
    undisturbed, disturbed = tmp_path / "undisturbed.db", tmp_path / "disturbed.db"
    with Rig(campaign(groups=GROUPS), url=f"sqlite:///{undisturbed}") as rig:
        lived(rig, days=5)
        start_us, end_us = rig.now_us, rig.now_us + 10 * 24 * 3_600_000_000
    shutil.copy(undisturbed, disturbed)

    def started(path: Path) -> Any:  # noqa: ANN401 - a process of this context
        process = context.Process(target=_go_on, args=(f"sqlite:///{path}", start_us, end_us))
        process.start()
        return process

    ready = context.Process(target=int)
    ready.start()
    ready.join()  # so that what follows is not timed with the imports of the first process
    began = time.monotonic()
    whole = started(undisturbed)
    whole.join()
    took_s = time.monotonic() - began
    assert whole.exitcode == 0

    chance, killed = random.Random(1), 0
    while True:
        process = started(disturbed)
        # The first five times soon; then the longer it takes, the later it is killed, so that it comes to an end.
        process.join(took_s * chance.uniform(0.02, 0.15 + 0.04 * max(killed - 5, 0)))
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        killed += 1
    assert process.exitcode == 0
    assert killed >= 5
    first, second = (_latest(path) for path in (undisturbed, disturbed))
    assert first.learned > 60
    assert (first.body, first.resume, first.learned) == (second.body, second.resume, second.learned)
    assert (first.watermark_us, first.watermark_id) == (second.watermark_us, second.watermark_id)


def _latest(path: Path) -> SnapshotRow:
    with Store(f"sqlite:///{path}") as store:
        row = store.read(lambda c: snapshots.latest_snapshot(c, "default", "camp"))
    assert row is not None
    return row


# The order


def test_a_decision_that_closes_late_is_not_passed_over() -> None:
    with Rig(only("push")) as rig:
        early, late = rig.ask("c000"), rig.ask("c001")
        rig.tell("e1", "clicked", decision_id=early.decision_id)
        rig.execute("delete from open_decisions where decision_id = ?", early.decision_id)
        rig.pass_by(days=6)
        rig.execute(
            "insert into open_decisions select tenant, campaign_id, mature_us, decision_id from decisions "
            "where decision_id = ?",
            early.decision_id,
        )
        rig.execute("delete from open_decisions where decision_id = ?", late.decision_id)
        rig.execute(
            "insert into rewards select tenant, campaign_id, mature_us, decision_id, 0.0, true, '{}', 0 from decisions "
            "where decision_id = ?",
            late.decision_id,
        )
        assert rig.engine.trainer.train_due() == 0, "the one before it has not been closed yet"
        rig.engine.closing.close_due()
        assert rig.engine.trainer.train_due() == 2


@given(st.permutations(range(6)))
@settings(max_examples=3)
def test_the_order_is_that_of_maturity_and_id_whatever_the_order_of_the_events(order: list[int]) -> None:
    results = []
    for told in (sorted(order), order):
        with Rig(only("push")) as rig:
            made = [rig.ask(each, plan="gold").decision_id for each in rig.customers(6)]
            for number in told:
                rig.tell(f"e{number}", "purchased", decision_id=made[number], fields={"amount": number})
            rig.settle()
            results.append(published(rig))
    assert results[0] == results[1]


def test_nothing_new_publishes_nothing() -> None:
    with Rig(only("push")) as rig:
        rig.ask()
        rig.settle()
        before = rig.dump("snapshots")
        assert len(before["snapshots"]) == 1
        rig.settle()
        rig.restart()
        rig.jobs()
        assert rig.dump("snapshots") == before


# Versions


def test_new_features_start_a_new_learner_from_the_whole_log_with_decisions_of_older_versions_and_other_arms() -> None:
    old = campaign(groups=GROUPS)
    catalog: dict[str, Any] = {
        "messages": [message("new", "sms", "email"), message("hello", "email")],
        "channels": [{"id": "sms", "cost": 0.5}, {"id": "email", "cost": 0.01}],
    }
    new = campaign(features=[*FEATURES, CITIES], catalog=catalog)
    assert old.learner_key != new.learner_key
    with Rig(old) as rig:
        rig.engine.put_customers([Customer(f"c{i}", {"city": "Oslo" if i % 2 else "Rome"}) for i in range(40)])
        lived(rig, days=2)
        rig.settle()
        first = published(rig)
        rig.engine.load_campaign(new)
        made = rig.ask("c1")
        assert (made.snapshot_id, made.propensity) == (None, 1 / 4), (
            "uniform while the new learner has nothing to serve"
        )
        rig.jobs()
        row = rig.snapshot()
        assert row is not None
        assert (row.learner_key, row.learned) == (new.learner_key, first[2])
        assert "Oslo" in str(Snapshot.loads(row.body).vocabulary)
        assert rig.ask("c2").snapshot_id == row.snapshot_id
        rig.engine.load_campaign(old)
        rig.settle()
        again = rig.snapshot()
        assert again is not None
        assert (again.learner_key, again.learned) == (old.learner_key, first[2] + 2), "the old learner goes on"
        assert rig.engine.verify_campaign("camp")[1] == []


def test_a_new_learner_equals_one_that_was_there_from_the_start() -> None:
    crossed = campaign(policy={"kind": "uniform", "crosses": [["plan", "message"], ["age", "channel"]]})
    results = []
    for loaded in (crossed, campaign(policy={"kind": "uniform"})):
        with Rig(loaded) as rig:
            lived(rig, days=2)
            rig.settle()
            rig.engine.load_campaign(crossed)
            rig.jobs()
            results.append(published(rig))
    assert results[0] == results[1]


def test_new_arms_keep_the_learner() -> None:
    old, new = campaign(), campaign(catalog=with_another_channel())
    assert old.learner_key == new.learner_key
    with Rig(old) as rig:
        lived(rig, days=2)
        rig.settle()
        before = published(rig)
        rig.engine.load_campaign(new)
        made = rig.ask("c1")
        row = rig.snapshot()
        assert row is not None
        assert made.snapshot_id == row.snapshot_id, "the model serves the new arms too"
        assert rig.engine.explain(made.decision_id).candidates[2].arm.channel == "sms"
        lived_on(rig)
        rig.settle()
        assert published(rig)[2] == before[2] + 21
        assert rig.engine.verify_campaign("camp")[1] == []
        results = [published(rig)]
        rig.execute("delete from snapshots")
        rig.restart()
        rig.jobs()
        results.append(published(rig))
        assert results[0] == results[1], "learning it all at once under the new version gives the same"


def lived_on(rig: Rig) -> None:
    for number in range(20):
        made = rig.ask(f"c{number}", f"later-{number}")
        rig.engine.record([EventIn(f"later-{number}", "clicked", decision_id=made.decision_id)] * (number % 2))
        rig.pass_by(minutes=50)


def with_another_channel() -> dict[str, Any]:
    return {
        "messages": [message("hello", "email", "push", "sms"), message("more", "sms", "push")],
        "channels": [
            {"id": "email", "cost": 0.01},
            {"id": "push", "cost": 0.02, "dispatch": "caller"},
            {"id": "sms", "cost": 0.3},
        ],
    }


def test_only_treatment_and_random_control_are_learned_though_all_groups_have_the_same_candidates() -> None:
    with Rig(campaign(groups=GROUPS)) as rig:
        lived(rig)
        rig.settle()
        log = rig.log()
        assert {row.group_name for row in log} == {"treatment", "random_control", "bau", "holdout"}
        assert len({(row.candidates, row.removed) for row in log}) == 1
        learned = {key for key, (_, learn, _) in rig.rewards().items() if learn}
        assert learned == {row.decision_id for row in log if row.group_name in {"treatment", "random_control"}}
        assert published(rig)[2] == len(learned)


def test_a_resume_file_that_cannot_be_read_is_made_anew_from_the_log() -> None:
    with Rig(campaign()) as rig:
        lived(rig, days=2)
        rig.settle()
        rig.ask("one more")
        before = published(rig)
        rig.execute("update snapshots set resume = ?", b"not a zip file")
        rig.restart()
        rig.settle()
        assert published(rig)[2] == before[2] + 1
