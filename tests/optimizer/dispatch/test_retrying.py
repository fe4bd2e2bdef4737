"""What failed for a cause that may pass is tried again, ever later; what cannot be known is asked about."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from optimizer.contact.policy import Retries
from optimizer.dispatch.leasing import LEASE_US
from optimizer.dispatch.retrying import LONGEST, retry_us
from optimizer.dispatch.routes import Route, Routes
from optimizer.dispatch.senders import SENT, Outcome, Result
from optimizer.dispatch.senders.base import NO_TIME
from optimizer.errors import Unavailable
from optimizer.store import attempts
from tests.optimizer.dispatch.scripted import PERMANENT, TEMPORARY, UNKNOWN, Answering, Scripted
from tests.optimizer.engine_example import Rig, campaign, only

if TYPE_CHECKING:
    from optimizer.campaign import CampaignFile

pytestmark = pytest.mark.databases

LEASE_S = LEASE_US // 1_000_000


def limited(**delivery: Any) -> CampaignFile:  # noqa: ANN401 - any field
    parts: dict[str, Any] = {"delivery": delivery} if delivery else {}
    return only("email", settings={"max_touches_per_customer": 1}, **parts)


def heard(rig: Rig, decision_id: str) -> list[tuple[int, str, str | None]]:
    found = rig.store.read(lambda c: attempts.attempts_by_ids(c, "default", [decision_id]))
    return [(row.attempt, row.outcome, row.detail) for row in found.get(decision_id, [])]


def test_retries_come_ever_later_at_random_and_are_given_up_at_their_number() -> None:
    retries = Retries.model_validate({"max": 3, "first": "30s"})
    minute_us = 60_000_000
    for k, longest_us in ((1, minute_us // 2), (2, minute_us), (3, 2 * minute_us)):
        waits = [(retry_us(retries, f"d{i}", k, 0) or 0) / longest_us for i in range(500)]
        assert all(0 <= wait < 1 for wait in waits)
        assert abs(sum(waits) / len(waits) - 0.5) < 0.06, "4.6 standard errors"
    assert retry_us(retries, "d", 2, 5) == retry_us(retries, "d", 2, 5)
    assert retry_us(retries, "d", 4, 0) is None
    patient = Retries.model_validate({"max": 50, "first": "7d"})
    assert (retry_us(patient, "d", 50, 0) or 0) < LONGEST / timedelta(microseconds=1)


def test_a_temporary_failure_is_tried_again_and_what_is_sent_then_is_sent_once() -> None:
    fails = iter([TEMPORARY, TEMPORARY])
    sender = Scripted(lambda _: next(fails, SENT))
    with Rig(limited(), routes=Routes.to(sender)) as rig:
        made = rig.ask()
        rig.jobs()
        touch = rig.touch(made.decision_id)
        assert (touch.state, touch.reason, touch.attempts) == ("planned", "temporary_failure", 1)
        assert rig.now_us <= touch.due_us < rig.now_us + 30_000_000
        assert rig.ask().reason == "max_touches", "it counts until its failure is known"
        rig.pass_by(seconds=30)
        rig.jobs()
        rig.pass_by(minutes=1)
        rig.jobs()
        assert rig.states(made.decision_id) == [
            "planned",
            *(["leased", "sending", "planned"] * 2),
            "leased",
            "sending",
            "sent",
        ]
        assert heard(rig, made.decision_id) == [
            (1, "temporary", "try later"),
            (2, "temporary", "try later"),
            (3, "sent", None),
        ]
        assert sender.times == {made.decision_id: 3}


@pytest.mark.parametrize(("outcome", "reason"), [(PERMANENT, "permanent_failure"), (TEMPORARY, "retries_used_up")])
def test_what_cannot_be_sent_is_a_dead_letter_that_counts_no_longer(outcome: Outcome, reason: str) -> None:
    with Rig(limited(retries={"max": 0}), routes=Routes.to(Scripted(lambda _: outcome))) as rig:
        made = rig.ask()
        rig.jobs()
        assert rig.states(made.decision_id) == ["planned", "leased", "sending", "failed"]
        assert rig.touch(made.decision_id).reason == reason
        assert rig.ask().arm is not None


def test_a_retry_that_would_come_after_the_window_is_none() -> None:
    with Rig(limited(retries={"first": "7d"}), routes=Routes.to(Scripted(lambda _: TEMPORARY))) as rig:
        made = rig.ask()
        for _ in range(100):
            rig.pass_by(minutes=20)
            rig.jobs()
        assert rig.states(made.decision_id)[-1] == "expired"
        assert rig.ask().arm is not None


def test_what_its_sender_had_no_time_for_is_tried_at_once_however_often() -> None:
    left = iter([NO_TIME] * 3)
    with Rig(limited(retries={"max": 0}), routes=Routes.to(Scripted(lambda _: next(left, SENT)))) as rig:
        made = rig.ask()
        for _ in range(4):
            rig.jobs()
        assert rig.touch(made.decision_id).state == "sent"


def test_a_sender_that_does_not_tell_of_each_touch_tells_of_none() -> None:
    class Short(Scripted):
        def send(self, touches: Any) -> Any:  # noqa: ANN401 - as the sender's
            return super().send(touches)[1:]

    with Rig(only("email"), routes=Routes.to(Short())) as rig:
        made = [rig.ask(each).decision_id for each in rig.customers(3)]
        rig.jobs()
        assert {rig.touch(each).state for each in made} == {"unknown"}


# Where nobody knows


def test_at_most_once_what_nobody_knows_stays_unknown_for_ever() -> None:
    sender = Scripted(lambda _: UNKNOWN)
    with Rig(limited(), routes=Routes.to(sender)) as rig:
        made = rig.ask()
        for _ in range(30):
            rig.jobs()
            rig.pass_by(hours=1)
        assert rig.states(made.decision_id) == ["planned", "leased", "sending", "unknown"]
        assert sender.times == {made.decision_id: 1}
        assert rig.touch(made.decision_id).lease_until_us is None, "nobody will ask"


def test_at_least_once_it_is_sent_again_after_a_lease() -> None:
    doubts = iter([UNKNOWN])
    sender = Scripted(lambda _: next(doubts, SENT))
    with Rig(limited(), routes=Routes(Route(sender, at_least_once=True))) as rig:
        made = rig.ask()
        rig.jobs()
        rig.pass_by(seconds=LEASE_S - 1)
        rig.jobs()
        assert rig.touch(made.decision_id).state == "unknown", "it may still arrive"
        rig.pass_by(seconds=1)
        rig.jobs()
        rig.jobs()
        assert rig.states(made.decision_id)[3:] == ["unknown", "planned", "leased", "sending", "sent"]
        assert sender.times == {made.decision_id: 2}


@pytest.mark.parametrize("then", [TEMPORARY, PERMANENT])
def test_what_was_perhaps_sent_and_is_not_sent_again_stays_unknown_and_counts(then: Outcome) -> None:
    """Its campaign is stopped, it is taken back, its window ends: nothing of that makes it unsent."""
    doubts = iter([UNKNOWN])
    sender = Scripted(lambda _: next(doubts, then))
    with Rig(limited(), routes=Routes(Route(sender, at_least_once=True))) as rig:
        made = rig.ask()
        rig.jobs()
        rig.pass_by(seconds=LEASE_S)
        rig.jobs()
        rig.jobs()
        assert sender.times == {made.decision_id: 2}
        rig.store.write(lambda c: rig.engine.outbox.cancel(c, [made.decision_id], "a_test"))
        assert rig.touch(made.decision_id).state == "unknown"
        assert rig.ask().arm is None, "it counts"


def test_at_least_once_nothing_is_sent_after_its_window() -> None:
    sender = Scripted(lambda _: UNKNOWN)
    with Rig(limited(), routes=Routes(Route(sender, at_least_once=True))) as rig:
        made = rig.ask()
        rig.pass_by(hours=23, minutes=59, seconds=30)
        rig.jobs()
        for _ in range(30):
            rig.pass_by(hours=1)
            rig.jobs()
        assert rig.touch(made.decision_id).state == "unknown"
        assert sender.times == {made.decision_id: 1}


@pytest.mark.parametrize(
    ("answer", "state", "times"), [(SENT, "sent", 1), (TEMPORARY, "sent", 2), (PERMANENT, "failed", 1)]
)
def test_a_provider_that_can_be_asked_says_what_came_of_it(answer: Outcome, state: str, times: int) -> None:
    doubts = iter([UNKNOWN])
    sender = Answering(lambda _: next(doubts, SENT))
    sender.answer = answer
    with Rig(limited(), routes=Routes.to(sender)) as rig:
        made = rig.ask()
        for _ in range(3):
            rig.jobs()
            rig.pass_by(seconds=LEASE_S)
        rig.jobs()
        assert rig.touch(made.decision_id).state == state
        assert sender.times == {made.decision_id: times}
        assert (rig.ask().arm is None) == (state == "sent")


def test_what_its_provider_does_not_know_either_is_asked_again_ever_later_for_a_day() -> None:
    sender = Answering(lambda _: UNKNOWN)
    sender.answer = UNKNOWN
    with Rig(limited(), routes=Routes.to(sender)) as rig:
        made = rig.ask()
        rig.jobs()
        for _ in range(200):
            due_us = rig.touch(made.decision_id).lease_until_us
            if due_us is None:
                break
            assert rig.engine.next_due_us() == due_us
            rig.pass_by(microseconds=due_us - rig.now_us)
            rig.engine.outbox.resolve()
        assert rig.states(made.decision_id)[3:] == ["unknown"] * 13, "1, 2, 4, ... minutes after its sending"
        assert sender.times == {made.decision_id: 1}


def test_a_customer_who_was_erased_is_asked_about_no_more() -> None:
    sender = Answering(lambda _: UNKNOWN)
    with Rig(limited(), routes=Routes.to(sender)) as rig:
        made = rig.ask()
        rig.jobs()
        rig.engine.erase_customer("c000")
        rig.pass_by(seconds=LEASE_S)
        rig.jobs()
        assert rig.touch(made.decision_id).state == "unknown"


def test_what_was_sent_is_noted_as_soon_as_the_database_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Scripted()
    with Rig(limited(), routes=Routes.to(sender)) as rig:
        made = rig.ask()
        settling = rig.engine.outbox._settling  # noqa: SLF001 - where the database fails
        settle = settling.settle

        def fails(*_: Any, **__: Any) -> int:  # noqa: ANN401 - whatever it is given
            raise Unavailable("no database")

        monkeypatch.setattr(settling, "settle", fails)
        with pytest.raises(ExceptionGroup):
            rig.engine.outbox.dispatch_due()
        monkeypatch.setattr(settling, "settle", settle)
        rig.pass_by(seconds=LEASE_S)
        rig.jobs()
        assert rig.states(made.decision_id) == ["planned", "leased", "sending", "sent"]
        assert sender.times == {made.decision_id: 1}


def test_what_a_version_says_of_retries_holds_for_its_decisions() -> None:
    sender = Scripted(lambda _: TEMPORARY)
    with Rig(campaign(delivery={"retries": {"max": 0}}), routes=Routes.to(sender)) as rig:
        made = next(each for each in map(rig.ask, rig.customers(20)) if each.arm and each.arm.channel == "email")
        rig.engine.load_campaign(campaign(delivery={"retries": {"max": 9}}))
        rig.jobs()
        assert rig.touch(made.decision_id).state == "failed"
        assert Result.TEMPORARY.value in heard(rig, made.decision_id)[0]


def test_what_its_sender_had_no_time_for_is_no_attempt_and_leaves_its_room_to_others() -> None:
    outcomes = iter([NO_TIME, TEMPORARY, SENT])
    sender = Scripted(lambda _: next(outcomes))
    with Rig(limited(retries={"max": 1}), routes=Routes(Route(sender, daily_capacity=2))) as rig:
        made = rig.ask()
        for _ in range(3):
            rig.jobs()
            rig.pass_by(seconds=30)
        assert rig.touch(made.decision_id).state == "sent"
        assert [outcome for _, outcome, _ in heard(rig, made.decision_id)] == ["temporary", "sent"]


def test_whoever_puts_a_dead_letter_back_has_it_tried_as_often_as_at_first() -> None:
    sender = Scripted(lambda _: TEMPORARY)
    with Rig(limited(retries={"max": 1}), routes=Routes.to(sender)) as rig:
        made = rig.ask()
        for tries in (2, 4):
            for _ in range(3):
                rig.jobs()
                rig.pass_by(minutes=1)
            assert rig.touch(made.decision_id).state == "failed"
            assert len(sender.given) == tries
            if tries == 2:
                rig.engine.retry_touch(made.decision_id)


def test_what_a_provider_refuses_for_good_does_not_hold_up_what_is_due_after_it() -> None:
    sender = Scripted(lambda touch: PERMANENT if touch.customer_id == "c000" else SENT, batch=1)
    with Rig(only("email"), routes=Routes.to(sender)) as rig:
        made = [rig.ask(each).decision_id for each in rig.customers(3)]
        rig.engine.outbox.dispatch_due()
        assert [rig.touch(each).state for each in made] == ["failed", "sent", "sent"]
