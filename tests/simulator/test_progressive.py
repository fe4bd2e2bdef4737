"""A campaign's policy goes through a log as it would have gone through the time of the log."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.campaign import CampaignFile
from optimizer.choices import Batch
from optimizer.clock import from_us, to_us
from optimizer.decider import Decider
from optimizer.errors import InvalidInput
from optimizer.evaluation.log import Log
from optimizer.groups import Group
from optimizer.learner import Learner
from optimizer.lessons import Lessons
from optimizer.reasons import ALLOWED
from optimizer.versions import Version
from simulator.progressive import Progressive
from simulator.slot_variants import SlotVariants
from tests.simulator.factory import FACTORIAL

ZONES = ("Europe/Paris", "Asia/Kolkata", "America/New_York", None)
START = datetime(2026, 1, 3, 5, 30, tzinfo=UTC)
PLAIN = CampaignFile.model_validate(
    {
        "version": 1,
        "campaign": {"id": "plain", "name": "plain", "starts_at": "2026-01-01T00:00:00Z"},
        "features": [
            {"name": "age", "bucket": "customer", "type": "number"},
            {"name": "plan", "bucket": "customer", "type": "category"},
        ],
        "catalog": {"messages": [{"id": "a"}, {"id": "b"}], "no_send": True},
        "reward": {"events": [{"name": "hit", "value": 2, "window": "1h"}]},
    }
)


def log_of(campaign: CampaignFile, n: int, seed: int = 1, **changes: object) -> Log:
    """Decisions of a uniform policy among random candidates, minutes apart, whose rewards are known hours later."""
    rng = np.random.default_rng(seed)
    arms = tuple(arm.id for arm in Decider(campaign).catalog.arms)
    allowed = rng.random((n, len(arms))) < 0.7
    chosen = rng.integers(0, len(arms), n)
    allowed[np.arange(n), chosen] = True
    time_us = to_us(START) + np.cumsum(rng.integers(0, 4, n)) * 97_000_000
    delay_us = rng.integers(0, 3, n) * 3_600_000_000
    context: dict[str, Any] = {}
    for feature in campaign.features:
        if feature.source == "attribute" and feature.type == "number":
            context[feature.name] = np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(size=n))
        elif feature.source == "attribute":
            context[feature.name] = rng.choice(np.array(["x", "y", "z", None], object), n)
    likes = rng.random(n) < np.where(chosen % 3 == 0, 0.4, 0.1)
    columns: dict[str, Any] = {
        "propensity": 1.0 / np.count_nonzero(allowed, axis=1),
        "reward": likes * campaign.reward.scale,
        "allowed": allowed,
        "time_us": time_us,
        "close_us": time_us + delay_us,
        "decision_ids": np.array([f"{number:06d}" for number in rng.permutation(n)], object),
        "zone": rng.choice(np.array(ZONES, object), n),
        "context": context,
        "history": {"touches_7d": rng.integers(0, 5, n).astype(np.float64)},
    }
    return Log(arms=arms, chosen=chosen, **{**columns, **changes})


def one_by_one(campaign: CampaignFile, log: Log, publish_every: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The same, one decision at a time through the decider's and the learner's own doors."""
    decider = Decider(campaign)
    learner, scorer = Learner(decider.space, campaign.policy.importance), None
    assert log.time_us is not None
    assert log.close_us is not None
    assert log.decision_ids is not None
    to_learn, out = list(range(len(log))), []
    batches = []
    for row in range(len(log)):
        zone = log.zone[row] if log.zone is not None else None
        schedule = decider.catalog.schedule(ZoneInfo(zone) if zone else None, from_us(int(log.time_us[row])))
        one = log.take(np.array([row]))
        zeros = np.zeros(1, np.intp)
        words, groups = np.zeros((1, 2), np.uint64), np.zeros(1, np.uint8)
        batches.append(Batch(words, groups, one.context, one.history, zeros, [schedule], zeros))
    for row, batch in enumerate(batches):
        if row % publish_every == 0:
            now = log.time_us[row]
            known = sorted((log.close_us[i], log.decision_ids[i], i) for i in to_learn if i < row)
            known = [each for each in known if each[0] <= now]
            for _, _, i in known:
                to_learn.remove(i)
                learner.learn(lesson(decider, batches[i], log, i))
            if known:
                scorer = decider.scorer(learner.snapshot())
        scores = decider.scores(batch, scorer) if scorer else None
        exploration = decider.exploration(Group.TREATMENT, scorer.snapshot if scorer else None)
        removed = np.where(log.candidates[row], ALLOWED, 1)[None, :]
        out.append(exploration.probabilities(scores, removed == ALLOWED)[0])
    return np.array(out)


