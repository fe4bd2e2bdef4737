from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings

from optimizer.clock import from_us
from optimizer.reasons import Reason
from tests.optimizer.contact.cases import Case, cases

if TYPE_CHECKING:
    from numpy.typing import NDArray


def named(codes: NDArray[np.uint8]) -> list[Reason | None]:
    return [Reason.from_code(code) if code else None for code in codes.tolist()]


@settings(max_examples=150)
@given(cases())
def test_every_arm_is_removed_for_its_first_cause_and_for_no_other(case: Case) -> None:
    removed = case.version.decider.removed(case.batch)
    for row in range(len(case.people)):
        reference = case.reference(row)
        assert named(removed[row]) == [reference.reason(arm) for arm in case.version.catalog.arms]


@settings(max_examples=150)
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
