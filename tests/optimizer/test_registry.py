"""What was published is loaded, and nothing else: a model whose bytes have changed is refused before it is read."""

from __future__ import annotations

from hashlib import sha256

import pytest

from optimizer.registry import AlteredModel, body_of, digest_of, resume_of
from optimizer.store.rows import SnapshotRow
from tests.optimizer.engine_example import Rig, campaign

pytestmark = pytest.mark.databases

ROW = SnapshotRow("default", "s1", "camp", "key", 0, 0, "d1", 1, digest_of(b"body"), b"body", digest_of(b"r"), b"r")


def taught(rig: Rig, n: int = 12) -> SnapshotRow:
    """Let the campaign learn and publish; the snapshot."""
    for each in rig.customers(n, plan="gold"):
        made = rig.ask(each, f"{each} {rig.now_us}")
        rig.tell(f"{each} {rig.now_us}", "clicked", decision_id=made.decision_id)
    rig.settle()
    row = rig.snapshot()
    assert row is not None
    return row


def altered(body: bytes) -> bytes:
    """The same with one bit of one weight the other way round: it can still be read."""
    return body[:-1] + bytes([body[-1] ^ 1])


def test_a_digest_is_that_of_the_bytes() -> None:
    assert digest_of(b"body") == sha256(b"body").hexdigest()
    assert body_of(ROW) == b"body"
    assert resume_of(ROW) == b"r"
    assert resume_of(ROW._replace(resume=None)) is None


@pytest.mark.parametrize("digest", ["", digest_of(b"other"), digest_of(b"body").upper()])
def test_another_digest_is_refused(digest: str) -> None:
    with pytest.raises(AlteredModel, match="the body of snapshot s1"):
        body_of(ROW._replace(digest=digest))
    with pytest.raises(AlteredModel, match="the learner of snapshot s1"):
        resume_of(ROW._replace(resume_digest=digest))


def test_a_learner_without_a_digest_is_refused() -> None:
    with pytest.raises(AlteredModel, match="published with none"):
        resume_of(ROW._replace(resume_digest=None))


def test_what_the_trainer_publishes_is_registered() -> None:
    with Rig(campaign()) as rig:
        row = taught(rig)
        assert row.resume is not None
        assert (row.digest, row.resume_digest) == (digest_of(row.body), digest_of(row.resume))


@pytest.mark.parametrize("column", ["body", "digest"])
def test_an_altered_snapshot_is_not_served_though_it_could_be_read_and_that_is_told(column: str) -> None:
    with Rig(campaign()) as rig:
        good = taught(rig)
        rig.pass_by(minutes=1)
        newer = taught(rig)
        value = altered(newer.body) if column == "body" else digest_of(b"other")
        rig.change_snapshot(newer.snapshot_id, **{column: value})
        rig.restart()
        made = rig.ask("c000", "after")
        assert made.snapshot_id == good.snapshot_id, "the last good one stays"
        fault = rig.engine.campaign("camp").fault
        assert fault is not None
        assert newer.snapshot_id in fault
        assert "digest" in fault
        rig.pass_by(minutes=1)
        newest = taught(rig)
        assert rig.ask("c001", "later").snapshot_id == newest.snapshot_id


def test_a_decision_is_not_verified_against_an_altered_model() -> None:
    with Rig(campaign()) as rig:
        row = taught(rig)
        made = rig.ask("c000", "after")
        assert all(check.holds for check in rig.engine.verify(made.decision_id))
        rig.change_snapshot(row.snapshot_id, body=altered(row.body))
        failed = [check for check in rig.engine.verify(made.decision_id) if not check.holds]
        assert [check.name for check in failed] == ["scores"]
        assert "digest" in failed[0].detail


def test_from_an_altered_learner_nothing_is_learned_on_and_the_log_makes_the_same_model_again() -> None:
    with Rig(campaign()) as rig, Rig(campaign()) as undisturbed:
        for each in (rig, undisturbed):
            taught(each)
            each.pass_by(minutes=1)
        row = rig.snapshot()
        assert row is not None
        assert row.resume is not None
        rig.change_snapshot(row.snapshot_id, resume=altered(row.resume))
        rig.restart()
        newest, expected = taught(rig), taught(undisturbed)
        assert newest.learned == expected.learned == 24
        assert newest.body == expected.body
