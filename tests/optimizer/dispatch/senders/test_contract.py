"""What every sender promises, tried with each kind that there is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from optimizer.dispatch.kinds import kinds, settings_of
from optimizer.dispatch.senders import Answers, Outcome, Result
from tests.optimizer.dispatch.senders.rigs import RIGS, Rig
from tests.optimizer.dispatch.senders.touch import PERSONAL, touch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


MARKS = "[TEST]", '"test":true'


@pytest.fixture(params=sorted(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with RIGS[request.param](tmp_path) as made:
        yield made


def results(outcomes: Sequence[Outcome]) -> list[Result]:
    for outcome in outcomes:
        assert not any(secret.casefold() in (outcome.detail or "").casefold() for secret in PERSONAL)
        assert not any(secret.casefold() in (outcome.provider_id or "").casefold() for secret in PERSONAL)
        assert outcome.result is Result.SENT or outcome.detail
    return [outcome.result for outcome in outcomes]


def test_there_is_a_rig_for_every_kind_that_is_installed() -> None:
    """A new sender needs a provider to be tried against."""
    assert kinds().keys() == RIGS.keys()
    for kind in kinds():
        assert settings_of(kind).model_fields["kind"].annotation is not str


def test_every_touch_is_taken_once_and_told_in_order(rig: Rig) -> None:
    touches = [touch(number) for number in range(min(rig.sender.batch, 20))]
    assert results(rig.sender.send(touches)) == [Result.SENT] * len(touches)
    arrived = rig.arrived()
    assert len(arrived) == len(touches)
    # By the decision, or by the address where the provider is told no more than that.
    assert all(sum(each.decision_id in text or f"/{each.address}" in text for text in arrived) == 1 for each in touches)


def test_nothing_comes_of_nothing(rig: Rig) -> None:
    assert list(rig.sender.send([])) == []
    assert rig.arrived() == []


def test_one_that_is_refused_holds_up_no_other(rig: Rig) -> None:
    if rig.spoil is None:
        pytest.skip("it takes everything")
    outcomes = rig.sender.send([touch(1), rig.spoil(touch(2)), touch(3)])
    assert results(outcomes) == [Result.SENT, Result.PERMANENT, Result.SENT]


def test_where_its_provider_is_not_there_nothing_is_sent_and_nothing_raised(rig: Rig) -> None:
    if rig.unreachable is None:
        pytest.skip("it has no provider")
    sender, expected = rig.unreachable
    assert results(sender.send([touch(1), touch(2)])) == [expected] * 2


def test_what_was_taken_without_an_answer_is_unknown(rig: Rig) -> None:
    if rig.hush is None:
        pytest.skip("it waits for no answer")
    rig.hush()
    assert results(rig.sender.send([touch(1)])) == [Result.UNKNOWN]
    assert len(rig.arrived()) == 1


def test_without_an_address_nobody_is_reached_who_needs_one(rig: Rig) -> None:
    outcome = rig.sender.send([touch(address=None)])
    assert results(outcome) == [Result.PERMANENT if rig.sender.needs_address else Result.SENT]
    assert len(rig.arrived()) == (0 if rig.sender.needs_address else 1)


def test_a_test_send_can_be_told_from_others(rig: Rig) -> None:
    rig.sender.send([touch(1)])
    assert not any(mark in text for text in rig.arrived() for mark in MARKS)
    rig.sender.send([touch(2, test=True)])
    assert sum(any(mark in text for mark in MARKS) for text in rig.arrived()) == 1


def test_asked_afterwards_it_knows_what_it_has_sent(rig: Rig) -> None:
    if not isinstance(rig.sender, Answers):
        pytest.skip("it cannot be asked")
    rig.sender.send([touch(1), touch(2)])
    asked = rig.sender.ask([touch(3), touch(2), touch(1)])
    assert results(asked) == [Result.TEMPORARY, Result.SENT, Result.SENT]
    assert results(rig.sender.ask([replace(touch(1), decision_id="another")])) == [Result.TEMPORARY]
