"""Every version of a campaign is kept; new decisions take the current one, pending ones keep theirs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from optimizer.errors import NotFound
from tests.optimizer.engine_example import Rig, campaign, only

pytestmark = pytest.mark.databases


def changes(rig: Rig) -> list[str]:
    return [row[3] for row in sorted(rig.dump("campaign_changes")["campaign_changes"], key=lambda row: row[1])]


def test_loading_the_same_campaign_again_changes_nothing() -> None:
    with Rig(campaign()) as rig:
        before = rig.dump("campaign_versions", "campaigns", "campaign_changes")
        rig.pass_by(hours=1)
        assert rig.engine.load_campaign(campaign()) is False
        assert rig.dump("campaign_versions", "campaigns", "campaign_changes") == before
        assert rig.engine.load_campaign(only("push")) is True
        assert rig.engine.load_campaign(campaign()) is True, "an earlier version may come back"
        assert len(rig.dump("campaign_versions")["campaign_versions"]) == 2
        assert changes(rig) == ["loaded", "loaded", "loaded"]


def test_new_decisions_take_the_new_version_and_pending_ones_keep_theirs() -> None:
    reward = {"lateness": "1h", "events": [{"name": "clicked", "value": 7, "window": "1h"}]}
    old, new = only("email"), only("push", reward=reward)
    with Rig(old) as rig:
        first = rig.ask()
        rig.engine.load_campaign(new)
        second = rig.ask()
        assert [first.config_hash, second.config_hash] == [old.config_hash, new.config_hash]
        assert second.arm is not None
        assert second.arm.channel == "push"
        rig.jobs()
        assert [touch.template for touch in rig.sender.sent] == ["hello-email"], "the touch of the old version goes out"
        rig.tell("e1", "clicked", decision_id=first.decision_id)
        rig.tell("e2", "clicked", decision_id=second.decision_id)
        rig.settle()
        assert [rig.reward(each.decision_id).reward for each in (first, second)] == [1 - 0.25, 7.0]


def test_a_paused_campaign_stays_paused_when_a_new_version_is_loaded() -> None:
    with Rig(campaign()) as rig:
        rig.engine.pause("camp")
        rig.engine.load_campaign(only("push"))
        assert rig.ask().reason == "campaign_not_active"


def test_pausing_twice_is_noted_once() -> None:
    with Rig(campaign()) as rig:
        rig.engine.pause("camp")
        rig.engine.pause("camp")
        rig.engine.resume("camp")
        rig.engine.resume("camp")
        assert changes(rig) == ["loaded", "paused", "resumed"]


def test_versions_outlive_the_process(tmp_path: object) -> None:
    with Rig(campaign(), url=f"sqlite:///{tmp_path}/log.db") as rig:
        made = rig.ask()
        rig.engine.load_campaign(only("push"))
        rig.restart()
        assert rig.engine.decision(made.decision_id) == made
        assert rig.engine.verify_campaign("camp") == (1, [])
        assert rig.engine.campaign("camp").config_hash == only("push").config_hash


def test_a_version_that_was_never_loaded_is_not_found() -> None:
    with Rig(campaign()) as rig, pytest.raises(NotFound, match="no version"):
        rig.store.read(lambda c: rig.engine.versions.get(c, "camp", "0" * 64))


def test_processes_that_start_together_with_the_same_files_load_them_once() -> None:
    with Rig() as rig, ThreadPoolExecutor(4) as several:
        assert sum(several.map(rig.engine.load_campaign, [campaign()] * 4)) == 1
        assert changes(rig) == ["loaded"]
        assert sum(several.map(rig.engine.load_campaign, [only("push")] * 4)) == 1
        assert changes(rig) == ["loaded", "loaded"]
        list(several.map(rig.engine.pause, ["camp"] * 4))
        assert changes(rig) == ["loaded", "loaded", "paused"]
