from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.store.campaigns import (
    all_campaigns,
    campaign_by_id,
    campaign_version,
    change_state,
    changes_of,
    load_version,
)
from optimizer.store.rows import CampaignRow, CampaignVersionRow

if TYPE_CHECKING:
    from optimizer.store import Store


def version(config_hash: str, at_us: int) -> CampaignVersionRow:
    return CampaignVersionRow("default", "camp", config_hash, "{}", "key", at_us)


def test_loading_the_current_version_again_changes_nothing(store: Store) -> None:
    assert store.write(lambda c: load_version(c, version("v1", 5), "change-1")) is False
    assert store.read(lambda c: len(changes_of(c, "default", "camp"))) == 1


def test_a_version_that_returns_is_current_again_and_every_change_is_kept(store: Store) -> None:
    assert store.write(lambda c: load_version(c, version("v2", 5), "change-1"))
    assert store.write(lambda c: load_version(c, version("v1", 6), "change-2"))
    current = store.read(lambda c: campaign_by_id(c, "default", "camp"))
    assert current == CampaignRow("default", "camp", "v1", "active", 6)
    assert store.read(lambda c: campaign_version(c, "default", "camp", "v1")) == version("v1", 0)
    assert store.read(lambda c: campaign_version(c, "default", "camp", "v3")) is None
    changes = store.read(lambda c: changes_of(c, "default", "camp"))
    assert [(row.change, row.config_hash) for row in changes] == [("loaded", "v1"), ("loaded", "v2"), ("loaded", "v1")]


def test_a_paused_campaign_stays_paused_through_a_new_version_until_it_is_resumed(store: Store) -> None:
    paused = store.write(lambda c: change_state(c, "default", "camp", "paused", at_us=3, change_id="change-1"))
    assert paused == CampaignRow("default", "camp", "v1", "paused", 3)
    again = store.write(lambda c: change_state(c, "default", "camp", "paused", at_us=4, change_id="change-2"))
    assert again == paused
    store.write(lambda c: load_version(c, version("v2", 5), "change-3"))
    assert [row.state for row in store.read(lambda c: all_campaigns(c, "default"))] == ["paused"]
    store.write(lambda c: change_state(c, "default", "camp", "resumed", at_us=6, change_id="change-4"))
    assert [row.state for row in store.read(lambda c: all_campaigns(c, "default"))] == ["active"]
    changes = store.read(lambda c: changes_of(c, "default", "camp"))
    assert [row.change for row in changes] == ["loaded", "paused", "loaded", "resumed"]


def test_a_campaign_that_is_not_there_has_no_state(store: Store) -> None:
    assert store.write(lambda c: change_state(c, "other", "camp", "paused", at_us=3, change_id="x")) is None
    assert store.read(lambda c: all_campaigns(c, "other")) == []
