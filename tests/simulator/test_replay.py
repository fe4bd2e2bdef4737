"""A logged test goes through the whole engine, and only what the log can answer is learned."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from optimizer.campaign import CampaignFile
from optimizer.config import load_attributes, load_campaign, load_file
from optimizer.errors import InvalidInput
from optimizer.store import decisions, events, rewards, touches
from simulator.logs.mapping import LogFormat
from simulator.replay import UNMATCHED, Replay, benchmarks
from simulator.worlds import LoggedRow, LoggedWorld

if TYPE_CHECKING:
    from optimizer.store.rows import DecisionRow

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
SHARED = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
ATTRIBUTES = load_attributes(CONFIGS / "attributes.yaml")
HILLSTROM = load_campaign(CONFIGS / "hillstrom.yaml", ATTRIBUTES)
ARMS = ("mens", "womens", "no_send")


def hillstrom_with(part: str, **changes: object) -> CampaignFile:
    """The campaign with some settings of one part changed."""
    data = HILLSTROM.model_dump(mode="json", by_alias=True)
    return CampaignFile.model_validate({**data, part: {**data[part], **changes}})


def synthetic(n: int, seed: int = 0) -> LoggedWorld:
    """A log in which men's e-mail is visited nine times in ten where `mens` is set, and women's where it is not."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        mens, arm = bool(rng.random() < 0.5), ARMS[rng.integers(3)]
        likes = arm == ("mens" if mens else "womens")
        visited = float(rng.random() < (0.9 if likes else 0.1))
        rows.append(
            LoggedRow(f"row-{i}", {"mens": mens, "womens": not mens}, arm, {"visited": visited, "spend": 2 * visited})
        )
    return LoggedWorld(rows, ARMS)


def replayed(world: LoggedWorld, seed: int = 1, campaign: CampaignFile = HILLSTROM, step: int = 100) -> Replay:
    replay = Replay(campaign, ATTRIBUTES, world, seed=seed, publish_every=step)
    assert list(replay.run())[-1] == len(world.rows)
    return replay


@pytest.fixture(scope="module")
def finished() -> Replay:
    return replayed(synthetic(1500))


def log(replay: Replay) -> list[DecisionRow]:
    runtime = replay.engine.runtime
    return runtime.store.read(
        lambda c: decisions.decision_page(c, runtime.tenant, HILLSTROM.id, after_id="", limit=100_000)
    )


def test_every_customer_is_decided_once_and_counts_where_the_log_has_the_same_arm(finished: Replay) -> None:
    rows = log(finished)
    logged = {row.customer_id: row.arm_id for row in finished.world.rows}
    assert sorted(row.request_id or "" for row in rows) == sorted(logged)
    same = {row.request_id for row in rows if row.arm == logged[row.request_id or ""]}
    assert {row.customer_id for row in finished.matched} == same
    assert finished.learned().customers == len(same)


def test_about_one_decision_in_three_matches_a_log_of_three_arms(finished: Replay) -> None:
    # Binomial(1500, 1/3): four standard deviations are .049, left once in 16,000 seeds.
    assert finished.learned().customers / 1500 == pytest.approx(1 / 3, abs=0.049)


def test_every_decision_is_closed_and_no_void_one_is_learned(finished: Replay) -> None:
    rows, runtime = log(finished), finished.engine.runtime
    ids = [row.decision_id for row in rows]
    matched = {row.customer_id for row in finished.matched}
    closed = runtime.store.read(lambda c: rewards.rewards_by_ids(c, runtime.tenant, ids))
    causes = runtime.store.read(lambda c: decisions.void_causes(c, runtime.tenant, dict.fromkeys(ids, sys.maxsize)))
    for row in rows:
        assert closed[row.decision_id].learn == (row.request_id in matched)
        assert causes.get(row.decision_id) == (None if row.request_id in matched else UNMATCHED)
    assert finished.engine.campaign(HILLSTROM.id).learned == len(matched)


def test_the_reward_of_a_matched_decision_is_the_logged_outcome(finished: Replay) -> None:
    rows, runtime = log(finished), finished.engine.runtime
    by_customer = {row.request_id: row.decision_id for row in rows}
    closed = runtime.store.read(lambda c: rewards.rewards_by_ids(c, runtime.tenant, by_customer.values()))
    for row in finished.matched:
        assert closed[by_customer[row.customer_id]].reward == row.outcomes["visited"]


