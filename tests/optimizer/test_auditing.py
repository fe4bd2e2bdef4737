"""The audit as a job, on the log of a real engine."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import structlog

from optimizer import auditing
from optimizer.campaign import CampaignFile
from optimizer.dispatch.routes import Routes
from optimizer.engine import Engine
from tests import databases
from tests.optimizer.engine_example import ATTRIBUTES, Notes, Rig, campaign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optimizer.propensities import Audited

pytestmark = pytest.mark.databases

GROUPS = {"holdout": 0.1, "random_control": 0.2}


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(campaign(groups=GROUPS), url=databases.fresh_url()) as made:
        yield made


def decide(rig: Rig, n: int, of: str = "camp") -> list[str]:
    answers = rig.engine.decide([rig.request(f"c{i:04}", of=of) for i in range(n)])
    return [answer.decision_id for answer in answers]  # type: ignore[union-attr]


def audited(rig: Rig) -> Audited:
    rig.engine.auditing.audit_due()
    return rig.engine.auditing.found["camp"]


def test_every_random_draw_counts_whether_it_sends_or_not(rig: Rig) -> None:
    """No model yet: 30% control, 60% treatment, all uniform over four arms and no_send; the holdout draws nothing."""
    decide(rig, 600)
    found = audited(rig)
    drawn = [row for row in rig.log() if row.group_name != "holdout"]
    assert found.draws == len(drawn)
    assert sum(row.arm == "no_send" for row in drawn) > 50
    assert found.mean_weight == pytest.approx(1.0)
    assert found.holds


def test_draws_of_a_learned_model_hold_too(rig: Rig) -> None:
    for decision_id in decide(rig, 300)[::3]:
        rig.tell(f"click-{decision_id}", "clicked", decision_id=decision_id)
    rig.settle()
    decide(rig, 300)
    found = audited(rig)
    assert any(row.snapshot_id for row in rig.log())
    assert (found.draws, found.differing) == (sum(row.group_name != "holdout" for row in rig.log()), 0)
    assert found.holds


def test_only_what_is_new_is_looked_at(rig: Rig) -> None:
    decide(rig, 50)
    assert rig.engine.auditing.audit_due() == 50
    assert rig.engine.auditing.audit_due() == 0
    decide(rig, 20)
    assert rig.engine.auditing.audit_due() == 20


def test_a_log_whose_arms_were_drawn_otherwise_is_told_with_an_example(rig: Rig) -> None:
    """Whoever writes another arm into the log cannot also make the draws come out right."""
    decide(rig, 600)
    rig.execute("update decisions set arm = 'hello/email' where arm = 'no_send' and group_name <> 'holdout'")
    with structlog.testing.capture_logs() as logged:
        found = audited(rig)
    assert not found.holds
    assert abs(found.worst[1]) > found.alarm
    assert found.worst[0] in {"hello/email", "no_send"}
    [line] = [line for line in logged if line["event"] == "propensities_differ"]
    assert (line["campaign"], line["arm"]) == ("camp", found.worst[0])


def test_one_changed_propensity_is_found_and_named(rig: Rig) -> None:
    ids = decide(rig, 100)
    rig.execute(f"update decisions set propensity = propensity / 2 where decision_id = '{ids[40]}'")  # noqa: S608 - ours
    found = audited(rig)
    assert (found.differing, found.example) == (1, ids[40])


def test_the_window_forgets_what_is_long_past(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "WINDOW", 100)
    for _ in range(5):
        decide(rig, 60)
        rig.pass_by(minutes=1)
        rig.engine.auditing.audit_due()
    assert 100 <= rig.engine.auditing.found["camp"].draws < 200


def test_of_more_than_a_page_the_newest_are_looked_at(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "PAGE", 10)
    decide(rig, 30)
    assert rig.engine.auditing.audit_due() == 10
    assert rig.engine.auditing.audit_due() == 0


def test_a_campaign_is_audited_by_the_worker_that_holds_it_and_forgotten_by_the_one_before(rig: Rig) -> None:
    decide(rig, 50)
    audited(rig)
    rig.engine.leases.release()
    other = Engine(rig.store, ATTRIBUTES, Routes.to(Notes()), clock=rig.clock, worker="another")
    assert other.auditing.audit_due() == 50
    assert rig.engine.auditing.audit_due() == 0
    assert rig.engine.auditing.found == {}


def test_two_versions_of_a_campaign_are_audited_together(rig: Rig) -> None:
    decide(rig, 100)
    body = campaign(groups=GROUPS).model_dump(mode="json", by_alias=True)
    body["catalog"]["messages"] = body["catalog"]["messages"][:1]
    rig.engine.load_campaign(CampaignFile.model_validate(body))
    rig.pass_by(minutes=1)
    decide(rig, 100)
    found = audited(rig)
    assert found.holds
    assert set(found.off) == {"hello/email", "hello/push", "offer/email", "offer/push", "no_send"}
    assert rig.engine.jobs()[-1].every == timedelta(minutes=1)
