"""Removed arms are counted from the log as a count by hand counts them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer import removals
from optimizer.clock import from_us
from optimizer.errors import NotFound
from optimizer.reasons import Reason
from optimizer.store import partitions
from optimizer.store.bulk import insert_rows
from optimizer.store.tables import decisions
from tests.optimizer.engine_example import START, Rig, campaign

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

pytestmark = pytest.mark.databases

HOURS = st.integers(0, 70)


def by_hand(rig: Rig, since: datetime, until: datetime) -> set[tuple[object, ...]]:
    """Day, reason, arms and decisions, arm by arm."""
    arms, touched = Counter[tuple[object, Reason]](), Counter[tuple[object, Reason]]()
    for row in rig.log():
        day = from_us(row.decided_us).astimezone(UTC).date()
        if since <= from_us(row.decided_us) < until:
            found = [Reason.from_code(code) for code in row.removed]
            arms.update((day, reason) for reason in found)
            touched.update((day, reason) for reason in set(found))
    return {(day, reason, n, touched[day, reason]) for (day, reason), n in arms.items()}


@settings(max_examples=15)
@given(
    st.lists(st.tuples(HOURS, st.lists(st.integers(1, len(Reason)), max_size=5)), max_size=12),
    HOURS,
    HOURS,
    st.integers(1, 5),
)
def test_arms_and_decisions_are_counted_by_day_and_reason_whatever_the_pages(
    made: list[tuple[int, list[int]]], since: int, until: int, page: int
) -> None:
    with Rig(campaign()) as rig, pytest.MonkeyPatch.context() as patch:
        patch.setattr(removals, "PAGE", page)
        rig.ask()
        (like,) = rig.log()
        ids, rows = rig.engine.runtime.ids, []
        for hour, codes in sorted(made):
            at_us = rig.now_us + hour * 3_600_000_000
            rows.append(
                like._replace(decision_id=ids.uuid7(at_us), decided_us=at_us, request_id=None, removed=bytes(codes))
            )

        def put(connection: Connection) -> None:
            partitions.ensure_months(connection, "decisions", [row.decision_id for row in rows])
            insert_rows(connection, decisions, rows)

        rig.store.write(put)
        start, end = START + timedelta(hours=since), START + timedelta(hours=until)
        assert {tuple(each) for each in rig.engine.removals("camp", start, end)} == by_hand(rig, start, end)


def test_without_dates_the_last_thirty_days_are_counted() -> None:
    with Rig(campaign(audience={"attr": "age", "op": ">=", "value": 18})) as rig:
        rig.ask("c", age=5)
        rig.pass_by(days=29)
        rig.ask("c", age=5)
        k = len(rig.log()[0].removed)
        assert [tuple(each)[1:] for each in rig.engine.removals("camp")] == [(Reason.NOT_IN_AUDIENCE, k, 1)] * 2
        rig.pass_by(days=2)
        assert len(rig.engine.removals("camp")) == 1
        assert sum(each.arms for each in rig.engine.removals("camp", START)) == 2 * k


def test_an_unknown_campaign_is_not_found() -> None:
    with Rig() as rig, pytest.raises(NotFound):
        rig.engine.removals("none")