def test_matched_messages_are_shown_and_the_others_are_taken_back(finished: Replay) -> None:
    rows, runtime = log(finished), finished.engine.runtime
    matched = {row.customer_id for row in finished.matched}
    known = runtime.store.read(lambda c: touches.touches_by_ids(c, runtime.tenant, [row.decision_id for row in rows]))
    named = runtime.store.read(lambda c: events.events_naming_decisions(c, runtime.tenant, known))
    shown = {event.decision_id for event in named if event.name == "shown"}
    for row in rows:
        if row.arm == "no_send":
            assert row.decision_id not in known
        else:
            assert known[row.decision_id].state == ("sent" if row.request_id in matched else "cancelled")
            assert (row.decision_id in shown) == (row.request_id in matched)


def test_a_snapshot_is_published_after_every_step(finished: Replay) -> None:
    seen = [row.snapshot_id for row in log(finished)]
    steps = [set(seen[start : start + 100]) for start in range(0, 1500, 100)]
    assert steps[0] == {None}
    assert all(len(step) == 1 for step in steps)
    assert len(set.union(*steps)) == len(steps)


def test_what_is_learned_beats_chance_and_every_single_arm(finished: Replay) -> None:
    learned = finished.learned().outcomes["visited"]
    assert learned.low is not None
    for policy in benchmarks(finished.world):
        other = policy.outcomes["visited"].high
        assert other is not None
        assert learned.low > other


def test_benchmarks_are_the_means_of_the_log() -> None:
    row = LoggedRow("a", {}, "mens", {"visited": 1.0, "spend": 3.0})
    rows = [
        row,
        LoggedRow("b", {}, "mens", {"visited": 0.0, "spend": 0.0}),
        LoggedRow("c", {}, "no_send", row.outcomes),
    ]
    mens, womens, no_send, random = benchmarks(LoggedWorld(rows, ARMS))
    assert (mens.policy, mens.customers, mens.outcomes["spend"].mean) == ("mens", 2, 1.5)
    assert (womens.customers, womens.outcomes["visited"].mean) == (0, None)
    assert (no_send.customers, no_send.outcomes["visited"].mean) == (1, 1.0)
    assert (random.policy, random.customers, random.outcomes["spend"].mean) == ("random", 3, 2.0)


def test_same_seed_same_log_and_another_seed_another_one() -> None:
    world = synthetic(300)
    first, again, other = (log(replayed(world, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_an_outcome_with_an_amount_is_a_field_of_the_event() -> None:
    spending = hillstrom_with("reward", events=[{"name": "spend", "value_from": "usd", "cap": 100, "window": "1h"}])
    replay = replayed(synthetic(200), campaign=spending)
    runtime = replay.engine.runtime
    ids = {row.request_id: row.decision_id for row in log(replay)}
    closed = runtime.store.read(lambda c: rewards.rewards_by_ids(c, runtime.tenant, ids.values()))
    assert {closed[ids[row.customer_id]].reward for row in replay.matched} == {0.0, 2.0}


def test_randomised_control_is_not_counted_as_the_learned_policy() -> None:
    replay = replayed(synthetic(300), campaign=hillstrom_with("groups", random_control=0.5))
    treated = {row.request_id for row in log(replay) if row.group_name == "treatment"}
    assert 100 < len(treated) < 200
    assert replay.matched
    assert {row.customer_id for row in replay.matched} <= treated


def test_a_campaign_with_other_arms_than_the_log_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"the arms mens, womens, no_send, the log has mens, no_send"):
        Replay(HILLSTROM, ATTRIBUTES, LoggedWorld([], ("mens", "no_send")), seed=0)


@pytest.mark.skipif(not (SHARED / "hillstrom.csv.gz").exists(), reason="the shared data is not there: set SHARED_DATA")
def test_hillstrom_goes_through_the_engine() -> None:
    whole = LoggedWorld.read(SHARED / "hillstrom.csv.gz", load_file(CONFIGS / "worlds" / "hillstrom.yaml", LogFormat))
    replay = replayed(LoggedWorld(whole.rows[:2000], whole.arm_ids))
    # Binomial(2000, 1/3): four standard deviations.
    assert replay.learned().customers / 2000 == pytest.approx(1 / 3, abs=0.042)
    report = replay.engine.campaign(HILLSTROM.id)
    assert (report.decisions, report.waiting) == (2000, 0)
    assert report.learned == replay.learned().customers
    assert report.left_out == 2000 - report.learned
    assert set(replay.learned().outcomes) == {"visited", "purchased", "spend"}
