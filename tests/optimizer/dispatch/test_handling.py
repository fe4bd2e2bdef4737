"""What people do with touches by hand: everything is refused that would embarrass somebody, and noted who did it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from optimizer.dispatch.handling import Wanted
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import SENT
from optimizer.errors import Conflict, NotFound
from tests.optimizer.dispatch.scripted import PERMANENT, UNKNOWN, Scripted
from tests.optimizer.engine_example import Rig, only

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optimizer.decisions import Decision

pytestmark = pytest.mark.databases


@pytest.fixture
def sender() -> Scripted:
    return Scripted(lambda _: PERMANENT)


@pytest.fixture
def rig(sender: Scripted) -> Iterator[Rig]:
    with Rig(only("email", settings={"max_touches_per_customer": 1}), routes=Routes.to(sender)) as made:
        yield made


def failed(rig: Rig) -> Decision:
    made = rig.ask()
    rig.jobs()
    assert rig.touch(made.decision_id).state == "failed"
    return made


def changes(rig: Rig, made: Decision) -> list[tuple[str, str]]:
    return [(row.action, row.actor) for row in rig.engine.changes(9, object_=f"touch:{made.decision_id}")]


def test_a_dead_letter_is_sent_after_all_and_counts_again(rig: Rig, sender: Scripted) -> None:
    made = failed(rig)
    sender.script = lambda _: SENT
    touch = rig.engine.retry_touch(made.decision_id, by="cli:ops")
    assert (touch.state, touch.reason) == ("planned", "by_hand")
    assert rig.ask().reason == "max_touches"
    rig.jobs()
    assert rig.touch(made.decision_id).state == "sent"
    assert changes(rig, made) == [("retried", "cli:ops")]


def test_nothing_is_put_back_after_its_window(rig: Rig) -> None:
    made = failed(rig)
    rig.pass_by(hours=24)
    with pytest.raises(Conflict, match="it is too late to send it"):
        rig.engine.retry_touch(made.decision_id)
    assert changes(rig, made) == []


def test_what_is_unknown_is_put_back_only_where_somebody_says_so(rig: Rig, sender: Scripted) -> None:
    sender.script = lambda _: UNKNOWN
    made = rig.ask()
    rig.jobs()
    with pytest.raises(Conflict, match="nobody knows whether"):
        rig.engine.retry_touch(made.decision_id)
    assert rig.engine.retry_touch(made.decision_id, even_if_sent=True).state == "planned"
    sender.script = lambda _: SENT
    rig.jobs()
    assert rig.states(made.decision_id)[-1] == "sent"
    assert rig.ask().reason == "max_touches"


def test_what_was_sent_is_neither_put_back_nor_taken_back(rig: Rig, sender: Scripted) -> None:
    sender.script = lambda _: SENT
    made = rig.ask()
    rig.jobs()
    for act in (rig.engine.retry_touch, rig.engine.cancel_touch):
        with pytest.raises(Conflict, match="is sent: only what"):
            act(made.decision_id)


def test_a_planned_touch_is_taken_back_and_counts_no_longer(rig: Rig, sender: Scripted) -> None:
    made = rig.ask()
    assert rig.engine.cancel_touch(made.decision_id, by="key:k").state == "cancelled"
    rig.jobs()
    assert sender.given == []
    assert rig.ask().arm is not None
    assert changes(rig, made) == [("cancelled", "key:k")]


def test_a_caller_is_not_made_to_send_its_own_touches_again() -> None:
    with Rig(only("push")) as rig:
        made = rig.ask()
        with pytest.raises(Conflict, match="is planned"):
            rig.engine.retry_touch(made.decision_id)
        assert rig.engine.cancel_touch(made.decision_id).state == "cancelled"


def test_touches_that_are_not_there_are_not_found(rig: Rig) -> None:
    for act in (rig.engine.retry_touch, rig.engine.cancel_touch):
        with pytest.raises(NotFound):
            act("none")


def test_dead_letters_are_listed_with_what_their_sender_said(rig: Rig) -> None:
    made = failed(rig)
    rig.ask("another")
    [letter] = rig.engine.touches(Wanted(state="failed"), 10)
    assert letter.touch.decision_id == made.decision_id
    assert letter.attempt is not None
    assert (letter.attempt.outcome, letter.attempt.detail, letter.attempt.sender) == (
        "permanent",
        "no such address",
        "Scripted",
    )
    assert [each.attempt for each in rig.engine.touches(Wanted(state="planned"), 10)] == [None]
    assert len(rig.engine.touches(Wanted(campaign_id="camp"), 10)) == 2
    assert len(rig.engine.touches(Wanted(), 1)) == 1
    assert rig.engine.touches(Wanted(campaign_id="none"), 10) == []
    assert rig.engine.touches(Wanted(), 10, before_id=letter.touch.decision_id) == []
