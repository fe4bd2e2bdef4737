from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from optimizer.store.decisions import insert_decisions
from optimizer.store.touches import (
    TouchChange,
    due_touches,
    insert_touches,
    lost_leases,
    next_due_us,
    overdue_touches,
    touch_counts,
    touches_by_ids,
    transition,
    transitions_of,
)
from tests.optimizer.store.example import decision, touch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from optimizer.store import Store
    from optimizer.store.rows import TouchRow


def insert(store: Store, *rows: TouchRow) -> None:
    store.write(lambda c: insert_decisions(c, [decision(row.decision_id) for row in rows]))
    store.write(lambda c: insert_touches(c, rows, 0))


def ids(rows: Iterable[TouchRow]) -> list[str]:
    return [row.decision_id for row in rows]


def test_every_transition_is_kept_and_the_touch_stands_at_the_last(store: Store) -> None:
    insert(store, touch("a"), touch("b"))
    store.write(lambda c: transition(c, "default", [TouchChange("a", "leased", 1, None, "token", 99)]))
    leased = store.read(lambda c: touches_by_ids(c, "default", ["a"]))["a"]
    assert (leased.state, leased.lease_token, leased.lease_until_us) == ("leased", "token", 99)
    changes = [TouchChange("a", "sending", 2), TouchChange("b", "cancelled", 3, "paused"), TouchChange("a", "sent", 4)]
    store.write(lambda c: transition(c, "default", changes))
    store.write(lambda c: transition(c, "default", [TouchChange("a", "sent", 7), TouchChange("a", "opened", 8)]))
    found = store.read(lambda c: touches_by_ids(c, "default", ["a", "b"]))
    assert found["a"] == touch("a", state="opened", seq=5, sent_us=4)
    assert found["b"] == touch("b", state="cancelled", seq=1)
    history = store.read(lambda c: transitions_of(c, "default", "a"))
    assert [(row.seq, row.state, row.at_us) for row in history] == [
        (0, "planned", 0),
        (1, "leased", 1),
        (2, "sending", 2),
        (3, "sent", 4),
        (4, "sent", 7),
        (5, "opened", 8),
    ]
    assert [row.reason for row in store.read(lambda c: transitions_of(c, "default", "b"))] == [None, "paused"]
    assert store.read(lambda c: touch_counts(c, "default", "camp")) == {"cancelled": 1, "opened": 1}


def test_a_transition_of_an_unknown_touch_changes_nothing(store: Store) -> None:
    insert(store, touch("a"))
    with pytest.raises(KeyError):
        store.write(lambda c: transition(c, "default", [TouchChange("a", "sent", 1), TouchChange("b", "sent", 1)]))
    assert store.read(lambda c: touches_by_ids(c, "default", ["a"]))["a"] == touch("a")


def test_only_planned_touches_of_the_service_are_due_and_none_of_a_paused_campaign(store: Store) -> None:
    insert(
        store,
        touch("second", send_us=10),
        touch("first", send_us=9),
        touch("future", send_us=11),
        touch("sent", send_us=1, state="sent"),
        touch("callers", send_us=1, dispatch="caller"),
        touch("paused", send_us=1, campaign_id="paused"),
    )
    assert ids(store.write(lambda c: due_touches(c, "default", 10, 9, paused=["paused"]))) == ["first", "second"]
    assert ids(store.write(lambda c: due_touches(c, "default", 10, 1))) == ["paused"]


def test_touches_that_were_not_carried_out_in_time_are_found(store: Store) -> None:
    insert(
        store,
        touch("late", expires_us=5),
        touch("callers", expires_us=4, dispatch="caller"),
        touch("in time", expires_us=6),
        touch("lost", state="leased", lease_token="t", lease_until_us=5),  # noqa: S106 - a lease's name
        touch("held", state="sending", lease_token="t", lease_until_us=6),  # noqa: S106 - a lease's name
    )
    assert ids(store.read(lambda c: overdue_touches(c, "default", 5, 9))) == ["callers", "late"]
    assert ids(store.write(lambda c: lost_leases(c, "default", 5, 9))) == ["lost"]


def test_the_next_instant_to_act_is_a_send_of_ours_or_an_expiry_of_the_callers(store: Store) -> None:
    assert store.read(lambda c: next_due_us(c, "default")) is None
    insert(store, touch("callers", dispatch="caller", send_us=1, expires_us=7), touch("ours", send_us=8))
    assert store.read(lambda c: next_due_us(c, "default")) == 7
    store.write(lambda c: transition(c, "default", [TouchChange("callers", "expired", 7)]))
    assert store.read(lambda c: next_due_us(c, "default")) == 8