def lesson(decider: Decider, batch: Batch, log: Log, row: int) -> Lessons:
    arm = int(log.chosen[row])
    slot = int(decider.catalog.slot_of[arm])
    return Lessons.of(
        decider.space,
        decider.space.encode(batch.context, batch.history, 1),
        np.array([arm]),
        [batch.schedules[0].variants[slot] if slot >= 0 else None],
        rewards=log.reward[[row]] / decider.campaign.reward.scale,
        propensities=log.propensity[[row]],
        candidates=np.array([np.count_nonzero(log.candidates[row])]),
    )


def through(policy: Progressive, log: Log, chunk: int = 10**6) -> np.ndarray[Any, np.dtype[np.float64]]:
    parts = [policy.probabilities(log.take(slice(at, at + chunk))) for at in range(0, len(log), chunk)]
    return np.concatenate(parts)


@pytest.mark.parametrize(("campaign", "publish_every"), [(FACTORIAL, 70), (PLAIN, 3), (PLAIN, 37)])
def test_it_is_what_the_decider_and_the_learner_do_one_decision_after_the_other(
    campaign: CampaignFile, publish_every: int
) -> None:
    log = log_of(campaign, 220)
    policy = Progressive(campaign, publish_every=publish_every)
    expected = one_by_one(campaign, log, publish_every)
    assert np.array_equal(through(policy, log), expected)
    assert 70 < policy.learned < 220
    assert policy.learned + policy.waiting == 220
    assert not np.allclose(expected[-1], expected[0])


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 80), st.integers(6, 90), st.integers(0, 5))
def test_the_chunks_in_which_a_log_comes_make_no_difference(chunk: int, publish_every: int, seed: int) -> None:
    log = log_of(PLAIN, 80, seed)
    whole = through(Progressive(PLAIN, publish_every=publish_every), log)
    assert np.array_equal(through(Progressive(PLAIN, publish_every=publish_every), log, chunk), whole)


@settings(max_examples=12, deadline=None)
@given(st.integers(6, 40), st.integers(0, 79), st.integers(0, 5))
def test_no_reward_is_learned_before_its_close(publish_every: int, row: int, seed: int) -> None:
    log = log_of(PLAIN, 80, seed)
    assert log.time_us is not None
    assert log.close_us is not None
    other = log.reward.copy()
    other[row] = 2.0 - other[row]
    changed = replace(log, reward=other)
    before = through(Progressive(PLAIN, publish_every=publish_every), log)
    after = through(Progressive(PLAIN, publish_every=publish_every), changed)
    # Nothing differs up to the first publication at which it is closed.
    published = [i for i in range(0, 80, publish_every) if i > row and log.time_us[i] >= log.close_us[row]]
    until = published[0] if published else 80
    assert np.array_equal(before[:until], after[:until])
    assert until == 80 or not np.array_equal(before, after)


def test_rewards_of_one_instant_are_learned_in_the_order_of_their_ids() -> None:
    log = log_of(PLAIN, 60)
    at = np.full(60, to_us(START))
    at[30:] += 1
    # What is decided at one instant and closed at one instant comes in any order.
    order = np.concatenate([np.random.default_rng(5).permutation(30), np.arange(30, 60)])
    same = replace(log, time_us=at, close_us=at)
    one = through(Progressive(PLAIN, publish_every=30), same)
    other = through(Progressive(PLAIN, publish_every=30), same.take(order))
    assert np.array_equal(one[30:], other[30:])
    renamed = replace(same, decision_ids=None)
    assert not np.array_equal(through(Progressive(PLAIN, publish_every=30), renamed)[30:], one[30:])


def test_where_the_log_does_not_say_when_rewards_were_known_they_were_known_at_once() -> None:
    log = log_of(PLAIN, 100, close_us=None, time_us=None, decision_ids=None, zone=None)
    policy = Progressive(PLAIN, publish_every=10)
    through(policy, log, 33)
    assert (policy.learned, policy.waiting) == (90, 10)


