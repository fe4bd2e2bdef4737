from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from optimizer.store import Store
from optimizer.store.decisions import insert_decisions
from optimizer.store.events import (
    count_parked,
    events_by_ids,
    events_naming_decisions,
    events_naming_requests,
    events_of_subjects,
    insert_events,
    park_events,
    take_parked,
)
from tests.optimizer.store.example import decision, event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from optimizer.store.rows import EventRow


def insert(store: Store, *rows: EventRow) -> set[str]:
    return store.write(lambda connection: insert_events(connection, rows))


def ids(rows: Iterable[EventRow]) -> list[str]:
    return sorted(row.event_id for row in rows)


@given(batches=st.lists(st.lists(st.sampled_from("abcdef"), max_size=8), max_size=6))
def test_an_event_is_new_once_however_often_and_in_whatever_batches_it_comes(batches: list[list[str]]) -> None:
    with Store("sqlite://") as store:
        first: dict[str, int] = {}
        for n, batch in enumerate(batches):
            rows = [event(name, received_us=n) for name in batch]
            expected = set(batch) - set(first)
            assert insert(store, *rows) == expected
            first |= dict.fromkeys(expected, n)
        found = store.read(lambda connection: events_by_ids(connection, "default", "abcdef"))
        assert {name: row.received_us for name, row in found.items()} == first


def test_events_are_found_by_what_they_name(store: Store) -> None:
    insert(
        store,
        event("decision", decision_id="d", campaign_id="camp", request_id="r", subject_id="s"),
        event("request", campaign_id="camp", request_id="r", subject_id="s"),
        event("other campaign", campaign_id="other", request_id="r"),
        event("subject", subject_id="s", occurred_us=10),
        event("earlier", subject_id="s", occurred_us=9),
    )
    assert ids(store.read(lambda c: events_naming_decisions(c, "default", ["d"]))) == ["decision"]
    assert ids(store.read(lambda c: events_naming_requests(c, "default", "camp", ["r"]))) == ["request"]
    found = store.read(lambda c: events_of_subjects(c, "default", ["s"], since_us=10, until_us=10))
    assert ids(found) == ["subject"]
    assert store.read(lambda c: events_naming_decisions(c, "other", ["d"])) == []


def test_a_parked_event_is_taken_once_by_the_decision_it_names(store: Store) -> None:
    rows = [
        event("by request", campaign_id="camp", request_id="r", received_us=2),
        event("by id", decision_id="d", received_us=1),
        event("of another", campaign_id="other", request_id="r"),
        event("of none", decision_id="unknown"),
    ]
    insert(store, *rows)
    store.write(lambda c: park_events(c, rows))
    store.write(lambda c: park_events(c, rows))
    assert store.read(lambda c: count_parked(c, "default")) == 4
    made = [decision("d", request_id="r"), decision("e", request_id="q"), decision("f")]
    store.write(lambda c: insert_decisions(c, made))
    assert [row.event_id for row in store.write(lambda c: take_parked(c, "default", made))] == ["by id", "by request"]
    assert store.write(lambda c: take_parked(c, "default", made)) == []
    assert store.read(lambda c: count_parked(c, "default")) == 2
