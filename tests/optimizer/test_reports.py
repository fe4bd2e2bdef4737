"""A report says how a campaign stands: by hand arithmetic on the tables."""

from __future__ import annotations

from math import sqrt

import pytest

from optimizer.reports import GroupReport
from tests.optimizer.engine_example import Rig, campaign, only

pytestmark = pytest.mark.databases

GROUPS = {"holdout": 0.5}


def test_a_new_campaign_has_nothing_to_report() -> None:
    with Rig(campaign()) as rig:
        report = rig.engine.campaign("camp")
        assert (report.name, report.state, report.fault, report.snapshot_id) == ("Camp", "active", None, None)
        assert (report.decisions, report.waiting, report.left_out, report.learned) == (0, 0, 0, 0)
        assert (dict(report.touches), list(report.groups)) == ({}, [])


def test_rewards_are_averaged_by_group_with_an_interval() -> None:
    free = {"lateness": "1d", "events": [{"name": "purchased", "value_from": "amount", "cap": 10, "window": "3d"}]}
    with Rig(only("push", groups=GROUPS, reward=free)) as rig:
        made = [rig.ask(each) for each in rig.customers(12)]
        amounts: dict[str, list[float]] = {}
        for i, each in enumerate(made):
            rig.tell(f"e{i}", "purchased", customer_id=each.customer_id, fields={"amount": i})
            amounts.setdefault(each.group.value, []).append(min(float(i), 10.0))
        assert set(amounts) == {"holdout", "treatment"}
        rig.settle()
        rig.ask("c000")
        report = rig.engine.campaign("camp")
        assert (report.decisions, report.waiting, report.learned) == (13, 1, len(amounts["treatment"]))
        for group in report.groups:
            values = amounts[group.group]
            mean = sum(values) / len(values)
            variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
            half = 1.959963984540054 * sqrt(variance / len(values))
            assert group.decisions == len(values)
            assert group.mean_reward == pytest.approx(mean)
            assert group.interval == pytest.approx((mean - half, mean + half))


def test_one_reward_has_no_interval() -> None:
    with Rig(only("push")) as rig:
        rig.ask()
        rig.settle()
        assert list(rig.engine.campaign("camp").groups) == [GroupReport("treatment", 1, 0.0, None)]


def test_touches_are_counted_by_state_and_campaigns_apart() -> None:
    with Rig(only("email"), only("push", "other")) as rig:
        for each in rig.customers(3):
            rig.ask(each)
        shown = rig.ask("c000", of="other")
        rig.ask("c001", of="other")
        rig.jobs()
        rig.tell("e1", "shown", decision_id=shown.decision_id)
        reports = {report.campaign_id: report for report in rig.engine.campaigns()}
        assert dict(reports["camp"].touches) == {"sent": 3}
        assert dict(reports["other"].touches) == {"planned": 1, "sent": 1}


def test_the_share_left_out_is_reported_for_what_would_have_been_learned() -> None:
    with Rig(only("push", groups=GROUPS)) as rig:
        made = [rig.ask(each) for each in rig.customers(10)]
        rig.engine.void([each.decision_id for each in made[:6]], "outage")
        rig.settle()
        report = rig.engine.campaign("camp")
        treated = [each.group == "treatment" for each in made]
        assert (report.left_out, report.learned) == (sum(treated[:6]), sum(treated[6:]))
