from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from optimizer import history
from optimizer.clock import to_us
from optimizer.facts import batch_of, columns_of, context_of, history_of, schedules_of
from optimizer.store.rows import CustomerRow
from optimizer.versions import Version
from tests.optimizer.engine_example import SLOTS, campaign, message

NOW = datetime(2026, 1, 12, 15, 0, tzinfo=UTC)
NOW_US = to_us(NOW)
HOUR_US = 3_600_000_000
IDS = [f"01900000-0000-7000-8000-00000000000{i}" for i in range(3)]


def version(**parts: Any) -> Version:  # noqa: ANN401 -- any part
    return Version.of(campaign(**parts), "default")


def customer(timezone: str | None = None, **attributes: object) -> CustomerRow:
    body = orjson.dumps(attributes).decode()
    return CustomerRow("default", "c1", "s1", body, timezone, "{}", "{}", loaded=True, updated_us=0)


def zoned(**policy: Any) -> Version:  # noqa: ANN401 -- any field
    return version(settings={"timezone": policy})


def test_the_request_wins_over_the_customer_and_both_are_kept() -> None:
    context = context_of(version(), customer(plan="free", age=40.0), {"plan": "gold", "vip": True}, None)
    assert context["attributes"] == {"plan": "gold", "age": 40.0, "vip": True}


@pytest.mark.parametrize(
    ("policy", "stored", "attributes", "requested", "zone", "source"),
    [
        ({}, "Europe/Berlin", {}, None, "Europe/Berlin", "customer"),
        ({}, "Europe/Berlin", {}, "Asia/Tokyo", "Asia/Tokyo", "request"),
        ({}, None, {}, None, None, None),
        ({}, "Mars/Olympus", {}, None, None, None),
        ({"attr": "zone"}, "Europe/Berlin", {"zone": "Asia/Tokyo"}, None, "Asia/Tokyo", "customer"),
        ({"attr": "zone"}, "Europe/Berlin", {}, None, None, None),
        ({"if_missing": "use_fallback", "fallback": "UTC"}, "Mars/Olympus", {}, None, "UTC", "fallback"),
        ({"if_missing": "use_fallback", "fallback": "UTC"}, "Asia/Tokyo", {}, None, "Asia/Tokyo", "customer"),
    ],
)
def test_where_the_time_zone_comes_from(  # noqa: PLR0913, PLR0917 -- a table
    policy: dict[str, Any],
    stored: str | None,
    attributes: dict[str, str],
    requested: str | None,
    zone: str | None,
    source: str | None,
) -> None:
    context = context_of(zoned(**policy), customer(stored, **attributes), {}, requested)
    assert (context["timezone"], context["timezone_source"]) == (zone, source)


def ledger() -> history.Ledger:
    """Two touches, one of them opened, and a third one planned."""
    book = history.touched(
        history.EMPTY, decision_id=IDS[0], message="hello", channel="email", sent_us=NOW_US - 30 * HOUR_US
    )
    book = history.touched(book, decision_id=IDS[1], message="offer", channel="push", sent_us=NOW_US - 2 * HOUR_US)
    book = history.opened(book, decision_id=IDS[1], at_us=NOW_US - HOUR_US)
    for _ in range(3):
        book = history.planned(book, "camp")
    return book


def test_history_is_logged_without_what_is_missing_and_by_channel() -> None:
    rows = history_of([ledger(), history.EMPTY], version(), NOW_US)
    assert rows[0] == {
        "hours_since_last_touch": 2.0,
        "hours_since_last_touch_on_channel": {"email": 30.0, "push": 2.0},
        "touches_1d": 1.0,
        "touches_7d": 2.0,
        "touches_30d": 2.0,
        "last_message": "offer",
        "last_channel": "push",
        "last_opened": 1.0,
        "touches_in_campaign": 3,
    }
    assert rows[1] == {
        "hours_since_last_touch_on_channel": {},
        "touches_1d": 0.0,
        "touches_7d": 0.0,
        "touches_30d": 0.0,
        "touches_in_campaign": 0,
    }


def test_what_was_logged_reads_as_what_was_known() -> None:
    """Through JSON and back: the columns are those of the ledgers, to the last bit."""
    made = version()
    books = [ledger(), history.EMPTY, history.planned(history.EMPTY, "camp")]
    logged = orjson.loads(orjson.dumps(history_of(books, made, NOW_US + 1234567)))
    _, past = columns_of(made, made.types, [{"attributes": {}}] * 3, logged)
    for name, column in history.history_rows(books, NOW_US + 1234567, ("email", "push")).items():
        assert np.array_equal(past[name], column, equal_nan=column.dtype.kind == "f")
    assert past["hours_since_last_touch_on_channel"].shape == (3, 2)


def test_columns_by_channel_follow_the_versions_channels() -> None:
    """Also for a log from when there were other channels."""
    logged = history_of([ledger()], version(), NOW_US)
    catalog = {
        "messages": [message("hello", "sms", "push")],
        "channels": [{"id": c, "cost": 0.0} for c in ("sms", "push")],
    }
    other = version(catalog=catalog)
    _, past = columns_of(other, other.types, [{"attributes": {}}], logged)
    assert np.array_equal(past["hours_since_last_touch_on_channel"], [[np.nan, 2.0]], equal_nan=True)


def test_customers_of_one_zone_share_a_schedule() -> None:
    made = version(catalog=catalog_with_slots())
    zones = ["Asia/Tokyo", None, "Asia/Tokyo"]
    contexts = [{"attributes": {"plan": "gold", "age": 3.0}, "timezone": zone} for zone in zones]
    batch = batch_of(made, NOW_US, IDS, np.zeros(3, np.uint8), contexts, history_of([ledger()] * 3, made, NOW_US))
    assert [batch.schedules[i] for i in batch.schedule_of.tolist()] == [
        made.catalog.schedule(ZoneInfo(zone) if zone else None, NOW) for zone in zones
    ]
    assert len(batch.schedules) == 2
    assert batch.touches.tolist() == [3, 3, 3]
    assert batch.context["plan"].tolist() == ["gold"] * 3
    assert batch.words[:, 0].tolist() == [0x0190_0000_0000_7000] * 3
    assert len(batch) == 3


def catalog_with_slots() -> dict[str, Any]:
    return {"messages": [message("hello", "email")], "channels": [{"id": "email", "cost": 0.0}], "timing": SLOTS}


def test_a_schedule_is_that_of_its_own_zone_and_instant() -> None:
    made = version(catalog=catalog_with_slots())
    zones, instants = ["UTC", "Asia/Tokyo", "UTC", None], [NOW, NOW, NOW + timedelta(hours=20), NOW]
    found = schedules_of(made, [(zone, ()) for zone in zones], instants)
    for schedule, zone, instant in zip(found, zones, instants, strict=True):
        assert schedule == made.catalog.schedule(ZoneInfo(zone) if zone else None, instant)


def test_only_attributes_that_the_campaign_reads_become_columns() -> None:
    made = version(audience={"attr": "city", "op": "==", "value": "Oaxaca"})
    context, _ = columns_of(
        made, made.types, [{"attributes": {"zone": "UTC", "city": "Oaxaca"}}], history_of([ledger()], made, NOW_US)
    )
    assert set(context) == {"plan", "age", "vip", "tags", "city"}
