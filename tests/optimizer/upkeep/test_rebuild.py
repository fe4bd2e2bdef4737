"""Whatever has happened, and whatever the tables say: a rebuild makes of the logs what was there before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.errors import Conflict
from optimizer.store.rows import TouchRow
from optimizer.upkeep.rebuild import Rebuild
from tests.optimizer.engine_example import ATTRIBUTES, ProcessDied, Rig, campaign, only
from tests.optimizer.test_engine import Service

if TYPE_CHECKING:
    from optimizer.upkeep.rebuild import Rebuilt

PROJECTIONS = (
    "touches",
    "ledger",
    "parked",
    "open_decisions",
    "request_keys",
    "occasion_keys",
    "event_keys",
    "rewards",
)


class Killed(Exception):
    """The process ended here."""


def rebuild(rig: Rig, *, restored: bool = False, dies_after: int | None = None) -> Rebuilt:
    """A rebuild, or as much of it as happens before it dies, so many pages and steps after its beginning."""
    told = 0

    def tell(_what: str, _done: int) -> None:
        nonlocal told
        told += 1
        if told == dies_after:
            raise Killed

    return Rebuild(rig.engine, tell=tell, restored=restored, wait=lambda _: None).run()


def projections(rig: Rig) -> dict[str, set[tuple[Any, ...]]]:
    """Every row of the projections.

    When a decision was closed, and when somebody is asked about a touch, is not in the logs, and no part of them.
    """
    found = rig.dump(*PROJECTIONS)
    found["rewards"] = {row[:-1] for row in found["rewards"]}
    touches = {TouchRow._make(row) for row in found["touches"]}
    found["touches"] = {row._replace(lease_until_us=None) if row.state == "unknown" else row for row in touches}
    return found


def expected(before: dict[str, set[tuple[Any, ...]]]) -> dict[str, set[tuple[Any, ...]]]:
    """What a rebuild makes of touches in hand, whose next transition it logs."""
    rows: set[tuple[Any, ...]] = set()
    for touch in map(TouchRow._make, before["touches"]):
        if touch.state in {"leased", "sending"}:
            lost = touch._replace(state="unknown", seq=touch.seq + 1, lease_token=None, lease_until_us=None)
            rows.add(lost._replace(reason="rebuilt"))
        else:
            rows.add(touch)
    return {**before, "touches": rows}


def wreck(rig: Rig) -> None:
    """The projections are lost, and there are rows that nothing stands for."""
    for name in PROJECTIONS:
        rig.execute(f"delete from {name}")  # noqa: S608 - names of tables
    rig.execute("insert into event_keys values ('default', 'stray', 'stray')")
    rig.execute("insert into request_keys values ('default', 'camp', 'stray', 'stray')")


class Rebuilding(Service):
    """The service of the engine's tests, which is rebuilt now and then."""

    @rule(wrecked=st.booleans(), dies_after=st.none() | st.integers(1, 6))
    def rebuild(self, wrecked: bool, dies_after: int | None) -> None:  # noqa: FBT001 - hypothesis calls it
        self.rig.engine.closing.close_due()
        self.rig.engine.trainer.train_due()
        before, snapshot = projections(self.rig), self.rig.snapshot()
        if wrecked:
            wreck(self.rig)
        if dies_after is not None:
            try:
                rebuild(self.rig, dies_after=dies_after)
            except Killed:
                self.rig.restart()
        done = rebuild(self.rig)
        assert projections(self.rig) == expected(before)
        if not wrecked:
            assert (done.projected.touches_changed, done.projected.ledgers_changed, done.strays) == (0, 0, 0)
        if snapshot is not None and done.models:
            assert [model.same for model in done.models] == [True]
            assert self.rig.snapshot() == snapshot, "nothing had to be published"


TestRebuilding = Rebuilding.TestCase
TestRebuilding.settings = settings(
    max_examples=30, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


# Examples, on both databases


@pytest.mark.databases
def test_what_was_being_sent_when_its_worker_died_is_unknown_and_what_was_planned_is_still_sent() -> None:
    with Rig(only("email")) as rig:
        sent, lost = rig.ask("c000"), rig.ask("c001")
        rig.sender.failure = ProcessDied()
        with pytest.raises(ProcessDied):
            rig.engine.outbox.dispatch_due()
        rig.sender.failure = None
        planned = rig.ask("c002")
        rig.restart()
        wreck(rig)
        assert rebuild(rig).projected.unknown == 2
        assert rig.sender.sent == [], "a rebuild never sends"
        rig.jobs()
        assert [touch.decision_id for touch in rig.sender.sent] == [planned.decision_id]
        assert (
            rig.states(sent.decision_id) == rig.states(lost.decision_id) == ["planned", "leased", "sending", "unknown"]
        )


@pytest.mark.databases
def test_after_a_backup_is_restored_what_has_been_due_since_is_taken_to_be_sent_perhaps() -> None:
    with Rig(only("email"), only("push", "other")) as rig:
        due, shown = rig.ask("c000"), rig.ask("c001", of="other")
        assert rebuild(rig).projected.unknown == 0
        assert rebuild(rig, restored=True).projected.unknown == 1
        rig.jobs()
        assert rig.sender.sent == []
        assert rig.states(due.decision_id) == ["planned", "unknown"]
        assert rig.states(shown.decision_id) == ["planned"], "its caller knows"
        rig.tell("e1", "opened", decision_id=due.decision_id)
        assert rig.states(due.decision_id) == ["planned", "unknown", "sent", "opened"]


@pytest.mark.databases
def test_rewards_and_weights_are_those_of_before_and_a_model_that_was_changed_is_told_and_replaced() -> None:
    with Rig(campaign(), campaign("other")) as rig:
        for each in rig.customers(60, plan="gold"):
            made = rig.ask(each)
            if made.arm is not None and made.arm.message == "hello":
                rig.tell(f"{each}-clicked", "clicked", decision_id=made.decision_id)
            rig.ask(each, of="other")
        rig.settle()
        before, snapshots = projections(rig), [rig.snapshot(of) for of in ("camp", "other")]
        wreck(rig)
        done = rebuild(rig)
        assert [(model.campaign_id, model.same) for model in done.models] == [("camp", True), ("other", True)]
        assert done.rewards == done.projected.decisions == 120
        assert done.strays == 2
        assert projections(rig) == before
        assert [rig.snapshot(of) for of in ("camp", "other")] == snapshots
        rig.execute("update snapshots set body = resume where campaign_id = 'camp'")
        assert [model.same for model in rebuild(rig).models] == [False, True]
        again = rig.snapshot()
        assert again is not None
        assert snapshots[0] is not None
        assert (again.body, again.resume) == (snapshots[0].body, snapshots[0].resume)


@pytest.mark.databases
def test_a_rebuild_is_refused_beside_a_worker_that_lives_and_not_beside_one_that_died() -> None:
    with Rig(campaign()) as rig:
        rig.ask()
        other = Engine(rig.store, ATTRIBUTES, Routes.to(rig.sender), clock=rig.clock)
        rebuilding = Rebuild(
            other, tell=lambda *_: None, wait=lambda _: rig.execute("update leases set beat = beat + 1")
        )
        rig.jobs()
        with pytest.raises(Conflict, match="is at work on this database"):
            rebuilding.run()
        Rebuild(other, tell=lambda *_: None, wait=lambda _: None).run()
