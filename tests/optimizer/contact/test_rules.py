from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.catalog import Arm
from optimizer.clock import from_us
from optimizer.reasons import Reason
from tests.optimizer.contact.cases import Case, batch_for, cases
from tests.optimizer.contact.reference import Reference

if TYPE_CHECKING:
    from random import Random

    from numpy.typing import NDArray

    from optimizer.campaign import CampaignFile


def named(codes: NDArray[np.uint8]) -> list[Reason | None]:
    return [Reason.from_code(code) if code else None for code in codes.tolist()]


@settings(max_examples=120)
@given(cases() | cases(limits_only=True))
def test_every_arm_is_removed_for_its_first_cause_and_for_no_other(case: Case) -> None:
    removed = case.version.decider.removed(case.batch)
    for row in range(len(case.people)):
        reference = case.reference(row)
        assert named(removed[row]) == [reference.reason(arm) for arm in case.version.catalog.arms]


@settings(max_examples=120)
@given(cases() | cases(limits_only=True))
def test_what_is_about_to_go_out_is_held_back_for_its_first_cause_until_hours_let_it(case: Case) -> None:
    catalog = case.version.catalog
    for k, arm in enumerate(catalog.arms):
        if arm.message is None:
            continue
        codes, until_us = case.version.decider.held_back(case.batch, np.full(len(case.people), k))
        for row, reason in enumerate(named(codes)):
            until = from_us(int(until_us[row])) if until_us[row] else None
            assert (reason, until) == case.reference(row).held_back(arm)


@settings(max_examples=100)
@given(cases())
def test_what_may_be_sent_is_sent_at_the_first_instant_left_and_expires_where_the_last_ends(case: Case) -> None:
    removed = case.version.decider.removed(case.batch)
    ends = case.campaign.campaign.ends_at
    for row in range(len(case.people)):
        reference, schedule = case.reference(row), case.batch.schedules[case.batch.schedule_of[row]]
        for k in np.flatnonzero(removed[row] == 0).tolist():
            arm = case.version.catalog.arms[k]
            window = reference.window(arm.slot)
            if arm.message is None or window is None:
                continue
            start, end = window
            _, send, expires = reference.opening(arm.channel, start, min(end, ends) if ends else end)
            assert tuple(map(from_us, case.version.send_window(schedule, k))) == (send, expires)


@settings(max_examples=80)
@given(cases(most=6))
def test_a_customer_is_filtered_alike_alone_and_in_a_batch(case: Case) -> None:
    decider = case.version.decider
    whole = decider.removed(case.batch)
    for row in range(len(case.people)):
        alone = replace(case, people=case.people[row : row + 1])
        assert (decider.removed(alone.batch)[0] == whole[row]).all()
        assert (decider.removed(case.batch.rows(row, row + 1))[0] == whole[row]).all()


@settings(max_examples=80)
@given(cases(limits_only=True), st.data())
def test_a_limit_less_never_removes_more(case: Case, data: st.DataObject) -> None:
    """Of limits; without some hours a slot may come sooner, and there a limit may hold."""
    policy = case.campaign.contact_policy
    assert policy is not None
    fewer: dict[str, object] = {"min_gap": None}
    name = data.draw(
        st.sampled_from([each for each in ("caps", "cooldowns", "min_gap") if getattr(policy, each)] or ["caps"])
    )
    if name != "min_gap":
        left = getattr(policy, name)
        place = data.draw(st.integers(0, max(len(left) - 1, 0)))
        fewer = {name: (*left[:place], *left[place + 1 :])}
    campaign = case.campaign.model_copy(update={"contact_policy": policy.model_copy(update=fewer)})
    with_it = case.version.decider.removed(case.batch)
    without = replace(case, campaign=campaign)
    assert not (without.version.decider.removed(without.batch)[with_it == 0]).any()


@settings(max_examples=60)
@given(cases(most=1, limits_only=True), st.randoms(use_true_random=False))
def test_whatever_is_decided_one_after_the_other_no_window_ever_holds_more_than_its_cap(
    case: Case, random: Random
) -> None:
    """Every kind of cap and the gaps, asked of what came out and not of what was allowed."""
    person, now = replace(case.people[0], facts={}), case.now
    made: list[list[Any]] = []
    for _ in range(8):
        version = case.version
        batch = batch_for(version, now, (person,))
        removed = version.decider.removed(batch)[0]
        allowed = [k for k in np.flatnonzero(removed == 0).tolist() if version.catalog.arms[k].message is not None]
        if allowed:
            k = random.choice(allowed)
            send_us, _ = version.send_window(batch.schedules[0], k)
            message = version.catalog.messages[version.catalog.message_of[k]]
            arm = version.catalog.arms[k]
            offer = message.offer.id if message.offer else None
            made = sorted([*made, [send_us, "planned", "c", arm.channel, arm.message, offer]], key=lambda row: row[0])
            person = replace(person, facts={"touches": made})
        now += timedelta(minutes=15) * random.choice([0, 1, 2, 4, 24, 96, 300])
    for row in made:
        others = [each for each in made if each is not row]
        reference = Reference(case.campaign, replace(person, facts={"touches": others}), now)
        arm = Arm(row[4], row[3], None)
        uncooled = replace(reference, campaign=without_cooldowns(case.campaign))
        assert uncooled.limited(arm, from_us(row[0])) is None


def without_cooldowns(campaign: CampaignFile) -> CampaignFile:
    policy = campaign.contact_policy
    assert policy is not None
    return campaign.model_copy(update={"contact_policy": policy.model_copy(update={"cooldowns": ()})})