def test_an_arm_that_only_the_log_has_is_neither_chosen_nor_learned() -> None:
    log = log_of(PLAIN, 100)
    fewer = CampaignFile.model_validate(
        {**PLAIN.model_dump(mode="json", by_alias=True), "catalog": {"messages": [{"id": "b"}], "no_send": True}}
    )
    policy = Progressive(fewer, publish_every=20)
    p = through(policy, log)
    assert not p[:, 0].any()
    assert policy.unlearnable == {"a": int(np.count_nonzero(log.chosen == 0))}
    assert policy.learned + policy.waiting == np.count_nonzero(log.chosen)
    able = log.candidates[:, 1:].any(axis=1)
    assert np.allclose(p.sum(axis=1), able)


def test_an_arm_that_was_never_tried_is_wanted_all_the_same() -> None:
    log = log_of(PLAIN, 100)
    more = CampaignFile.model_validate(
        {
            **PLAIN.model_dump(mode="json", by_alias=True),
            "catalog": {"messages": [{"id": "a"}, {"id": "b"}, {"id": "new"}], "no_send": True},
        }
    )
    with pytest.raises(InvalidInput, match="no column for new"):
        through(Progressive(more), log)
    p = through(Progressive(more, untried=["new"]), log.over((*log.arms, "new")))
    assert (p[:, 3] > 0.0).all()
    assert np.allclose(p.sum(axis=1), 1.0)


def test_a_log_of_another_campaign_is_an_error_that_names_the_arms() -> None:
    with pytest.raises(InvalidInput, match=r"campaign 'plain' has no arm of the log: it has a, b, no_send, and the"):
        through(
            Progressive(PLAIN),
            Log(arms=("x", "y"), chosen=np.array([0]), propensity=np.array([0.5]), reward=np.array([0.0])),
        )


def test_a_feature_that_the_log_does_not_have_is_told_and_one_of_another_type_is_an_error() -> None:
    policy = Progressive(PLAIN)
    log = log_of(PLAIN, 10, context={"age": np.ones(10)})
    through(policy, log)
    assert policy.missing == {"plan"}
    with pytest.raises(InvalidInput, match="its feature 'plan' is a category"):
        through(Progressive(PLAIN), log_of(PLAIN, 10, context={"plan": np.ones(10)}))
    with pytest.raises(InvalidInput, match="its feature 'age' is a number"):
        through(Progressive(PLAIN), log_of(PLAIN, 10, context={"age": np.array(["1"] * 10, object)}))


def test_a_log_that_is_not_in_the_order_of_time_is_an_error_where_rewards_came_later() -> None:
    log = log_of(PLAIN, 10)
    assert log.time_us is not None
    back = log.time_us.copy()
    back[6] -= 10**12
    with pytest.raises(InvalidInput, match="decision 7 of the log was made before the one above it"):
        through(Progressive(PLAIN), log_of(PLAIN, 10, time_us=back), 4)
    with pytest.raises(InvalidInput, match="not when its decisions were made"):
        through(Progressive(PLAIN), log_of(PLAIN, 10, time_us=None))
    through(Progressive(PLAIN), log_of(PLAIN, 10, time_us=back, close_us=None))


def test_a_campaign_with_slots_needs_times() -> None:
    with pytest.raises(InvalidInput, match="has timing slots, and the log does not say when"):
        through(Progressive(FACTORIAL), log_of(FACTORIAL, 5, time_us=None, close_us=None))


@pytest.mark.parametrize("zone", ZONES)
def test_slots_have_the_variants_of_their_schedule_at_every_second(zone: str | None) -> None:
    # Around the minutes at which windows begin, end, and come within the horizon.
    ends = from_us(to_us(START)) + timedelta(days=3, seconds=17)
    data = FACTORIAL.model_dump(mode="json", by_alias=True)
    campaign = CampaignFile.model_validate({**data, "campaign": {**data["campaign"], "ends_at": ends.isoformat()}})
    version = Version.of(campaign, "default")
    rng = np.random.default_rng(3)
    minutes = to_us(START) // 60_000_000 + rng.integers(0, 4 * 24 * 2, 300) * 30
    time_us = minutes * 60_000_000 + rng.choice([0, 1, 59_999_999, 17_000_000, -1], 300)
    log = log_of(campaign, 300, time_us=time_us, zone=np.array([zone] * 300, object))
    found = SlotVariants.at(version, log)
    for row, instant in enumerate(time_us.tolist()):
        schedule = version.catalog.schedule(ZoneInfo(zone) if zone else None, from_us(instant))
        assert found.distinct[found.of[row]] == schedule.variants
