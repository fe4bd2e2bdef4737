"""What the outbox finds of the touches, and that it finds it at the beginning of an index however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

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
from tests.optimizer.store.example import decision, touch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from optimizer.store import Store
    from optimizer.store.rows import TouchRow


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
