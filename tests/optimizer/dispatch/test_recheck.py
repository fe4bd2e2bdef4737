"""What may not go out by what is known when it is due does not, whatever was so when it was decided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from optimizer.clock import from_us
from optimizer.dispatch.routes import Routes
from optimizer.store import touches
from optimizer.store.customers import Customer
from optimizer.store.touches import TouchChange
from tests.optimizer.dispatch.scripted import TEMPORARY, Scripted
from tests.optimizer.engine_example import SLOTS, START, Rig, campaign, message, only

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.campaign import CampaignFile
    from optimizer.decisions import Decision

pytestmark = pytest.mark.databases

CHANNEL = {"id": "email", "cost": 0.25, "consent": "email_marketing"}


def consenting(**parts: Any) -> CampaignFile:  # noqa: ANN401 - any part
    """One message by e-mail, to whom agrees to it."""
    return campaign(catalog={"messages": [message("hello", "email")], "channels": [CHANNEL], "no_send": False}, **parts)


def ana(*, agrees: bool = True, **more: Any) -> Customer:  # noqa: ANN401 - any fact
    return Customer("ana", timezone="Etc/UTC", consents={"email_marketing": agrees}, **more)


def last(rig: Rig, made: Decision) -> tuple[str, str | None]:
    touch = rig.touch(made.decision_id)
    return touch.state, touch.reason


def put_quietly(rig: Rig, row: Customer) -> None:
    """Change what is known of a customer behind the back of whatever takes planned touches back at once."""
    from optimizer.store import customers  # noqa: PLC0415 - for this alone

    rig.store.write(lambda c: customers.upsert_customers(c, "default", [row], rig.now_us, rig.engine.runtime.ids.uuid4))


def test_a_consent_that_was_withdrawn_holds() -> None:
    with Rig(consenting()) as rig:
        rig.engine.put_customers([ana()])
        made = rig.ask("ana")
        put_quietly(rig, ana(agrees=False))
        rig.jobs()
        assert last(rig, made) == ("cancelled", "no_consent")
        assert not rig.sender.sent


def test_an_address_that_is_gone_holds_where_the_sender_needs_one() -> None:
    sender = Scripted(needs_address=True)
    with Rig(consenting(), routes=Routes.to(sender)) as rig:
        rig.engine.put_customers([ana(addresses={"email": "ana@example.com"})])
        made = rig.ask("ana")
        put_quietly(rig, ana())
        rig.jobs()
        assert last(rig, made) == ("cancelled", "no_address")
        assert not sender.given


def test_a_customer_who_was_erased_gets_nothing() -> None:
    with Rig(consenting()) as rig:
        rig.engine.put_customers([ana()])
        made = rig.ask("ana")
        rig.store.write(lambda c: c.exec_driver_sql("delete from customers"))
        rig.jobs()
        assert last(rig, made) == ("cancelled", "customer_erased")


def test_a_pause_between_leasing_and_sending_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    with Rig(only("email")) as rig:
        made = rig.ask()
        leasing = rig.engine.outbox._leasing  # noqa: SLF001 - the moment after it
        lease = leasing.lease

        def paused(*args: Any, **named: Any) -> object:  # noqa: ANN401 - whatever it is given
            return lease(*args, **named)

        monkeypatch.setattr(leasing, "lease", paused)
        page = rig.store.write(lambda c: leasing.lease(c, "email"))
        assert page is not None
        rig.engine.pause("camp")
        begun, outgoing = rig.store.write(lambda c: leasing.begin(c, page))
        assert (list(begun.touches), outgoing) == ([], [])
        assert last(rig, made) == ("planned", "campaign_paused")
        rig.engine.resume("camp")
        rig.jobs()
        assert last(rig, made) == ("sent", None)


def test_a_touch_taken_back_between_leasing_and_sending_is_not_sent() -> None:
    with Rig(only("email")) as rig:
        made = rig.ask()
        leasing = rig.engine.outbox._leasing  # noqa: SLF001 - the moment after it
        page = rig.store.write(lambda c: leasing.lease(c, "email"))
        assert page is not None
        rig.engine.void([made.decision_id], "outage")
        assert rig.store.write(lambda c: leasing.begin(c, page))[1] == []
        assert last(rig, made) == ("cancelled", "outage")


def test_what_another_worker_has_leased_meanwhile_is_its_own() -> None:
    with Rig(only("email")) as rig:
        rig.ask()
        leasing = rig.engine.outbox._leasing  # noqa: SLF001 - the moments between
        first = rig.store.write(lambda c: leasing.lease(c, "email"))
        rig.pass_by(minutes=1)
        rig.engine.outbox.tend()
        second = rig.store.write(lambda c: leasing.lease(c, "email"))
        assert first is not None
        assert second is not None
        assert rig.store.write(lambda c: leasing.begin(c, first))[1] == []
        assert len(rig.store.write(lambda c: leasing.begin(c, second))[1]) == 1


def test_nothing_is_sent_after_a_campaign_that_was_cut_short() -> None:
    with Rig(campaign(catalog=timed())) as rig:
        rig.engine.put_customers([Customer("ana", timezone="Etc/UTC")])
        made = rig.ask("ana")
        assert made.send_at is not None
        ends = (made.send_at - timedelta(hours=1)).isoformat()
        rig.engine.load_campaign(campaign(settings={"ends_at": ends}, catalog=timed()))
        rig.clock.advance_to(made.send_at)
        rig.jobs()
        assert last(rig, made) == ("expired", "campaign_not_active")


def test_nothing_is_sent_before_a_campaign_that_was_put_off() -> None:
    with Rig(campaign(catalog=timed())) as rig:
        rig.engine.put_customers([Customer("ana", timezone="Etc/UTC")])
        made = rig.ask("ana")
        assert made.send_at is not None
        starts = made.send_at + timedelta(hours=1)
        rig.engine.load_campaign(campaign(settings={"starts_at": starts.isoformat()}, catalog=timed()))
        rig.clock.advance_to(made.send_at)
        rig.jobs()
        assert last(rig, made) == ("planned", "campaign_not_active")
        rig.clock.advance_to(starts)
        rig.jobs()
        assert last(rig, made) == ("sent", None)


def timed() -> dict[str, Any]:
    """One message by e-mail, in a slot."""
    return {"messages": [message("hello", "email")], "channels": [{"id": "email", "cost": 0}], "timing": SLOTS}


# Quiet hours


def quiet(start: str, end: str) -> CampaignFile:
    hours = {"from": start, "to": end, "action": "defer"}
    return only("email", contact_policy={"quiet_hours": [hours]})


def test_a_retry_that_falls_into_quiet_hours_waits_until_they_are_over() -> None:
    sender = Scripted(lambda _: TEMPORARY)
    with Rig(quiet("15:10", "17:00"), routes=Routes.to(sender)) as rig:
        rig.engine.put_customers([Customer("ana", timezone="Etc/UTC")])
        made = rig.ask("ana")
        for minutes in (0, 5, 6):
            rig.pass_by(minutes=minutes)
            rig.jobs()
        touch = rig.touch(made.decision_id)
        assert (touch.state, touch.reason) == ("planned", "quiet_hours")
        assert from_us(touch.due_us) == datetime(2026, 1, 12, 17, tzinfo=UTC)
        assert rig.engine.next_due_us() == touch.due_us
        tried = len(sender.given)
        rig.pass_by(hours=1)
        rig.jobs()
        assert len(sender.given) == tried
        rig.clock.advance_to(datetime(2026, 1, 12, 17, tzinfo=UTC))
        rig.jobs()
        assert len(sender.given) == tried + 1


def test_a_touch_of_whose_window_nothing_is_left_after_quiet_hours_expires() -> None:
    with Rig(campaign(catalog=timed())) as rig:
        rig.engine.put_customers([Customer("ana", timezone="Etc/UTC")])
        made = rig.ask("ana")
        assert made.send_at is not None
        assert made.expires_at is not None
        at, until = made.send_at, made.expires_at + timedelta(hours=1)
        hours = [{"from": f"{at:%H:%M}", "to": f"{until:%H:%M}"}]
        # Quiet hours of the version that decided it: nobody asks today's for what it never heard of.
        rig.store.write(lambda c: _rewrite(c, rig, hours))
        rig.restart()
        rig.clock.advance_to(at)
        rig.jobs()
        assert last(rig, made) == ("expired", "quiet_hours")


def _rewrite(connection: Any, rig: Rig, hours: Sequence[dict[str, str]]) -> None:  # noqa: ANN401 - a connection
    """Give the version that was loaded quiet hours, as if it had always had them."""
    stricter = campaign(catalog=timed(), contact_policy={"quiet_hours": hours})
    body = stricter.model_dump_json(by_alias=True)
    table = "campaign_versions"
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    connection.exec_driver_sql(f"update {table} set body = {mark}", (body,))  # noqa: S608 - ours
    # Under its old name, by which decisions know it.
    rig.engine.versions._compiled.clear()  # noqa: SLF001 - as in another process


# Caps: of two that may not both go out the one that is due first does


def capped(name: str = "camp", **cap: Any) -> CampaignFile:  # noqa: ANN401 - any field of a cap
    return only("email", name, contact_policy={"caps": [{"count": 1, "window": {"rolling": "1d"}} | cap]})


def forced(rig: Rig, *of: str) -> list[Decision]:
    """A touch of each of these campaigns for one customer, planned as if no cap had been there."""
    made = []
    for place, each in enumerate(of):
        made.append(rig.ask("ana", of=each))
        if place < len(of) - 1:
            rig.store.write(lambda c: c.exec_driver_sql("update touches set counts = false"))
    rig.store.write(lambda c: c.exec_driver_sql("update touches set counts = true"))
    return made


def test_of_two_touches_of_a_page_that_may_not_both_go_out_the_first_one_does() -> None:
    with Rig(capped(), capped("other")) as rig:
        first, second = forced(rig, "camp", "other")
        rig.jobs()
        assert [touch.decision_id for touch in rig.sender.sent] == [first.decision_id]
        assert last(rig, first) == ("sent", None)
        assert last(rig, second) == ("cancelled", "cap_reached")


def test_of_many_touches_of_a_page_as_many_go_out_as_may() -> None:
    names = [f"camp{i}" for i in range(6)]
    with Rig(*(capped(name, count=3) for name in names)) as rig:
        made = forced(rig, *names)
        rig.jobs()
        sent = [touch.decision_id for touch in rig.sender.sent]
        assert sent == [each.decision_id for each in made[:3]]
        assert {last(rig, each) for each in made[3:]} == {("cancelled", "cap_reached")}


def test_a_late_touch_counts_from_the_time_at_which_it_goes_out() -> None:
    """It was due five hours ago, and another one now; the gap between them is measured from when they are sent."""
    gap = {"min_gap": "2h"}
    with Rig(only("email", contact_policy=gap), only("email", "other", contact_policy=gap)) as rig:
        first = rig.ask("ana")
        rig.pass_by(hours=5)
        second = rig.ask("ana", of="other")
        assert second.arm is not None
        rig.jobs()
        assert len(rig.sender.sent) == 1
        assert sorted([last(rig, first), last(rig, second)]) == [("cancelled", "min_gap"), ("sent", None)]


def test_what_its_own_reservation_takes_is_not_in_its_way() -> None:
    with Rig(capped()) as rig:
        made = rig.ask("ana")
        rig.jobs()
        assert last(rig, made) == ("sent", None)


def test_a_touch_that_is_unknown_counts() -> None:
    with Rig(capped(), capped("other")) as rig:
        first, second = forced(rig, "camp", "other")
        change = TouchChange(first.decision_id, "unknown", rig.now_us, "lease_lost")
        rig.store.write(lambda c: touches.transition(c, "default", [change]))
        rig.jobs()
        assert last(rig, second) == ("cancelled", "cap_reached")
        assert not rig.sender.sent


def test_the_zone_that_a_request_named_holds_when_its_touch_is_sent() -> None:
    """Half past three in the afternoon in UTC, at night in Tokyo."""
    with Rig(quiet("20:00", "08:00")) as rig:
        request = rig.request("ana")
        moved = type(request)(request.campaign_id, "ana", "asked", timezone="Asia/Tokyo")
        [made] = rig.engine.decide([moved])
        assert not isinstance(made, Exception)
        assert made.send_at == datetime(2026, 1, 12, 23, tzinfo=UTC)
        rig.jobs()
        assert not rig.sender.sent
        rig.clock.advance_to(START + timedelta(hours=8))
        rig.jobs()
        assert [touch.decision_id for touch in rig.sender.sent] == [made.decision_id]
