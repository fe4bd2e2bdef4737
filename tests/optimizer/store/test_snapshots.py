from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from optimizer.store.rows import SnapshotRow
from optimizer.store.snapshots import insert_snapshot, latest_snapshot, newest_ids, snapshot_by_id

if TYPE_CHECKING:
    from optimizer.store import Store


def snapshot(name: str, published_us: int, learner_key: str = "key") -> SnapshotRow:
    return SnapshotRow(
        "default", name, "camp", learner_key, published_us, 1, "d", 5, "of body", b"body", "of resume", b"resume"
    )


def test_the_latest_model_of_a_learner_is_found_and_alone_can_be_learned_on(store: Store) -> None:
    for row in (snapshot("a", 1), snapshot("b", 2), snapshot("other", 3, "new learner")):
        store.write(partial(insert_snapshot, row=row))
    assert store.read(lambda c: latest_snapshot(c, "default", "camp", "key")) == snapshot("b", 2)
    assert store.read(lambda c: newest_ids(c, "default", "camp", "key", limit=9)) == ["b", "a"]
    assert store.read(lambda c: latest_snapshot(c, "default", "camp")) == snapshot("other", 3, "new learner")
    assert store.read(lambda c: snapshot_by_id(c, "default", "a")) == snapshot("a", 1)._replace(resume=None)
    assert store.read(lambda c: snapshot_by_id(c, "default", "none")) is None
    assert store.read(lambda c: latest_snapshot(c, "default", "camp", "unknown")) is None
