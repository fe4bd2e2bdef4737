"""A changed reward, applied to the past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from optimizer.attributes import Attributes
from optimizer.campaign import CampaignFile
from optimizer.clock import VirtualClock
from optimizer.decisions import Decision, DecisionRequest
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.ids import IdSource
from optimizer.recording import EventIn
from optimizer.store import Store, rewards

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from optimizer.dispatch.senders import Outcome, Outgoing

pytestmark = pytest.mark.databases

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


class Nobody:
    batch = 1
    needs_address = False

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        raise AssertionError(touches)


def campaign(value: float, window: str = "1h") -> CampaignFile:
    return CampaignFile.model_validate(
        {
            "version": 1,
            "campaign": {"id": "web", "name": "Web", "starts_at": "2026-01-01T00:00:00Z"},
            "catalog": {"messages": [{"id": "a"}, {"id": "b"}]},
            "reward": {"lateness": "1m", "events": [{"name": "bought", "value": value, "window": window}]},
        }
    )


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def engine(clock: VirtualClock) -> Iterator[Engine]:
    ids = IdSource(np.random.default_rng(5).bytes)
    made = Engine(Store("sqlite://"), Attributes(), Routes.to(Nobody()), clock=clock, ids=ids)
    yield made
    made.close()


def decide(engine: Engine, n: int) -> list[Decision]:
    asked = engine.decide([DecisionRequest("web", f"c{i}", f"r{i}") for i in range(n)])
    answers = [answer for answer in asked if isinstance(answer, Decision)]
    assert len(answers) == n
    return answers


def earned(engine: Engine, decided: Sequence[Decision]) -> list[float | None]:
    ids = [decision.decision_id for decision in decided]
    rows = engine.runtime.store.read(lambda c: rewards.rewards_by_ids(c, "default", ids))
    return [rows[i].reward if i in rows else None for i in ids]


def settle(engine: Engine, clock: VirtualClock, after: timedelta) -> None:
    clock.advance_to(clock.now() + after)
    engine.closing.close_due()
    engine.trainer.train_due()


def test_a_changed_reward_leaves_the_past_alone_until_it_is_applied_to_it(engine: Engine, clock: VirtualClock) -> None:
    engine.load_campaign(campaign(1.0))
    decided = decide(engine, 4)
    engine.record([EventIn("e0", "bought", decision_id=decided[0].decision_id)])
    settle(engine, clock, timedelta(hours=2))
    assert earned(engine, decided) == [1.0, 0.0, 0.0, 0.0]
    engine.load_campaign(campaign(5.0))
    settle(engine, clock, timedelta(hours=2))
    assert earned(engine, decided) == [1.0, 0.0, 0.0, 0.0]
    engine.rejoin("web")
    settle(engine, clock, timedelta(seconds=5))
    assert earned(engine, decided) == [5.0, 0.0, 0.0, 0.0]
    assert engine.campaign("web").learned == 4


def test_a_longer_window_waits_for_its_end_and_then_counts_what_came_in_it(engine: Engine, clock: VirtualClock) -> None:
    engine.load_campaign(campaign(1.0))
    decided = decide(engine, 2)
    settle(engine, clock, timedelta(hours=2))
    engine.record([EventIn("late", "bought", decision_id=decided[1].decision_id)])
    engine.load_campaign(campaign(1.0, window="1d"))
    engine.rejoin("web")
    settle(engine, clock, timedelta(hours=2))
    assert earned(engine, decided) == [None, None], "not yet is never no"
    settle(engine, clock, timedelta(days=1))
    assert earned(engine, decided) == [0.0, 1.0]


def test_the_old_model_serves_until_the_past_is_learned_anew(engine: Engine, clock: VirtualClock) -> None:
    engine.load_campaign(campaign(1.0))
    decide(engine, 3)
    settle(engine, clock, timedelta(hours=2))
    before = engine.campaign("web").snapshot_id
    engine.rejoin("web")
    engine.refresh()
    assert engine.campaign("web").snapshot_id == before
    settle(engine, clock, timedelta(seconds=5))
    assert engine.campaign("web").snapshot_id not in {before, None}
    [decision] = engine.decide([DecisionRequest("web", "c0", "again")])
    assert isinstance(decision, Decision)
    assert all(check.holds for check in engine.verify(decision.decision_id))
