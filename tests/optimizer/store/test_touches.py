from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from optimizer.store.decisions import insert_decisions
from optimizer.store.touches import (
    TouchChange,
    insert_touches,
    touch_counts,
    touches_by_ids,
    touches_page,
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
    assert found["a"] == touch("a", state="opened", seq=5, sent_us=4, due_us=7, attempts=1)
    assert found["b"] == touch("b", state="cancelled", seq=1, reason="paused")
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


def test_touches_are_listed_by_what_they_have_in_common_the_latest_decision_first(store: Store) -> None:
    rows = [
        touch("d", state="failed", channel="sms"),
        touch("c", reason="quiet_hours"),
        touch("b", campaign_id="other"),
    ]
    insert(store, *rows, touch("a", state="failed"), touch("e", dispatch="external"))

    def found(limit: int = 9, before_id: str | None = None, **of: Any) -> list[str]:  # noqa: ANN401 - any filter
        return ids(store.read(lambda c: touches_page(c, "default", limit=limit, before_id=before_id, **of)))

    assert found() == ["d", "c", "b", "a"]
    assert found(limit=2) == ["d", "c"]
    assert found(before_id="c") == ["b", "a"]
    assert found(state="failed") == ["d", "a"]
    assert found(state="failed", channel="sms") == ["d"]
    assert found(reason="quiet_hours") == ["c"]
    assert found(campaign_ids=["other", "more"]) == ["b"]
    assert found(campaign_ids=[]) == []
