from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.catalog import Catalog, Schedule, Window
from optimizer.clock import from_us
from optimizer.reasons import ALLOWED, Reason
from tests.optimizer.kernel import campaign_of, campaigns, instants, message, slot

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile, Slot

DST_ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Beirut", "UTC")
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MINUTE = timedelta(minutes=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def one_slot(start: str, end: str, days: object = "all", horizon: str = "2d", **settings: object) -> Catalog:
    times = {"from": start, "to": end, "days": days}
    campaign = campaign_of(messages=1, slots=[slot(0, **times)], settings=settings)
    data = campaign.model_dump(mode="json", by_alias=True)
    data["catalog"]["timing"]["horizon"] = horizon
    return Catalog(type(campaign).model_validate(data))


def window(catalog: Catalog, zone: str, now: str) -> Window | None:
    return catalog.schedule(ZoneInfo(zone), at(now)).windows[0]


def codes(catalog: Catalog, schedule: Schedule) -> list[str]:
    return [Reason.from_code(c).value if c else "" for c in catalog.removed(schedule).tolist()]


@given(campaigns())
def test_arms_are_all_combinations_once_and_then_no_send(campaign: CampaignFile) -> None:
    catalog, spec = Catalog(campaign), campaign.catalog
    channels: list[str | None] = [*(c.id for c in spec.channels)] or [None]
    slots: list[str | None] = [*(s.id for s in spec.timing.slots)] if spec.timing else [None]
    expected = [(m.id, c, s) for m in spec.messages for c in channels for s in slots]
    assert [(a.message, a.channel, a.slot) for a in catalog.arms[: len(expected)]] == expected
    assert [a.id for a in catalog.arms[len(expected) :]] == ["no_send"] * spec.no_send
    assert catalog.no_send == (len(expected) if spec.no_send else -1)
    assert len(catalog) == len(catalog.index) == len(catalog.arms)
    for i, arm in enumerate(catalog.arms):
        assert catalog.index[arm.id] == i
        m, c, s = (int(places[i]) for places in (catalog.message_of, catalog.channel_of, catalog.slot_of))
        assert (m < 0) == (arm.message is None)
        assert arm.message is None or catalog.messages[m].id == arm.message
        assert (catalog.channels[c].id if c >= 0 else None) == arm.channel
        assert (catalog.slots[s].id if s >= 0 else None) == arm.slot


def test_an_arms_id_names_the_dimensions_that_there_are() -> None:
    for channels, slots, expected in ((0, 0, "m0"), (1, 0, "m0/ch0"), (0, 1, "m0/s0"), (1, 1, "m0/ch0/s0")):
        assert [a.id for a in Catalog(campaign_of(messages=1, channels=channels, slots=slots)).arms] == [
            expected,
            "no_send",
        ]


@pytest.mark.parametrize(
    ("zone", "now", "start", "end", "send", "over"),
    [
        # Ordinary days, on both sides of the change.
        ("Europe/Berlin", "2026-01-05T00:00:00Z", "09:00", "10:00", "2026-01-05T08:00:00Z", "2026-01-05T09:00:00Z"),
        ("Europe/Berlin", "2026-07-06T00:00:00Z", "09:00", "10:00", "2026-07-06T07:00:00Z", "2026-07-06T08:00:00Z"),
        # 2026-03-29, 02:00 to 03:00 does not exist: it is meant an hour later.
        ("Europe/Berlin", "2026-03-28T23:30:00Z", "02:15", "02:45", "2026-03-29T01:15:00Z", "2026-03-29T01:45:00Z"),
        ("Europe/Berlin", "2026-03-28T23:30:00Z", "01:30", "04:00", "2026-03-29T00:30:00Z", "2026-03-29T02:00:00Z"),
        # From inside the gap to 03:10 nothing is left: the next day's.
        ("Europe/Berlin", "2026-03-28T23:30:00Z", "02:30", "03:10", "2026-03-30T00:30:00Z", "2026-03-30T01:10:00Z"),
        # 2026-10-25, 02:00 to 03:00 occurs twice: the first is meant, as begin and as end.
        ("Europe/Berlin", "2026-10-24T22:30:00Z", "02:15", "02:45", "2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z"),
        ("Europe/Berlin", "2026-10-24T22:30:00Z", "02:30", "03:30", "2026-10-25T00:30:00Z", "2026-10-25T02:30:00Z"),
        # Lord Howe changes by half an hour, at 02:00.
        (
            "Australia/Lord_Howe",
            "2026-10-03T12:00:00Z",
            "02:10",
            "02:20",
            "2026-10-03T15:40:00Z",
            "2026-10-03T15:50:00Z",
        ),
        # Santiago springs forward at midnight: 2026-09-06 begins at 01:00.
        ("America/Santiago", "2026-09-06T02:00:00Z", "00:15", "00:45", "2026-09-06T04:15:00Z", "2026-09-06T04:45:00Z"),
    ],
)
def test_slots_at_daylight_saving_changes(  # noqa: PLR0913, PLR0917 -- a table
    zone: str, now: str, start: str, end: str, send: str, over: str
) -> None:
    found = window(one_slot(start, end), zone, now)
    assert found is not None
    assert (from_us(found.send_us), from_us(found.end_us)) == (at(send), at(over))


def test_a_window_that_has_begun_is_sent_in_at_once_and_one_that_is_over_is_not() -> None:
    catalog = one_slot("09:00", "10:00")
    begun = window(catalog, "UTC", "2026-01-05T09:59:59Z")
    assert begun is not None
    assert (from_us(begun.send_us), begun.weekday, begun.days_ahead) == (at("2026-01-05T09:59:59Z"), "mon", 0)
    over = window(catalog, "UTC", "2026-01-05T10:00:00Z")
    assert over is not None
    assert (from_us(over.send_us), over.weekday, over.days_ahead) == (at("2026-01-06T09:00:00Z"), "tue", 1)


def test_a_slot_must_begin_within_the_horizon() -> None:
    catalog = one_slot("09:00", "10:00", horizon="12h")
    assert window(catalog, "UTC", "2026-01-05T21:00:00Z") is None
    found = window(catalog, "UTC", "2026-01-05T21:00:01Z")
    assert found is not None
    assert from_us(found.send_us) == at("2026-01-06T09:00:00Z")


def test_weekdays_and_days_ahead_are_the_recipients() -> None:
    catalog = one_slot("09:00", "10:00", ["mon"], horizon="7d")
    for zone, ahead in (("Pacific/Auckland", 0), ("America/Mexico_City", 1)):
        found = window(catalog, zone, "2026-01-04T18:00:00Z")
        assert found is not None
        assert (found.weekday, found.days_ahead, found.day.isoformat()) == ("mon", ahead, "2026-01-05")


def expected_window(slot: Slot, zone: ZoneInfo, now: datetime, horizon: timedelta) -> Window | None:
    """By brute force, minute by minute of absolute time: the first instant inside the slot.

    For times that neither fall into a gap nor occur twice.
    """
    for minutes in range(int(horizon / MINUTE)):
        instant = now + minutes * MINUTE
        local = instant.astimezone(zone)
        if DAYS[local.weekday()] in slot.days and slot.start <= local.time() < slot.end:
            ahead = (local.date() - now.astimezone(zone).date()).days
            end = datetime.combine(local.date(), slot.end, zone).astimezone(UTC)
            return Window(_us(instant), _us(end), DAYS[local.weekday()], ahead, local.date())
    return None


def _us(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000


@given(
    st.sampled_from(DST_ZONES),
    instants(),
    st.tuples(st.integers(4, 22), st.integers(4, 22)).filter(lambda hours: hours[0] != hours[1]).map(sorted),
    st.lists(st.sampled_from(DAYS), unique=True, min_size=1),
    st.integers(1, 80),
)
def test_a_window_is_the_first_instant_inside_the_slot(
    zone: str, now: datetime, hours: list[int], days: list[str], horizon_h: int
) -> None:
    catalog = one_slot(f"{hours[0]:02d}:00", f"{hours[1]:02d}:30", days, f"{horizon_h}h")
    found = catalog.schedule(ZoneInfo(zone), now).windows[0]
    assert found == expected_window(catalog.slots[0], ZoneInfo(zone), now, timedelta(hours=horizon_h))


@given(st.sampled_from(DST_ZONES), instants(), st.integers(0, 23 * 60 + 54), st.integers(1, 300))
def test_a_touch_is_never_planned_outside_its_window_or_horizon(
    zone: str, now: datetime, start: int, minutes: int
) -> None:
    end = min(start + minutes, 23 * 60 + 59)
    catalog = one_slot(f"{start // 60:02d}:{start % 60:02d}", f"{end // 60:02d}:{end % 60:02d}", horizon="50h")
    found = catalog.schedule(ZoneInfo(zone), now).windows[0]
    assert found is not None
    assert now <= from_us(found.send_us) < now + timedelta(hours=50)
    assert found.send_us < found.end_us
    assert found.day == from_us(found.send_us).astimezone(ZoneInfo(zone)).date()
    assert found.weekday == DAYS[found.day.weekday()]
    assert found.days_ahead == (found.day - now.astimezone(ZoneInfo(zone)).date()).days


def test_a_slot_on_the_far_side_of_a_short_night_is_within_a_horizon_that_reaches_it() -> None:
    """From 23:59 on Friday 47 h 59 min reach to 00:58 on Monday, since Sunday is an hour short."""
    found = window(one_slot("00:00", "00:30", ["mon"], "2879m"), "Europe/Berlin", "2026-03-27T22:59:00Z")
    assert found is not None
    assert (from_us(found.send_us), found.days_ahead) == (at("2026-03-29T22:00:00Z"), 3)


def test_arms_with_a_slot_need_a_zone_and_the_others_do_not() -> None:
    catalog = Catalog(campaign_of(messages=1, channels=1, slots=2))
    schedule = catalog.schedule(None, at("2026-01-05T00:00:00Z"))
    assert (schedule.windows, schedule.variants, schedule.zone) == ((None, None), (None, None), None)
    assert codes(catalog, schedule) == ["no_timezone", "no_timezone", ""]
    plain = Catalog(campaign_of(messages=1, channels=1))
    assert codes(plain, plain.schedule(None, at("2026-01-05T00:00:00Z"))) == ["", ""]


def test_a_message_cannot_be_sent_on_a_channel_without_a_creative() -> None:
    messages = [message(0, 1), message(1, 2)]
    catalog = Catalog(campaign_of(messages=messages, channels=2))
    schedule = catalog.schedule(ZoneInfo("UTC"), at("2026-01-05T00:00:00Z"))
    assert codes(catalog, schedule) == ["", "no_creative_for_channel", "", "", ""]


def test_nothing_is_sent_once_the_campaign_has_ended() -> None:
    catalog = one_slot("09:00", "10:00", horizon="2d", ends_at="2026-01-06T09:00:00Z")
    for now, expected in (("2026-01-05T08:00:00Z", ""), ("2026-01-05T10:00:00Z", "outside_horizon")):
        assert codes(catalog, catalog.schedule(ZoneInfo("UTC"), at(now))) == [expected, ""]
    plain = Catalog(campaign_of(messages=1, settings={"ends_at": "2026-01-06T09:00:00Z"}))
    for now, expected in (("2026-01-06T08:59:59Z", ""), ("2026-01-06T09:00:00Z", "outside_horizon")):
        assert codes(plain, plain.schedule(None, at(now))) == [expected, ""]


@pytest.mark.parametrize(
    ("zone", "now", "expected"),
    [
        ("UTC", "2026-01-09T08:00:00Z", "arm_inactive"),  # sent on the 9th
        ("UTC", "2026-01-09T11:00:00Z", ""),  # sent on the 10th
        ("UTC", "2026-01-12T09:30:00Z", ""),  # sent on the 12th, the last day
        ("UTC", "2026-01-12T10:00:00Z", "arm_inactive"),
        ("Pacific/Auckland", "2026-01-09T12:00:00Z", ""),  # it is the 10th there
        ("America/Mexico_City", "2026-01-13T02:00:00Z", "arm_inactive"),  # the 12th there, 9:00 was missed
    ],
)
def test_a_message_is_sent_on_its_active_days_of_the_recipient_only(zone: str, now: str, expected: str) -> None:
    active = {"from": "2026-01-10", "until": "2026-01-12"}
    morning = slot(0, **{"from": "09:00", "to": "10:00"})
    catalog = Catalog(campaign_of(messages=[message(0, 0, active=active), message(1, 0)], slots=[morning]))
    assert codes(catalog, catalog.schedule(ZoneInfo(zone), at(now))) == [expected, "", ""]


def test_without_slots_a_message_is_active_by_the_recipients_date_now() -> None:
    active = {"from": "2026-01-10", "until": "2026-01-10"}
    catalog = Catalog(campaign_of(messages=[message(0, 0, active=active)]))
    for zone, now, expected in (
        ("Pacific/Auckland", "2026-01-09T12:00:00Z", ""),
        ("America/Mexico_City", "2026-01-10T03:00:00Z", "arm_inactive"),
        (None, "2026-01-10T23:59:59Z", ""),
        (None, "2026-01-11T00:00:00Z", "arm_inactive"),
    ):
        known = ZoneInfo(zone) if zone else None
        assert codes(catalog, catalog.schedule(known, at(now))) == [expected, ""]


@given(campaigns(), instants(), st.sampled_from([None, *DST_ZONES]))
def test_no_send_is_never_removed_and_every_other_removal_has_a_reason(
    campaign: CampaignFile, now: datetime, zone: str | None
) -> None:
    catalog = Catalog(campaign)
    removed = catalog.removed(catalog.schedule(ZoneInfo(zone) if zone else None, now))
    if catalog.no_send >= 0:
        assert removed[catalog.no_send] == ALLOWED
    for code in removed[removed != ALLOWED].tolist():
        assert Reason.from_code(code)
