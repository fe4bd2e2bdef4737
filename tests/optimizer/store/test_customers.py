from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import orjson

from optimizer.store.customers import (
    Customer,
    audience_page,
    count_customers,
    customers_by_ids,
    customers_by_subjects,
    ensure_subjects,
    subjects_by_customers,
    upsert_customers,
)
from optimizer.store.ledgers import ledgers_by_subjects, put_ledgers

if TYPE_CHECKING:
    from optimizer.store import Store


def load(store: Store, *rows: Customer, now_us: int = 0, prefix: str = "s") -> None:
    numbers = count()
    store.write(lambda c: upsert_customers(c, "default", rows, now_us, lambda: f"{prefix}{next(numbers)}"))


def test_a_customer_keeps_the_subject_and_loses_earlier_facts(store: Store) -> None:
    load(store, Customer("anna", {"days": 1.0}, "UTC", {"email": "a"}, {"email": True}))
    load(store, Customer("anna", {"plan": "gold"}), now_us=7, prefix="new")
    row = store.read(lambda c: customers_by_ids(c, "default", ["anna", "bob"]))["anna"]
    assert row == ("default", "anna", "s0", '{"plan":"gold"}', None, "{}", "{}", True, 7)
    assert store.read(lambda c: customers_by_subjects(c, "default", ["s0"])) == {"s0": row}


def test_the_last_of_several_rows_of_one_customer_wins(store: Store) -> None:
    load(store, Customer("anna", {"days": 1.0}), Customer("anna", {"days": 2.0}))
    row = store.read(lambda c: customers_by_ids(c, "default", ["anna"]))["anna"]
    assert orjson.loads(row.attributes) == {"days": 2.0}
    assert store.read(lambda c: count_customers(c, "default")) == 1


def test_a_customer_who_was_only_named_is_no_audience_until_loaded(store: Store) -> None:
    numbers = count()
    load(store, Customer("anna"))
    found = store.write(lambda c: ensure_subjects(c, "default", ["bob", "anna", "bob"], 1, lambda: f"n{next(numbers)}"))
    assert found == {"anna": "s0", "bob": "n0"}
    assert store.write(lambda c: ensure_subjects(c, "default", ["bob"], 2, lambda: "x")) == {"bob": "n0"}
    assert [row.customer_id for row in store.write(lambda c: audience_page(c, "default", "", 9))] == ["anna"]
    load(store, Customer("bob"), prefix="late")
    assert [row.customer_id for row in store.write(lambda c: audience_page(c, "default", "", 9))] == ["anna", "bob"]
    assert store.read(lambda c: subjects_by_customers(c, "default", ["bob"])) == {"bob": "n0"}


def test_the_audience_is_paged_in_the_order_of_ids(store: Store) -> None:
    load(store, *(Customer(name) for name in ["c", "a", "d", "b"]))
    pages, cursor = [], ""
    while page := store.write(partial(audience_page, tenant="default", after_customer_id=cursor, limit=3)):
        pages.append([row.customer_id for row in page])
        cursor = page[-1].customer_id
    assert pages == [["a", "b", "c"], ["d"]]


def test_tenants_do_not_see_each_other(store: Store) -> None:
    load(store, Customer("anna"))
    assert store.read(lambda c: customers_by_ids(c, "other", ["anna"])) == {}
    store.write(lambda c: upsert_customers(c, "other", [Customer("anna", {"days": 1.0})], 0, lambda: "s0"))
    assert store.read(lambda c: customers_by_ids(c, "default", ["anna"]))["anna"].attributes == "{}"


def test_a_ledger_is_replaced(store: Store) -> None:
    store.write(lambda c: put_ledgers(c, "default", {"a": "1", "b": "2"}))
    store.write(lambda c: put_ledgers(c, "default", {"b": "3"}))
    assert store.read(lambda c: ledgers_by_subjects(c, "default", ["a", "b", "c"])) == {"a": "1", "b": "3"}
