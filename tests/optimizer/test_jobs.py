"""The jobs where something goes wrong: one campaign's trouble is its own, and nothing is learned twice or lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import structlog

from optimizer.campaign import CampaignFile
from optimizer.clock import VirtualClock
from optimizer.config import load_attributes
from optimizer.decisions import Decision, DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import FileSender
from optimizer.engine import Engine
from optimizer.errors import Unavailable
from optimizer.ids import IdSource
from optimizer.recording import EventIn
from optimizer.snapshot import Snapshot
from optimizer.store import Store, snapshots
from optimizer.store.customers import Customer
from tests.optimizer.example import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

pytestmark = pytest.mark.databases

START = datetime(2026, 1, 12, tzinfo=UTC)
DAYS = timedelta(days=3)


def campaign(campaign_id: str, name: str = "first version") -> CampaignFile:
    return CampaignFile.model_validate(
        {
            "version": 1,
            "campaign": {"id": campaign_id, "name": name, "starts_at": "2026-01-01T00:00:00Z"},
            "features": [{"name": "plan", "bucket": "customer", "type": "category"}],
            "catalog": {"messages": [{"id": "a"}, {"id": "b"}]},
            "reward": {"lateness": "0s", "events": [{"name": "clicked", "value": 1, "window": "1d"}]},
        }
    )


def counting() -> IdSource:
    """The same ids in every engine."""
    made = iter(range(1, 1 << 30))
    return IdSource(lambda n: next(made).to_bytes(n, "big"))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


def make(folder: Path, clock: VirtualClock, store: Store) -> Engine:
    engine = Engine(store, load_attributes(ATTRIBUTES), Routes.to(FileSender(folder)), clock=clock, ids=counting())
    for campaign_id in ("c1", "c2"):
        engine.load_campaign(campaign(campaign_id))
    return engine


@pytest.fixture
def engine(tmp_path: Path, clock: VirtualClock) -> Iterator[Engine]:
    with Store("sqlite://") as store:
        yield make(tmp_path, clock, store)


def decide(engine: Engine, campaign_id: str, names: range) -> list[Decision]:
    plans = ("free", "gold")
    asked = [DecisionRequest(campaign_id, f"p{i}", f"q{i}", {"plan": plans[i % 2]}) for i in names]
    made = [answer for answer in engine.decide(asked) if isinstance(answer, Decision)]
    clicks = [d for d in made if d.arm and d.arm.message == "a"]
    engine.record([EventIn(f"{d.decision_id}-click", "clicked", decision_id=d.decision_id) for d in clicks])
    return made


def change(engine: Engine, statement: str, *values: object) -> None:
    def run(connection: Connection) -> None:
        connection.exec_driver_sql(statement, values)

    engine.runtime.store.write(run)


def newest(engine: Engine, campaign_id: str) -> Snapshot | None:
    row = engine.runtime.store.read(lambda c: snapshots.latest_snapshot(c, engine.runtime.tenant, campaign_id))
    return Snapshot.loads(row.body) if row else None


def two_versions(engine: Engine) -> str:
    """Decisions of two versions of c1, and of c2; the id of one of the second version."""
    decide(engine, "c1", range(40))
    engine.load_campaign(campaign("c1", "second version"))
    [*_, last] = decide(engine, "c1", range(40, 60))
    decide(engine, "c2", range(10))
    return last.decision_id


def test_a_campaign_that_cannot_be_learned_holds_up_no_other_and_nothing_is_learned_twice(
    engine: Engine, clock: VirtualClock, tmp_path: Path
) -> None:
    """The failure comes after a part of the page was learned; once it is gone, the model is what it would have been."""
    broken = two_versions(engine)
    change(engine, "update decisions set context = 'no JSON ' || context where decision_id = ?", broken)
    clock.advance_to(START + DAYS)
    engine.closing.close_due()
    for _ in range(2):
        with pytest.raises(ExceptionGroup):
            engine.trainer.train_due()
    assert newest(engine, "c1") is None
    other = newest(engine, "c2")
    assert other is not None
    assert other.events == 10
    change(engine, "update decisions set context = substr(context, 9) where decision_id = ?", broken)
    assert engine.trainer.train_due() == 60

    with Store("sqlite://") as store:
        undisturbed = make(tmp_path, VirtualClock(START), store)
        two_versions(undisturbed)
        assert isinstance(undisturbed.runtime.clock, VirtualClock)
        undisturbed.runtime.clock.advance_to(START + DAYS)
        undisturbed.closing.close_due()
        assert undisturbed.trainer.train_due() == 70
        expected = newest(undisturbed, "c1")
    learned = newest(engine, "c1")
    assert learned is not None
    assert expected is not None
    assert learned.dumps() == expected.dumps()


def test_a_learner_that_cannot_be_read_is_learned_again_from_the_log(
    engine: Engine, clock: VirtualClock, tmp_path: Path
) -> None:
    two_versions(engine)
    clock.advance_to(START + DAYS)
    engine.closing.close_due()
    engine.trainer.train_due()
    learned = newest(engine, "c1")
    assert learned is not None
    change(engine, "update snapshots set body = 'no model', resume = 'no model' where campaign_id = 'c1'")
    attributes = load_attributes(ATTRIBUTES)
    with structlog.testing.capture_logs() as logged:
        restarted = Engine(
            engine.runtime.store,
            attributes,
            Routes.to(FileSender(tmp_path)),
            clock=clock,
            worker=engine.leases.worker,
        )
        assert list(restarted.serving.faults) == ["c1"]
        restarted.refresh()
        assert restarted.trainer.train_due() == 60
    events = [line["event"] for line in logged]
    assert events == ["snapshot_unreadable", "leases_changed", "learner_unreadable", "snapshot_published"]
    assert restarted.serving.faults == {}
    again = newest(restarted, "c1")
    assert again is not None
    assert again.dumps() == learned.dumps()


def test_a_decision_whose_model_cannot_be_read_is_told_from_one_that_holds(engine: Engine, clock: VirtualClock) -> None:
    two_versions(engine)
    clock.advance_to(START + DAYS)
    engine.closing.close_due()
    engine.trainer.train_due()
    [later] = decide(engine, "c1", range(100, 101))
    assert all(check.holds for check in engine.verify(later.decision_id))
    change(engine, "update snapshots set body = 'no model' where snapshot_id = ?", later.snapshot_id)
    count, failed = engine.verify_campaign("c1")
    assert (count, [decision_id for decision_id, _ in failed]) == (61, [later.decision_id])
    assert any("cannot be read" in check.detail for check in failed[0][1])


def test_a_run_that_several_go_through_at_once_counts_everybody_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a command does beside the service's own job."""
    monkeypatch.setattr("optimizer.runs.PAGE", 5)
    engine.put_customers([Customer(f"p{i:03}", {"plan": "gold"}, None, {}, {}) for i in range(200)])
    with ThreadPoolExecutor(4) as several:
        done = list(several.map(lambda _: engine.run("c1", "o"), range(4)))
    assert [(run.state, run.decided) for run in done] == [("finished", 200)] * 4
    assert engine.campaign("c1").decisions == 200


def test_a_run_ends_at_a_page_when_the_service_stops_and_goes_on_when_it_is_started_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizer.runs.PAGE", 10)
    engine.put_customers([Customer(f"p{i:03}", {"plan": "gold"}, None, {}, {}) for i in range(100)])
    engine.stop()
    with pytest.raises(Unavailable, match="goes on when it is started again"):
        engine.run("c1", "o")
    engine.runtime.stopping.clear()
    assert engine.run("c1", "o").decided == 100
