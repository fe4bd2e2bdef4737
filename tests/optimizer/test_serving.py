"""Deciding never waits for a model: the last good snapshot stays, and without any the draw is uniform."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer import scorer
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from optimizer.registry import digest_of
from optimizer.store.customers import Customer
from tests.optimizer.engine_example import ATTRIBUTES, FEATURES, SLOTS, Rig, campaign

pytestmark = pytest.mark.databases


def taught(rig: Rig) -> str:
    """Let the campaign learn and publish; the snapshot's id."""
    for each in rig.customers(12, plan="gold"):
        made = rig.ask(each, f"{each} {rig.now_us}")
        rig.tell(f"{each} {rig.now_us}", "clicked", decision_id=made.decision_id)
    rig.settle()
    row = rig.snapshot()
    assert row is not None
    return row.snapshot_id


def beside(rig: Rig) -> Engine:
    """Another process on the same database, which takes the work over."""
    return Engine(rig.store, ATTRIBUTES, Routes.to(rig.sender), clock=rig.clock, worker=rig.engine.leases.worker)


def test_without_a_model_the_draw_is_uniform_and_with_one_it_is_the_policys() -> None:
    with Rig(campaign(policy={"kind": "greedy"})) as rig:
        before = rig.ask("c000")
        assert (before.snapshot_id, before.propensity) == (None, 1 / 5)
        newest = taught(rig)
        after = rig.ask("c000")
        assert (after.snapshot_id, after.propensity) == (newest, 1.0)


@pytest.mark.parametrize("body", [b"", b"not a zip file", None], ids=["empty", "nonsense", "of other features"])
@pytest.mark.parametrize("restart", [False, True], ids=["going on", "after a restart"])
def test_a_snapshot_that_cannot_be_read_leaves_the_last_good_one_and_is_told(
    body: bytes | None, *, restart: bool
) -> None:
    if body is None:
        with Rig(campaign(features=FEATURES[:1])) as other:
            taught(other)
            row = other.snapshot()
            assert row is not None
            body = row.body
    with Rig(campaign()) as rig:
        good = taught(rig)
        newest = rig.snapshot()
        assert newest is not None
        broken = newest._replace(snapshot_id="broken", published_us=newest.published_us + 1, body=body)
        rig.publish(broken._replace(digest=digest_of(body), resume_digest=None, resume=None))
        if restart:
            rig.restart()
        rig.engine.refresh()
        assert rig.ask("c000").snapshot_id == good
        fault = rig.engine.campaign("camp").fault
        assert fault is not None
        assert "broken" in fault
        rig.pass_by(minutes=1)
        newer = taught(rig)
        assert newer != good
        assert rig.ask("c001").snapshot_id == newer
        rig.engine.refresh()
        assert rig.engine.campaign("camp").fault is None


def test_where_no_snapshot_can_be_read_the_draw_is_uniform() -> None:
    with Rig(campaign()) as rig:
        taught(rig)
        rig.execute("update snapshots set body = ?", b"gone")
        rig.restart()
        made = rig.ask("c000")
        assert (made.snapshot_id, made.propensity) == (None, 1 / 5)
        assert rig.engine.campaign("camp").fault is not None


def test_what_another_process_publishes_is_served_after_a_refresh() -> None:
    with Rig(campaign()) as rig:
        idle = rig.engine
        rig.engine = beside(rig)
        newest = taught(rig)
        busy, rig.engine = rig.engine, idle
        assert rig.ask("c000").snapshot_id is None
        idle.refresh()
        assert rig.ask("c000").snapshot_id == newest
        assert idle.campaign("camp").learned == busy.campaign("camp").learned == 12


@pytest.mark.parametrize("who", ["its own trainer", "another process"])
def test_a_new_snapshot_is_compiled_for_what_is_in_use_before_it_is_served(
    monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """So that no decision waits for that: here in two zones, whose slots fall on different days."""
    made: list[object] = []

    class Noting(scorer.Compiled):
        def __init__(self, *parts: Any) -> None:  # noqa: ANN401 - as it is
            made.append(self)
            super().__init__(*parts)

    monkeypatch.setattr(scorer, "Compiled", Noting)
    slots = campaign(catalog={**campaign().model_dump(by_alias=True)["catalog"], "timing": SLOTS})
    with Rig(slots) as rig:
        rig.engine.put_customers(
            [Customer("west", timezone="Pacific/Honolulu"), Customer("east", timezone="Asia/Tokyo")]
        )
        taught(rig)
        first = [rig.ask(each).snapshot_id for each in ("west", "east")]
        serving = rig.engine
        rig.pass_by(days=14 - 9)  # with what it takes to learn, two weeks: the weekdays are the same
        if who == "another process":
            rig.engine = beside(rig)
        newest = taught(rig)
        rig.engine = serving
        serving.refresh()
        compiled = len(made)
        assert [rig.ask(each).snapshot_id for each in ("west", "east")] == [newest] * 2 != first
        assert len(made) == compiled
