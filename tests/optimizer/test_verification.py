from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

from optimizer.reasons import Reason
from optimizer.verification import Check, Logged, verify
from tests.optimizer.engine_example import SLOTS, Rig, campaign, message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optimizer.store.rows import DecisionRow

pytestmark = pytest.mark.databases

GROUPS = {
    "holdout": 0.1,
    "random_control": 0.2,
    "bau": {"share": 0.2, "arm": {"message": "hello", "channel": "email", "timing": "evening"}},
}
CATALOG = {
    "messages": [
        message("hello", "email", "push"),
        message("offer", "email", eligibility={"attr": "plan", "op": "==", "value": "gold"}),
    ],
    "channels": [{"id": "email", "cost": 0.01}, {"id": "push", "cost": 0.02, "dispatch": "caller"}],
    "timing": SLOTS,
}
AUDIENCE = {"attr": "age", "op": ">=", "value": 18}
ZONES = ("America/Mexico_City", "Europe/Berlin", None)


def ask_many(rig: Rig, start: int) -> None:
    rng = np.random.default_rng(start)
    for i in range(start, start + 60):
        facts: dict[str, Any] = {"plan": ["free", "gold"][i % 2], "age": float(rng.integers(10, 80)), "tags": ["a"]}
        request = rig.request(f"c{i:03d}", **facts)
        (answer,) = rig.engine.decide([replace(request, timezone=ZONES[i % 3])])
        decision_id = getattr(answer, "decision_id", None)
        assert decision_id
        if i % 2:
            rig.tell(f"e{i}", "clicked", decision_id=decision_id)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """Decisions of all groups, before and after a model was learned."""
    with Rig(campaign(groups=GROUPS, catalog=CATALOG, audience=AUDIENCE)) as made:
        ask_many(made, 0)
        made.settle()
        ask_many(made, 100)
        yield made


def logged(rig: Rig, row: DecisionRow) -> Logged:
    versions = rig.engine.versions
    return rig.store.read(lambda c: Logged.of(row, versions.get(c, row.campaign_id, row.config_hash)))


def checks(rig: Rig, row: DecisionRow) -> list[Check]:
    decoded = logged(rig, row)
    return rig.store.read(lambda c: verify(c, decoded))


def failed(rig: Rig, row: DecisionRow) -> set[str]:
    return {check.name for check in checks(rig, row) if not check.holds}


def one(rig: Rig, **facts: Any) -> DecisionRow:  # noqa: ANN401 -- any column
    """A decision of treatment that a model made, with something sent."""
    rows = [row for row in rig.log() if row.snapshot_id and row.group_name == "treatment" and row.reason is None]
    return rows[0]._replace(**facts)


def test_every_decision_is_recomputed_from_what_it_stores(rig: Rig) -> None:
    rows = rig.log()
    assert {row.group_name for row in rows} == {"treatment", "random_control", "bau", "holdout"}
    assert {row.snapshot_id is None for row in rows} == {True, False}
    assert {"not_in_audience", "no_timezone", "holdout"} <= {row.reason for row in rows}
    for row in rows:
        names = [check.name for check in checks(rig, row)]
        assert names == (
            ["candidates", "scores", "policy", "draw"] if row.snapshot_id else ["candidates", "policy", "draw"]
        )
        assert not failed(rig, row)
    count, wrong = rig.engine.verify_campaign("camp")
    assert (count, wrong) == (len(rows), [])


@pytest.mark.parametrize("column", ["arm", "propensity", "reason", "decision_id"])
def test_a_draw_that_was_tampered_with_is_found(rig: Rig, column: str) -> None:
    row = one(rig)
    assert row.propensity is not None
    other: dict[str, Any] = {
        "arm": "no_send",
        "propensity": float(np.nextafter(row.propensity, 1.0)),
        "reason": "chose_no_send",
    }
    if column == "decision_id":
        # Another id draws with another number; among some ids one draws another arm.
        ids = [f"{row.decision_id[:-3]}{i:03x}" for i in range(64)]
        assert any(failed(rig, row._replace(decision_id=each)) == {"draw"} for each in ids)
    else:
        assert failed(rig, row._replace(**{column: other[column]})) == {"draw"}


def test_facts_that_were_tampered_with_are_found(rig: Rig) -> None:
    row = one(rig)
    context = orjson.loads(row.context)
    context["attributes"]["age"] = 5.0
    assert "candidates" in failed(rig, row._replace(context=orjson.dumps(context).decode()))
    context = orjson.loads(row.context)
    context["attributes"]["plan"] = {"gold": "free", "free": "gold"}[context["attributes"]["plan"]]
    assert {"candidates", "scores"} <= failed(rig, row._replace(context=orjson.dumps(context).decode()))


def test_scores_that_were_tampered_with_are_found(rig: Rig) -> None:
    row = one(rig)
    scores = np.frombuffer(row.scores, np.float32).copy()
    scores[0] += 1e-3
    assert "scores" in failed(rig, row._replace(scores=scores.tobytes()))


def test_a_policy_that_was_tampered_with_is_found(rig: Rig) -> None:
    row = one(rig)
    exploration = orjson.loads(row.exploration)
    exploration["parameter"] *= 2
    assert "policy" in failed(rig, row._replace(exploration=orjson.dumps(exploration).decode()))


def test_a_snapshot_that_is_gone_is_said_to_be(rig: Rig) -> None:
    found = checks(rig, one(rig, snapshot_id="00000000-0000-7000-8000-000000000000"))
    (scores,) = (check for check in found if check.name == "scores")
    assert not scores.holds
    assert "not kept" in scores.detail


def test_every_arm_is_explained_by_its_score_and_probability_or_its_reason(rig: Rig) -> None:
    for row in rig.log():
        candidates = logged(rig, row).candidates()
        assert len(candidates) == 9
        for candidate in candidates:
            assert (candidate.reason is None) or (candidate.score is None and candidate.probability == 0.0)
            assert isinstance(candidate.reason, Reason | None)
        total = sum(candidate.probability for candidate in candidates)
        drawn = [c.probability for c in candidates if c.arm.id == row.arm]
        if total:
            assert total == pytest.approx(1.0)
            assert drawn == [row.propensity]
