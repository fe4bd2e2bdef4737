from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import IntegrityError

from optimizer.store.decisions import (
    count_decisions,
    decided_subjects,
    decision_by_id,
    decision_page,
    decisions_by_ids,
    decisions_by_requests,
    due_closes,
    heads_by_ids,
    heads_by_requests,
    heads_of_subjects,
    insert_decisions,
    insert_voids,
    next_mature_us,
    void_causes,
)
from tests.optimizer.store.example import decision

if TYPE_CHECKING:
    from optimizer.store import Store
    from optimizer.store.rows import DecisionRow


def insert(store: Store, *rows: DecisionRow) -> None:
    store.write(lambda connection: insert_decisions(connection, rows))


def test_a_decision_comes_back_as_it_was_stored(store: Store) -> None:
    row = decision("a", request_id="r", request_hash="h", reason=None, snapshot_id="s", context='{"x":1}')
    insert(store, row, decision("b", arm=None, propensity=None, send_us=None, expires_us=None, reason="holdout"))
    assert store.read(lambda c: decision_by_id(c, "default", "a")) == row
    assert store.read(lambda c: decision_by_id(c, "default", "none")) is None
    assert store.read(lambda c: decision_by_id(c, "other", "a")) is None
    assert store.read(lambda c: heads_by_ids(c, "default", ["b"]))["b"].reason == "holdout"
    assert store.read(lambda c: count_decisions(c, "default", "camp")) == 2


def test_more_ids_than_one_statement_takes_are_all_found(store: Store) -> None:
    ids = [f"d{n:05}" for n in range(2500)]
    insert(store, *(decision(name, request_id=name) for name in ids))
    assert list(store.read(lambda c: decisions_by_ids(c, "default", [*ids, *ids, "none"]))) == ids
    assert list(store.read(lambda c: heads_by_requests(c, "default", "camp", ids))) == ids


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"decision_id": "a"}, {"decision_id": "a"}),
        ({"request_id": "r"}, {"request_id": "r"}),
        ({"occasion": "run"}, {"occasion": "run"}),
    ],
)
def test_a_taken_key_appends_nothing(store: Store, first: dict[str, Any], second: dict[str, Any]) -> None:
    insert(store, decision("a")._replace(**first))
    with pytest.raises(IntegrityError):
        insert(store, decision("c"), decision("b")._replace(**second))
    assert store.read(lambda c: count_decisions(c, "default", "camp")) == 1


def test_requests_and_occasions_are_found_again(store: Store) -> None:
    insert(
        store,
        decision("a", request_id="r1"),
        decision("b", occasion="run-1", subject_id="s1"),
        decision("c", occasion="run-2", subject_id="s2"),
    )
    found = store.read(lambda c: decisions_by_requests(c, "default", "camp", ["r1", "r2"]))
    assert {request: row.decision_id for request, row in found.items()} == {"r1": "a"}
    assert store.read(lambda c: decisions_by_requests(c, "default", "other", ["r1"])) == {}
    subjects = ["s1", "s2", "s3"]
    assert store.read(lambda c: decided_subjects(c, "default", "camp", "run-1", subjects)) == {"s1": "b"}


def test_decisions_of_subjects_come_in_the_order_of_time(store: Store) -> None:
    insert(
        store,
        decision("late", subject_id="s", decided_us=30),
        decision("edge", subject_id="s", decided_us=10),
        decision("early", subject_id="s", decided_us=9),
        decision("other", subject_id="t", decided_us=20),
    )
    heads = store.read(lambda c: heads_of_subjects(c, "default", ["s"], since_us=10, until_us=30))
    assert [head.decision_id for head in heads] == ["edge", "late"]
    none = store.read(lambda c: heads_of_subjects(c, "default", ["s"], since_us=10, until_us=30, campaign_id="another"))
    assert none == []


def test_the_log_is_read_in_pages_without_gap_or_repeat(store: Store) -> None:
    names = [f"d{n}" for n in range(7)]
    insert(store, *(decision(name, mature_us=100 - n // 3) for n, name in enumerate(names)))
    seen: list[DecisionRow] = []
    after = ""
    while page := store.read(partial(decision_page, tenant="default", campaign_id="camp", after_id=after, limit=2)):
        seen += page
        after = seen[-1].decision_id
    assert [row.decision_id for row in seen] == names


def test_decisions_close_in_the_order_of_their_maturity(store: Store) -> None:
    assert store.read(lambda c: next_mature_us(c, "default", "camp")) is None
    insert(store, decision("b", mature_us=5), decision("a", mature_us=5), decision("c", mature_us=6))
    due = store.read(lambda c: due_closes(c, "default", "camp", 5, 10))
    assert [head.decision_id for head in due] == ["a", "b"]
    assert store.read(lambda c: len(due_closes(c, "default", "camp", 9, 1))) == 1
    assert store.read(lambda c: next_mature_us(c, "default", "camp")) == 5


def test_a_void_decision_keeps_its_first_cause(store: Store) -> None:
    insert(store, decision("a"), decision("b"))
    store.write(lambda c: insert_voids(c, "default", {"a": "campaign_paused"}, 1))
    store.write(lambda c: insert_voids(c, "default", {"a": "outage"}, 2))
    assert store.read(lambda c: void_causes(c, "default", {"a": 9, "b": 9})) == {"a": "campaign_paused"}
