from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import IntegrityError

from optimizer.store.decisions import due_closes, insert_decisions, next_mature_us, open_after
from optimizer.store.rewards import (
    GroupReward,
    closed_after,
    group_rewards,
    insert_rewards,
    reopen_rewards,
    rewards_after,
    rewards_by_ids,
)
from tests.optimizer.store.example import HOUR_US, decision, reward

if TYPE_CHECKING:
    from optimizer.store import Store
    from optimizer.store.rows import RewardRow


def close(store: Store, *matured: tuple[str, int], learn: bool = True, value: float = 1.0) -> None:
    store.write(lambda c: insert_decisions(c, [decision(name, mature_us=at_us) for name, at_us in matured]))
    rows = [reward(name, mature_us=at_us, learn=learn, reward=value) for name, at_us in matured]
    store.write(lambda c: insert_rewards(c, rows))


def after(store: Store, watermark: tuple[int, str], until_us: int, limit: int = 9) -> list[str]:
    rows = store.read(
        lambda c: rewards_after(c, "default", "camp", watermark=watermark, until_us=until_us, limit=limit)
    )
    return [row.decision_id for row in rows]


def test_a_closed_decision_waits_no_longer_and_has_one_reward(store: Store) -> None:
    close(store, ("a", 1))
    assert store.read(lambda c: due_closes(c, "default", "camp", 9, 9)) == []
    assert store.read(lambda c: rewards_by_ids(c, "default", ["a", "b"])) == {"a": reward("a", mature_us=1)}
    with pytest.raises(IntegrityError):
        store.write(lambda c: insert_rewards(c, [reward("a", mature_us=1)]))


def test_rewards_are_learned_in_the_order_of_maturity_and_id_after_the_watermark(store: Store) -> None:
    close(store, ("c", 1), ("b", 2), ("a", 2), ("d", 3))
    close(store, ("bau", 2), learn=False)
    assert after(store, (0, ""), 3) == ["c", "a", "b", "d"]
    assert after(store, (2, "a"), 3) == ["b", "d"]
    assert after(store, (2, "a"), 2) == ["b"]
    assert after(store, (0, ""), 3, limit=2) == ["c", "a"]


def test_all_that_is_closed_and_all_that_is_open_are_told_in_the_order_of_learning(store: Store) -> None:
    close(store, ("c", 1), ("b", 2), ("a", 2), ("d", 3))
    close(store, ("bau", 2), learn=False)
    store.write(lambda c: insert_decisions(c, [decision(name, mature_us=5) for name in ("z", "y")]))

    def closed(after: tuple[int, str], limit: int = 9) -> list[RewardRow]:
        return store.read(lambda c: closed_after(c, "default", "camp", after=after, limit=limit))

    def still_open(after: tuple[int, str], limit: int = 9) -> list[tuple[int, str]]:
        return store.read(lambda c: open_after(c, "default", "camp", after=after, limit=limit))

    assert [row.decision_id for row in closed((0, ""))] == ["c", "a", "b", "bau", "d"]
    assert [row.decision_id for row in closed((2, "a"), limit=2)] == ["b", "bau"]
    assert closed((2, "b"))[0] == reward("bau", mature_us=2, learn=False, reward=1.0)
    assert still_open((0, "")) == [(5, "y"), (5, "z")]
    assert still_open((5, "y")) == [(5, "z")]
    assert still_open((0, ""), limit=1) == [(5, "y")]
    assert store.read(lambda c: closed_after(c, "default", "other", after=(0, ""), limit=9)) == []


def test_a_training_row_joins_the_decision_and_its_reward(store: Store) -> None:
    close(store, ("a", 1), value=2.5)
    row = store.read(lambda c: rewards_after(c, "default", "camp", watermark=(0, ""), until_us=1, limit=1))[0]
    stored = decision("a", mature_us=1)
    assert (row.decision_id, row.mature_us, row.reward) == ("a", 1, 2.5)
    for name in set(row._fields) - {"reward"}:
        assert getattr(row, name) == getattr(stored, name)


def test_forgotten_rewards_leave_every_decision_of_the_campaign_to_be_closed_anew(store: Store) -> None:
    close(store, ("a", 1), ("b", 2))
    store.write(lambda c: insert_decisions(c, [decision("open", mature_us=3), decision("z", decided_us=7)]))
    store.write(lambda c: reopen_rewards(c, "default", "camp", before_us=7, matures_after_us=60))
    assert after(store, (0, ""), 9) == []
    assert store.read(lambda c: next_mature_us(c, "default", "camp")) == 60
    due = store.read(lambda c: due_closes(c, "default", "camp", HOUR_US * 9, 9))
    assert [(head.decision_id, head.mature_us) for head in due] == [
        ("a", 60),
        ("b", 60),
        ("open", 60),
        ("z", 4 * HOUR_US),
    ]
    store.write(lambda c: reopen_rewards(c, "default", "camp"))
    due = store.read(lambda c: due_closes(c, "default", "camp", HOUR_US * 9, 9))
    assert [(head.decision_id, head.mature_us) for head in due] == [("a", 1), ("b", 2), ("open", 3), ("z", 4 * HOUR_US)]


def test_groups_are_summed_over_what_is_closed(store: Store) -> None:
    rows = [decision("a"), decision("b"), decision("c", group_name="holdout"), decision("old", decided_us=-5)]
    store.write(lambda c: insert_decisions(c, [*rows, decision("open")]))
    store.write(lambda c: insert_rewards(c, [reward(row.decision_id, reward=3.0) for row in rows]))
    assert store.read(lambda c: group_rewards(c, "default", "camp")) == [
        GroupReward("holdout", 1, 3.0, 9.0),
        GroupReward("treatment", 2, 6.0, 18.0),
    ]
