"""What the outbox finds of the touches, and that it finds it at the beginning of an index however many there are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from benchmarks.dispatch import plan_of
from optimizer.store import Store
from optimizer.store.campaigns import load_version
from optimizer.store.decisions import insert_decisions
from optimizer.store.outbox import (
    Plan,
    channels_planned,
    doubtful_touches,
    due_touches,
    first_due,
    lost_leases,
    next_end_us,
    overdue_touches,
    plans_by_ids,
)
from optimizer.store.rows import CampaignVersionRow
from optimizer.store.tables import campaigns
from optimizer.store.touches import TouchChange, insert_touches, transition
from tests import databases
from tests.optimizer.store.example import decision, touch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection

    from optimizer.store.rows import TouchRow

BY_CAMPAIGN = "ix_touches_tenant_campaign_id_dispatch_state_channel_due_us"
BY_STATE = "ix_touches_tenant_state_expires_us"


def insert(store: Store, *rows: TouchRow) -> None:
    store.write(lambda c: insert_touches(c, rows, 0))


def campaign(store: Store, name: str, state: str = "active") -> None:
    version = CampaignVersionRow("default", name, "v1", "{}", "key", 0)
    store.write(lambda c: load_version(c, version, f"change-{name}"))
    mine = update(campaigns).where(campaigns.c.campaign_id == name)
    store.write(lambda c: c.execute(mine.values(state=state)))


def ids(rows: Iterable[TouchRow]) -> list[str]:
    return [row.decision_id for row in rows]


def test_the_first_due_touch_of_each_active_campaign_is_found_by_channel(store: Store) -> None:
    campaign(store, "other")
    campaign(store, "still", "paused")
    insert(
        store,
        touch("a", due_us=10),
        touch("b", due_us=9),
        touch("c", due_us=8, campaign_id="other"),
        touch("d", due_us=7, channel="sms"),
        touch("sent", due_us=1, state="sent"),
        touch("callers", due_us=1, dispatch="caller", channel="push"),
        touch("paused", due_us=1, campaign_id="still", channel="chat"),
    )
    assert store.read(lambda c: channels_planned(c, "default")) == ["email", "sms"]
    assert store.read(lambda c: first_due(c, "default", "email")) == [(8, "other"), (9, "camp")]
    assert store.read(lambda c: first_due(c, "default", "push")) == []
    assert ids(store.write(lambda c: due_touches(c, "default", "camp", "email", 10, 9))) == ["b", "a"]
    assert ids(store.write(lambda c: due_touches(c, "default", "camp", "email", 10, 1))) == ["b"]
    assert ids(store.write(lambda c: due_touches(c, "default", "camp", "email", 9, 9))) == ["b"]


def test_touches_that_were_not_carried_out_in_time_are_found(store: Store) -> None:
    insert(
        store,
        touch("late", expires_us=5),
        touch("callers", expires_us=4, dispatch="caller"),
        touch("in time", expires_us=6),
        touch("lost", state="leased", lease_token="t", lease_until_us=5),  # noqa: S106 - a lease's name
        touch("held", state="sending", lease_token="t", lease_until_us=6),  # noqa: S106 - a lease's name
        touch("doubtful", state="unknown", lease_until_us=4),
        touch("given up", state="unknown"),
    )
    assert ids(store.read(lambda c: overdue_touches(c, "default", 5, 9))) == ["callers", "late"]
    assert ids(store.write(lambda c: lost_leases(c, "default", 5, 9))) == ["lost"]
    assert ids(store.read(lambda c: doubtful_touches(c, "default", 5, 9))) == ["doubtful"]
    assert store.read(lambda c: next_end_us(c, "default")) == 4
    changes = [TouchChange(each, "expired", 7) for each in ("late", "callers", "doubtful")]
    store.write(lambda c: transition(c, "default", changes))
    assert store.read(lambda c: next_end_us(c, "default")) == 5


def test_what_sending_needs_of_a_decision_is_found(store: Store) -> None:
    store.write(lambda c: insert_decisions(c, [decision("a", context='{"x":1}')]))
    assert store.read(lambda c: plans_by_ids(c, "default", ["a", "b"])) == {"a": Plan("v1", "hello/email", '{"x":1}')}


@pytest.fixture(scope="module", params=databases.KINDS)
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with twenty thousand touches, planned for later but for a few; nothing is changed in it."""
    with databases.on(request.param), Store(databases.fresh_url(tmp_path_factory.mktemp("many"))) as store:
        campaign(store, "camp")
        rows = [touch(f"later-{i}", subject_id=f"s{i}", due_us=1_000 + i) for i in range(20_000)]
        store.write(lambda c: insert_touches(c, rows, 0))
        states = ("sent", "unknown", "leased", "planned")
        store.write(
            lambda c: insert_touches(c, [touch(f"now-{i}", due_us=i, state=states[i % 4]) for i in range(20)], 0)
        )
        store.write(lambda c: c.exec_driver_sql("ANALYZE touches"))
        yield store


POLLS: dict[str, tuple[Callable[[Connection], Any], str]] = {
    "which channels": (lambda c: channels_planned(c, "default"), BY_CAMPAIGN),
    "what is due first": (lambda c: first_due(c, "default", "email"), BY_CAMPAIGN),
    "a page of what is due": (lambda c: due_touches(c, "default", "camp", "email", 10, 100), BY_CAMPAIGN),
    "what is overdue": (lambda c: overdue_touches(c, "default", 10, 100), BY_STATE),
    "what was lost": (lambda c: lost_leases(c, "default", 10, 100), BY_STATE),
    "what is asked about": (lambda c: doubtful_touches(c, "default", 10, 100), BY_STATE),
    "what comes next": (lambda c: next_end_us(c, "default"), BY_STATE),
}


@pytest.mark.parametrize("poll", POLLS)
def test_what_is_asked_again_and_again_is_answered_from_an_index(many: Store, poll: str) -> None:
    """Of twenty thousand touches, which are planned for later but for a few."""
    query, index = POLLS[poll]
    plan = "\n".join(plan_of(many, query))
    assert index in plan, plan
    assert not re.search(r"Seq Scan on touches|SCAN touches", plan), plan
