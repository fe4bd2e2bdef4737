"""The closed loop goes round: what is decided is sent, answered, closed and learned, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from optimizer.errors import InvalidInput
from optimizer.store import events, rewards, touches
from optimizer.store.tables import metadata
from simulator.loop import ClosedLoop
from simulator.worlds import FactorialConfig, FactorialWorld
from tests.simulator.factory import ATTRIBUTES, FACTORIAL, STARTS, ending, log, rehearsed

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = 3


@pytest.fixture(scope="module")
def finished() -> Iterator[ClosedLoop]:
    """Three runs over 200 people, and then time enough for every window to close."""
    loop = rehearsed(days=11, campaign=ending(STARTS + timedelta(days=5)))
    yield loop
    loop.close()


def everything(loop: ClosedLoop) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, but for that which says what processes there are."""
    tables = [table for table in metadata.sorted_tables if table.name != "leases"]
    return loop.engine.runtime.store.read(
        lambda c: {t.name: sorted(map(tuple, c.execute(t.select())), key=repr) for t in tables}
    )


def test_same_seed_same_log_to_the_byte_and_another_seed_another_one() -> None:
    first, again, other = (rehearsed(days=3, customers=40, seed=seed) for seed in (1, 1, 2))
    tables = everything(first)
    assert tables == everything(again)
    assert all(tables[name] for name in ("decisions", "events", "rewards", "snapshots", "touch_transitions", "ledger"))
    assert {row.subject_id for row in log(first)}.isdisjoint(row.subject_id for row in log(other))
    assert [row.arm for row in log(first)] != [row.arm for row in log(other)]


def test_every_customer_is_decided_once_a_run(finished: ClosedLoop) -> None:
    rows = log(finished)
    assert len(rows) == 200 * RUNS == finished.decided
    assert set(Counter(row.occasion for row in rows).values()) == {200}
    assert len({(row.subject_id, row.occasion) for row in rows}) == len(rows)


def test_every_decision_is_closed_in_the_end_and_all_that_may_be_are_learned(finished: ClosedLoop) -> None:
    rows, runtime = log(finished), finished.engine.runtime
    closed = runtime.store.read(lambda c: rewards.rewards_by_ids(c, runtime.tenant, [row.decision_id for row in rows]))
    assert len(closed) == len(rows)
    learnable = [row for row in rows if row.group_name in {"treatment", "random_control"}]
    report = finished.engine.campaign(FACTORIAL.id)
    assert (report.waiting, report.left_out, report.learned) == (0, 0, len(learnable))


def test_every_planned_touch_is_sent_once_in_its_window(finished: ClosedLoop) -> None:
    rows, runtime = log(finished), finished.engine.runtime
    planned = [row.decision_id for row in rows if row.send_us is not None]
    known = runtime.store.read(lambda c: touches.touches_by_ids(c, runtime.tenant, planned))
    assert set(known) == set(planned)
    assert len(planned) > 400
    for touch in known.values():
        states = [
            t.state
            for t in runtime.store.read(lambda c, t=touch: touches.transitions_of(c, runtime.tenant, t.decision_id))  # type: ignore[misc]
        ]
        assert states.count("sent") == 1
        assert touch.sent_us is not None
        assert touch.send_us <= touch.sent_us < touch.expires_us


def test_whatever_happened_is_an_event_and_every_conversion_in_time_a_reward(finished: ClosedLoop) -> None:
    rows, runtime = log(finished), finished.engine.runtime
    subjects = {row.subject_id for row in rows}
    loose = runtime.store.read(
        lambda c: events.events_of_subjects(c, runtime.tenant, subjects, since_us=0, until_us=2**62)
    )
    named = runtime.store.read(
        lambda c: events.events_naming_decisions(c, runtime.tenant, [row.decision_id for row in rows])
    )
    assert {event.name for event in loose} == {"converted"}
    assert {event.name for event in named} <= {"opened", "unsubscribed"}
    assert len(loose) + len(named) == finished.happened > 100
    closed = runtime.store.read(lambda c: rewards.rewards_by_ids(c, runtime.tenant, [row.decision_id for row in rows]))
    # Windows of decisions two days apart do not overlap: a decision has earned 1 if its customer converted within it.
    earned = {row.decision_id for row in rows if closed[row.decision_id].reward == 1.0}
    inside = {
        row.decision_id
        for row in rows
        for event in loose
        if event.subject_id == row.subject_id and row.decided_us <= event.occurred_us <= row.close_us
    }
    assert earned == inside
    assert earned


def test_true_values_are_those_of_the_states_that_were_decided_in(finished: ClosedLoop) -> None:
    rows, measured = log(finished), finished.measured
    assert measured.decided_us.tolist() == [row.decided_us for row in rows]
    assert measured.group.tolist() == [row.group_name for row in rows]
    assert (measured.best >= measured.chosen).all()
    assert (measured.best > measured.uniform).all()
    # In the first run nobody has a history: the values are those of the bare world.
    fresh = FactorialWorld(FactorialConfig(), 200, 1)
    nothing = {
        "touches_7d": np.zeros(200),
        "hours_since_last_touch": np.full(200, np.nan),
        "hours_since_last_touch_on_channel": np.full((200, 4), np.nan),
        "last_message": np.full(200, None, object),
    }
    expected = fresh.expected(np.arange(200), nothing)
    np.testing.assert_allclose(np.sort(measured.best[:200]), np.sort(expected.max(axis=1)))
    np.testing.assert_allclose(np.sort(measured.uniform[:200]), np.sort(expected.mean(axis=1)))


def test_a_snapshot_learned_from_one_run_decides_the_next(finished: ClosedLoop) -> None:
    snapshots = {row.occasion: row.snapshot_id for row in log(finished)}
    first, *later = [snapshots[occasion] for occasion in sorted(snapshots, key=str)]
    assert first is None
    assert None not in later
    assert len(set(later)) == RUNS - 1


def test_a_campaign_with_other_arms_than_the_world_is_refused() -> None:
    world = FactorialWorld(FactorialConfig(), 10, 1)
    data = FACTORIAL.model_dump(mode="json", by_alias=True)
    data["catalog"]["messages"] = data["catalog"]["messages"][::-1]
    with pytest.raises(InvalidInput, match=r"'factorial' has other arms than the factorial world, or in another order"):
        ClosedLoop(type(FACTORIAL).model_validate(data), ATTRIBUTES, world, seed=1, starts=STARTS)
