from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from optimizer.campaign import CampaignFile
from optimizer.clock import from_us
from optimizer.reasons import Reason
from optimizer.versions import Version
from tests.optimizer.kernel import campaign_of, slot

BERLIN = "Europe/Berlin"
NOON = "2026-01-05T11:00Z"
"""Monday, noon in Berlin."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def version(policy: dict[str, Any], slots: tuple[tuple[str, str], ...] = (), **parts: Any) -> Version:  # noqa: ANN401 -- any part
    timed = [slot(i, **{"from": start, "to": end}) for i, (start, end) in enumerate(slots)]
    campaign = campaign_of(messages=1, channels=2, slots=timed, contact_policy=policy, **parts)
    return Version.of(campaign, "default")


def found(made: Version, now: str = NOON, zone: str | None = BERLIN, **attributes: str) -> list[str]:
    """For each arm that sends when it would go out and expire, local time, or why it would not."""
    region = made.catalog.hours.region(attributes)
    schedule = made.catalog.schedule(ZoneInfo(zone) if zone else None, at(now), region)
    removed, closed = made.catalog.removed(schedule), made.catalog.closed(schedule)
    out = []
    for k, arm in enumerate(made.catalog.arms):
        if arm.message is None:
            assert not removed[k]
            assert not closed[k]
            continue
        code = int(removed[k]) or int(closed[k])
        if code:
            out.append(Reason.from_code(code).value)
        else:
            send, end = (from_us(us).astimezone(ZoneInfo(zone or "UTC")) for us in made.send_window(schedule, k))
            out.append(f"{send:%a %H:%M} - {end:%a %H:%M}")
    return out


def quiet(start: str, end: str, **rest: object) -> dict[str, Any]:
    return {"from": start, "to": end, **rest}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        # Cut out of the slot: its beginning, its middle, its end.
        ([quiet("17:00", "19:00")], "Mon 19:00 - Mon 20:30"),
        ([quiet("19:00", "19:30")], "Mon 18:00 - Mon 20:30"),
        ([quiet("20:00", "08:00")], "Mon 18:00 - Mon 20:00"),
        ([quiet("17:00", "18:30"), quiet("18:15", "19:00"), quiet("20:15", "21:00")], "Mon 19:00 - Mon 20:15"),
        # Nothing is left today.
        ([quiet("17:00", "20:30", days=["mon"])], "Tue 18:00 - Tue 20:30"),
        # A period across midnight belongs to the day on which it starts.
        ([quiet("20:00", "19:00", days=["sun"])], "Mon 19:00 - Mon 20:30"),
        ([quiet("20:00", "19:00", days=["mon"])], "Mon 18:00 - Mon 20:00"),
        # A touch is given up in hours that drop: its window ends where they begin.
        ([quiet("19:00", "19:30", action="drop")], "Mon 18:00 - Mon 19:00"),
        ([quiet("17:30", "19:30", action="drop")], "quiet_hours"),
        ([quiet("17:30", "18:30"), quiet("18:15", "19:30", action="drop")], "quiet_hours"),
        ([quiet("17:30", "18:30", days=["mon"], action="drop")], "Tue 18:00 - Tue 20:30"),
        ([quiet("17:30", "20:30")], "quiet_hours"),
    ],
)
def test_quiet_hours_are_cut_out_of_a_slot(rules: list[dict[str, Any]], expected: str) -> None:
    made = version({"quiet_hours": rules}, (("18:00", "20:30"),))
    assert found(made) == [expected, expected]


def test_channels_keep_their_own_hours_and_share_the_window_of_the_slot() -> None:
    rules = [quiet("17:00", "20:30", channels=["ch0"]), quiet("18:00", "19:00", channels=["ch1"])]
    made = version({"quiet_hours": rules}, (("18:00", "20:30"), ("09:00", "10:00")))
    assert found(made) == ["quiet_hours", "Tue 09:00 - Tue 10:00", "Mon 19:00 - Mon 20:30", "Tue 09:00 - Tue 10:00"]


def test_send_windows_add_up_and_leave_nothing_else() -> None:
    windows = [quiet("09:00", "12:00", days=["mon", "tue"]), quiet("16:00", "18:30", channels=["ch0"])]
    made = version({"send_windows": windows})
    assert found(made) == ["Mon 16:00 - Tue 12:00", "Tue 09:00 - Tue 12:00"]
    assert found(made, "2026-01-06T13:00Z") == ["Tue 16:00 - Tue 18:30", "quiet_hours"]


@pytest.mark.parametrize(
    ("blackout", "expected"),
    [
        ({"from": "2026-01-05T00:00", "until": "2026-01-05T19:00"}, "Mon 19:00 - Mon 20:30"),
        ({"from": "2026-01-05T00:00", "until": "2026-01-06T00:00"}, "Tue 18:00 - Tue 20:30"),
        ({"from": "2026-01-05T18:00Z", "until": "2026-01-05T19:00Z"}, "Mon 18:00 - Mon 20:30"),
        ({"from": "2026-01-05T17:00Z", "until": "2026-01-05T18:00Z"}, "Mon 19:00 - Mon 20:30"),
        ({"from": "2026-01-01T00:00", "until": "2026-02-01T00:00"}, "blackout"),
    ],
)
def test_a_blackout_is_read_on_the_recipients_clock_or_as_instants(blackout: dict[str, Any], expected: str) -> None:
    made = version({"blackouts": [blackout]}, (("18:00", "20:30"),))
    assert found(made) == [expected, expected]


def test_public_holidays_are_those_of_a_country_or_of_the_customers_own() -> None:
    eve = "2026-01-05T22:30Z"
    own = version({"blackouts": [{"country_attr": "country", "channels": ["ch0"]}]}, (("09:00", "10:00"),))
    # The sixth of January is a holiday in Spain and, of Germany, in Bavaria.
    assert found(own, eve, country="ES") == ["blackout", "Tue 09:00 - Tue 10:00"]
    for country in ("DE", "Narnia"):
        assert found(own, eve, country=country) == ["Tue 09:00 - Tue 10:00"] * 2
    assert found(own, eve) == ["Tue 09:00 - Tue 10:00"] * 2
    bavaria = version({"blackouts": [{"country": "DE", "subdivision": "BY"}]}, (("09:00", "10:00"),))
    assert found(bavaria, eve) == ["Wed 09:00 - Wed 10:00"] * 2


def test_blackout_is_the_reason_only_where_blackouts_alone_leave_nothing() -> None:
    dark = {"from": "2026-01-05T00:00", "until": "2026-01-08T19:00"}
    policy = {"blackouts": [dark], "quiet_hours": [quiet("19:00", "21:00")]}
    assert found(version(policy, (("18:00", "19:30"),))) == ["blackout"] * 2
    assert found(version(policy, (("18:00", "19:30"),)), "2026-01-08T11:00Z") == ["Fri 18:00 - Fri 19:00"] * 2
    lasting = policy | {"quiet_hours": [quiet("17:00", "21:00", days=["thu", "fri", "sat", "sun"])]}
    assert found(version(lasting, (("18:00", "19:30"),)), "2026-01-08T11:00Z") == ["quiet_hours"] * 2


def test_without_slots_a_touch_waits_for_a_day_and_no_longer() -> None:
    defer = version({"quiet_hours": [quiet("21:00", "08:00")]})
    assert found(defer) == ["Mon 12:00 - Tue 12:00"] * 2
    assert found(defer, "2026-01-05T20:00Z") == ["Tue 08:00 - Tue 21:00"] * 2
    drop = version({"quiet_hours": [quiet("21:00", "08:00", action="drop")]})
    assert found(drop) == ["Mon 12:00 - Mon 21:00"] * 2
    assert found(drop, "2026-01-05T20:00Z") == ["quiet_hours"] * 2


def test_nothing_expires_after_the_campaigns_end_or_too_late() -> None:
    ends: dict[str, Any] = {"settings": {"ends_at": "2026-01-05T18:00Z"}}
    evening = (("18:00", "20:30"),)
    assert found(version({}, evening, **ends)) == ["Mon 18:00 - Mon 19:00"] * 2
    assert found(version({}, **ends)) == ["Mon 12:00 - Mon 19:00"] * 2
    assert found(version({"quiet_hours": [quiet("18:00", "19:00")]}, evening, **ends)) == ["quiet_hours"] * 2
    assert found(version({}, evening, settings={"ends_at": "2026-01-05T17:00Z"})) == ["outside_horizon"] * 2
    assert found(version({}, evening, delivery={"max_lateness": "30m"})) == ["Mon 18:00 - Mon 18:30"] * 2


def test_without_slots_a_message_is_active_by_the_date_at_which_it_goes_out() -> None:
    policy = {"quiet_hours": [quiet("21:00", "08:00")]}
    data = version(policy).campaign.model_dump(mode="json", by_alias=True)
    data["catalog"]["messages"][0]["active"] = {"from": "2026-01-01", "until": "2026-01-05"}
    made = Version.of(CampaignFile.model_validate(data), "default")
    assert found(made, "2026-01-05T19:59Z") == ["Mon 20:59 - Tue 20:59"] * 2
    assert found(made, "2026-01-05T20:00Z") == ["arm_inactive"] * 2


def test_what_is_kept_of_a_day_does_not_outlive_it() -> None:
    made = version({"quiet_hours": [quiet("09:00", "10:00", days=["mon"])]}, (("09:00", "11:00"),))
    assert found(made, "2026-01-04T22:59Z") == ["Mon 10:00 - Mon 11:00"] * 2
    assert found(made, "2026-01-04T23:00Z") == ["Mon 10:00 - Mon 11:00"] * 2
    assert found(made, "2026-01-05T09:30Z") == ["Mon 10:30 - Mon 11:00"] * 2
    assert found(made, "2026-01-05T10:00Z") == ["Tue 09:00 - Tue 11:00"] * 2
