from __future__ import annotations

import pytest
from sqlalchemy import bindparam, select
from sqlalchemy.dialects import sqlite

from optimizer.store import Store
from optimizer.store.bulk import insert_missing, insert_new, insert_rows, one_of, select_in, upsert_rows
from optimizer.store.tables import ledger, request_keys
from tests import databases

ODD = ['"quoted"', "a,b", "{x}", "\\n", "new\nline", "NULL", "", "ümläut ☃", "%s ? :x", "\t"]
"""Texts that some way into a database would change, were they not written with care."""


def rows(store: Store) -> dict[str, str]:
    return dict(store.read(lambda c: [tuple(row) for row in c.execute(select(ledger.c.subject_id, ledger.c.body))]))


@pytest.mark.parametrize("n", [1, 7, 600])
def test_texts_arrive_as_they_are_however_many_rows_there_are(store: Store, n: int) -> None:
    sent = {f"{place}{ODD[place % len(ODD)]}": ODD[-place % len(ODD)] for place in range(n)}
    store.write(lambda c: insert_rows(c, ledger, [("default", key, body) for key, body in sent.items()]))
    assert rows(store) == sent
    found = store.read(
        lambda c: [
            row.subject_id
            for row in select_in(c, select(ledger.c.subject_id).where(one_of(ledger.c.subject_id)), [*sent, "none"])
        ]
    )
    assert sorted(found) == sorted(sent)


@pytest.mark.parametrize("n", [2, 400])
def test_an_upsert_keeps_the_last_and_a_missing_insert_the_first(store: Store, n: int) -> None:
    key = ("tenant", "subject_id")
    store.write(lambda c: insert_rows(c, ledger, [("default", "0", "old")]))
    new = [("default", str(place % 2), f"{place}") for place in range(n)]
    assert store.write(lambda c: insert_new(c, ledger, new, key)) == {"1"}
    assert rows(store) == {"0": "old", "1": "1"}
    store.write(lambda c: upsert_rows(c, ledger, new, key, ("body",)))
    assert rows(store) == {"0": f"{n - 2}", "1": f"{n - 1}"}
    store.write(lambda c: insert_missing(c, ledger, [("default", "0", "x"), ("default", "2", "y")], key))
    assert rows(store) == {"0": f"{n - 2}", "1": f"{n - 1}", "2": "y"}


def test_sqlite_finds_the_values_by_the_index() -> None:
    query = select(request_keys.c.decision_id).where(
        request_keys.c.tenant == bindparam("tenant"),
        request_keys.c.campaign_id == bindparam("campaign_id"),
        one_of(request_keys.c.request_id),
    )
    sql = str(query.compile(dialect=sqlite.dialect()))
    with Store("sqlite://") as store:
        [plan, *_] = store.read(lambda c: databases.execute(c, f"EXPLAIN QUERY PLAN {sql}", "default", "camp", '["r"]'))
    assert "request_id=?" in plan[-1]
