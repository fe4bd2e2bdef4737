"""Each touch goes out once or not at all, and what cannot be known is said to be unknown."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from optimizer.dispatch import leasing, outbox
from optimizer.dispatch.leasing import LEASE_US, Leasing, Page
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import Outgoing
from optimizer.engine import Engine
from optimizer.store import touches
from optimizer.store.customers import Customer
from optimizer.store.touches import TouchChange
from tests.optimizer.engine_example import ATTRIBUTES, SLOTS, START, Notes, ProcessDied, Rig, campaign, only

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from optimizer.campaign import CampaignFile

pytestmark = pytest.mark.databases


def raising(failure: BaseException) -> Callable[[], object]:
    def call() -> None:
        raise failure

    return call


def timed() -> CampaignFile:
    """One message by e-mail, in the morning or in the evening."""
    return campaign(catalog={**only("email").model_dump(by_alias=True)["catalog"], "timing": SLOTS})


def limited(channel: str) -> CampaignFile:
    return only(channel, settings={"max_touches_per_customer": 1})


def test_every_due_touch_is_sent_once_with_what_its_channel_needs() -> None:
    with Rig(only("email")) as rig:
        made = [rig.ask(each) for each in rig.customers(3)]
        for _ in range(3):
            rig.jobs()
        assert [touch.decision_id for touch in rig.sender.sent] == [each.decision_id for each in made]
        assert rig.sender.sent[0] == Outgoing(
            made[0].decision_id,
            "default",
            "camp",
            "c000",
            "c000@example.com",
            "email",
            "hello",
            "hello-email",
            1,
            START.isoformat(),
        )
        assert rig.states(made[0].decision_id) == ["planned", "leased", "sending", "sent"]


def test_a_touch_waits_for_its_slot_and_expires_with_it() -> None:
    with Rig(timed()) as rig:
        rig.engine.put_customers([Customer("here", timezone="Etc/UTC"), Customer("nowhere")])
        assert rig.ask("nowhere").reason == "no_timezone"
        made = rig.ask("here")
        assert made.send_at is not None
        assert made.expires_at is not None
        assert START < made.send_at < made.expires_at <= START + timedelta(days=3)
        rig.clock.advance_to(made.send_at - timedelta(seconds=1))
        rig.jobs()
        assert not rig.sender.sent
        rig.clock.advance_to(made.send_at)
        rig.jobs()
        assert [touch.decision_id for touch in rig.sender.sent] == [made.decision_id]
        second = rig.ask("here")
        assert second.expires_at is not None
        rig.clock.advance_to(second.expires_at)
        rig.jobs()
        assert rig.states(second.decision_id) == ["planned", "expired"], "not even at the last instant"


@pytest.mark.parametrize("channel", ["email", "push"])
def test_a_touch_that_expires_makes_room_for_another_one(channel: str) -> None:
    with Rig(limited(channel)) as rig:
        first = rig.ask()
        assert rig.ask().reason == "max_touches"
        rig.pass_by(hours=24)
        rig.jobs()
        assert not rig.sender.sent
        assert rig.states(first.decision_id) == ["planned", "expired"]
        assert rig.ask().arm is not None


def test_a_paused_campaigns_touches_stay_and_go_out_when_it_is_resumed() -> None:
    with Rig(only("email"), only("email", "other")) as rig:
        mine, others = rig.ask(of="camp"), rig.ask(of="other")
        rig.engine.pause("camp")
        rig.jobs()
        assert [touch.decision_id for touch in rig.sender.sent] == [others.decision_id]
        rig.engine.resume("camp")
        rig.jobs()
        assert rig.sender.sent[-1].decision_id == mine.decision_id


def test_a_paused_campaigns_touches_expire_in_the_pause() -> None:
    with Rig(only("email")) as rig:
        made = rig.ask()
        rig.engine.pause("camp")
        rig.pass_by(hours=24)
        rig.jobs()
        rig.engine.resume("camp")
        rig.jobs()
        assert rig.states(made.decision_id) == ["planned", "expired"]
        assert not rig.sender.sent


def test_when_the_sender_raises_nobody_knows_what_it_did_and_nothing_is_sent_again() -> None:
    with Rig(limited("email")) as rig:
        made = rig.ask()
        rig.sender.failure = OSError("connection reset")
        rig.jobs()
        assert rig.states(made.decision_id) == ["planned", "leased", "sending", "unknown"]
        rig.sender.failure = None
        rig.pass_by(hours=1)
        rig.jobs()
        assert not rig.sender.sent
        assert rig.ask().reason == "max_touches", "it may have reached them"
        rig.settle()
        assert rig.reward(made.decision_id)[4:6] == (0.0, True), (
            "learned as drawn, without a cost that nobody can prove"
        )


def test_what_was_being_sent_when_its_process_ended_is_unknown_once_its_lease_has_run_out() -> None:
    with Rig(only("email")) as rig:
        made = rig.ask()
        rig.sender.before = raising(ProcessDied())
        with pytest.raises(ProcessDied):
            rig.engine.outbox.dispatch_due()
        assert rig.touch(made.decision_id).state == "sending"
        rig.sender.before = bool
        rig.restart()
        rig.clock.advance_to(START + timedelta(microseconds=LEASE_US - 1))
        rig.jobs()
        assert rig.touch(made.decision_id).state == "sending", "its process may still be at it"
        rig.pass_by(microseconds=1)
        rig.jobs()
        assert rig.states(made.decision_id)[-1] == "unknown"
        rig.pass_by(hours=1)
        rig.jobs()
        assert not rig.sender.sent


def test_a_lease_that_was_lost_before_sending_began_is_given_back() -> None:
    with Rig(only("email")) as rig:
        made = rig.ask()
        change = TouchChange(made.decision_id, "leased", rig.now_us, None, "token", rig.now_us + LEASE_US)
        rig.store.write(lambda c: touches.transition(c, "default", [change]))
        rig.jobs()
        assert not rig.sender.sent
        rig.pass_by(minutes=1)
        rig.jobs()
        assert rig.states(made.decision_id) == ["planned", "leased", "planned", "leased", "sending", "sent"]
        assert len(rig.sender.sent) == 1


def test_a_sender_slower_than_its_lease_has_still_sent() -> None:
    with Rig(only("email")) as rig:
        made = rig.ask()
        second = Engine(rig.store, ATTRIBUTES, Routes.to(Notes()), clock=rig.clock)

        def meanwhile() -> None:
            rig.pass_by(minutes=2)
            assert second.outbox.dispatch_due() == 0

        rig.sender.before = meanwhile
        rig.jobs()
        assert rig.states(made.decision_id)[-2:] == ["unknown", "sent"]
        assert len(rig.sender.sent) == 1


def test_a_page_that_fails_leaves_the_next_ones_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasing, "PAGE", 2)
    with Rig(only("email")) as rig:
        made = [rig.ask(each).decision_id for each in rig.customers(5)]
        rig.sender.failure = OSError("disk full")
        rig.jobs()
        rig.sender.failure = None
        rig.jobs()
        assert [rig.touch(each).state for each in made] == ["unknown", "unknown", "sent", "sent", "sent"]
        assert [touch.decision_id for touch in rig.sender.sent] == made[2:]


def test_a_channel_of_the_caller_is_never_sent_by_us() -> None:
    with Rig(only("push")) as rig:
        made = rig.ask()
        rig.jobs()
        assert not rig.sender.sent
        assert rig.states(made.decision_id) == ["planned"]


def test_a_void_decisions_touch_is_taken_back_and_counts_no_longer() -> None:
    with Rig(limited("email")) as rig:
        made = rig.ask()
        rig.engine.void([made.decision_id], "test_send")
        rig.jobs()
        assert rig.states(made.decision_id) == ["planned", "cancelled"]
        assert not rig.sender.sent
        assert rig.ask().arm is not None


def test_what_was_sent_already_cannot_be_taken_back() -> None:
    with Rig(limited("email")) as rig:
        made = rig.ask()
        rig.jobs()
        rig.engine.void([made.decision_id], "test_send")
        assert rig.touch(made.decision_id).state == "sent"
        assert rig.ask().reason == "max_touches"


def test_several_workers_at_once_send_every_touch_once(monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    """Half of the touches are due and half are overdue, of one customer each, in small pages."""
    monkeypatch.setattr(leasing, "PAGE", 3)
    monkeypatch.setattr(outbox, "PAGE", 3)
    with Rig(only("email")) as rig:
        overdue = [rig.ask(each).decision_id for each in rig.customers(40)]
        rig.pass_by(hours=24)
        due = [rig.ask(f"c{i:03d}").decision_id for i in range(40)]
        senders = [Notes() for _ in range(4)]
        workers = [Engine(rig.store, ATTRIBUTES, Routes.to(sender), clock=rig.clock) for sender in senders]
        with ThreadPoolExecutor(len(workers)) as several:
            done = list(several.map(lambda worker: worker.outbox.dispatch_due(), workers))
        sent = [touch.decision_id for sender in senders for touch in sender.sent]
        assert sorted(sent) == sorted(due)
        assert sum(done) == len(due)
        assert {tuple(rig.states(each)) for each in overdue} == {("planned", "expired")}
        assert {tuple(rig.states(each)) for each in due} == {("planned", "leased", "sending", "sent")}
        assert database in rig.store.url


def test_a_worker_that_was_stopped_before_it_sent_leaves_the_touches_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the transaction that says that they are being sent and the sender."""
    with Rig(only("email")) as rig:
        made = rig.ask()
        begin = Leasing.begin

        def stopped(leasing_: Leasing, connection: Connection, page: Page) -> object:
            begun = begin(leasing_, connection, page)
            rig.pass_by(seconds=90)
            return begun

        monkeypatch.setattr(Leasing, "begin", stopped)
        assert rig.engine.outbox.dispatch_due() == 0
        assert not rig.sender.sent
        assert rig.states(made.decision_id) == ["planned", "leased", "sending", "planned"]
        monkeypatch.undo()
        rig.jobs()
        assert [touch.decision_id for touch in rig.sender.sent] == [made.decision_id]


def test_what_a_replaced_worker_says_of_a_touch_does_not_count() -> None:
    with Rig(only("email")) as rig:
        made = rig.ask()

        def meanwhile() -> None:
            """Another one leases the touch, after it was given back."""
            lease = TouchChange(made.decision_id, "sending", rig.now_us, None, "another", rig.now_us + LEASE_US)
            rig.store.write(lambda c: touches.transition(c, "default", [lease]))
            raise OSError("connection reset")

        rig.sender.before = meanwhile
        rig.jobs()
        touch = rig.touch(made.decision_id)
        assert (touch.state, touch.lease_token, touch.lease_until_us) == ("sending", "another", rig.now_us + LEASE_US)
