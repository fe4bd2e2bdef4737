"""Changed configurations on a log whose true values are known."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import pytest

from optimizer.campaign import CampaignFile
from optimizer.exploration import Exploration
from optimizer.store import rewards
from optimizer.verification import Logged
from simulator.what_if.changes import Telling
from simulator.what_if.judging import judge_change
from tests.simulator.factory import FACTORIAL, log, rehearsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from simulator.loop import ClosedLoop
    from simulator.what_if.judging import Judgement


def changed(**parts: Any) -> CampaignFile:  # noqa: ANN401 - any part
    """The factorial campaign with some fields of its parts changed."""
    data = FACTORIAL.model_dump(mode="json", by_alias=True)
    for name, part in parts.items():
        data[name] = {**(data.get(name) or {}), **part} if isinstance(part, dict) else part
    return CampaignFile.model_validate(data)


def messages(*without: str) -> list[dict[str, Any]]:
    dumped = FACTORIAL.model_dump(mode="json", by_alias=True)["catalog"]["messages"]
    return [message for message in dumped if message["id"] not in without]


@pytest.fixture(scope="module")
def loop() -> Iterator[ClosedLoop]:
    """Six runs over 200 people, of which five are closed; half of them in random control."""
    groups = FACTORIAL.groups.model_copy(update={"random_control": 0.4})
    finished = rehearsed(days=11, customers=200, campaign=FACTORIAL.model_copy(update={"groups": groups}))
    yield finished
    finished.close()


def judged(loop: ClosedLoop, **parts: Any) -> Judgement:  # noqa: ANN401 - any part
    return judge_change(loop.engine, changed(groups={"random_control": 0.4}, **parts))


def difference(judgement: Judgement, estimator: str) -> tuple[float, float]:
    """The difference and its standard error."""
    (found,) = [each.difference for each in judgement.values if each.estimator == estimator]
    assert found.value is not None
    assert found.low is not None
    return found.value, (found.value - found.low) / 1.96


def truth(loop: ClosedLoop, judgement: Judgement, target: Callable[[Logged], NDArray[np.float64]]) -> float:
    """What the world says of a policy less what it says of the logged version's, on the decisions that count.

    How the strata count is the judgement's; all else is computed here, decision by decision.
    """
    rows = log(loop)
    POLICIES.update(
        {row.snapshot_id: Exploration(**orjson.loads(row.exploration)) for row in rows if row.group_name == "treatment"}
    )
    tenant, ids = loop.engine.runtime.tenant, [row.decision_id for row in rows]
    stored = loop.engine.runtime.store.read(lambda c: rewards.rewards_by_ids(c, tenant, ids))
    version = loop.engine.versions.compile(loop.campaign)
    gains: dict[str, list[float]] = {each.group: [] for each in judgement.strata}
    for row in rows:
        if row.group_name in gains and row.decision_id in stored:
            logged = Logged.of(row, version)
            person = np.array([loop._customer(row.subject_id)])  # noqa: SLF001 - whom a subject stands for
            expected = loop.world.expected(person, logged.batch.history)[0]
            gains[row.group_name].append(float((target(logged) - treatment(logged)) @ expected))
    return sum(each.share * float(np.mean(gains[each.group])) for each in judgement.strata)


def treatment(logged: Logged, without: str | None = None) -> NDArray[np.float64]:
    """The treatment policy's probabilities among all arms but those of a message.

    SquareCB's gamma grows with what was learned, and was the same for all decisions by one model: treatment's say it.
    """
    arms = logged.version.catalog.arms
    allowed = (logged.removed == 0) & np.array([without is None or arm.message != without for arm in arms])
    p: NDArray[np.float64] = POLICIES[logged.row.snapshot_id].probabilities(logged.scores, allowed)[0]
    return p


POLICIES: Final[dict[str | None, Exploration]] = {}


def test_the_same_configuration_differs_by_exactly_nothing(loop: ClosedLoop) -> None:
    found = judged(loop)
    assert found.changes == []
    assert (found.altered, found.moved, found.untold_decisions, found.refused) == (0.0, 0.0, 0, None)
    assert [(v.difference.value, v.difference.low, v.difference.high) for v in found.values] == [(0.0, 0.0, 0.0)] * 2
    for each in found.strata:
        if each.group == "treatment":
            assert (each.effective, each.largest_weight) == (each.decisions, 1.0)


def test_the_current_configuration_is_worth_what_treatment_earned(loop: ClosedLoop) -> None:
    found = judged(loop)
    share = {each.group: each.share for each in found.strata}
    assert share["treatment"] > 0.7
    assert share["treatment"] + share["random_control"] == pytest.approx(1.0)
    assert found.decisions == sum(each.decisions for each in found.strata)


def test_uniform_exploration_is_worth_what_the_world_says(loop: ClosedLoop) -> None:
    found = judged(loop, policy={"kind": "uniform"})
    true = truth(loop, found, lambda logged: (logged.removed[0] == 0) / (logged.removed[0] == 0).sum())
    for estimator in ("snips", "dr"):
        value, error = difference(found, estimator)
        # Seeded; with another seed, 3 standard errors would be passed about once in 300.
        assert abs(value - true) < 3.0 * error
        assert error < 0.02


def test_without_a_message_it_is_worth_what_the_world_says(loop: ClosedLoop) -> None:
    found = judged(loop, catalog={"messages": messages("last_chance")})
    true = truth(loop, found, lambda logged: treatment(logged, without="last_chance"))
    for estimator in ("snips", "dr"):
        value, error = difference(found, estimator)
        assert abs(value - true) < 3.0 * error
        assert error < 0.02
    assert [(str(change), change.telling) for change in found.changes] == [
        ("catalog.messages[last_chance]: removed", Telling.JUDGED)
    ]
    assert found.untold == []


def test_names_change_nothing_and_are_named_as_such(loop: ClosedLoop) -> None:
    found = judged(loop, campaign={"name": "Another", "owner": "somebody"})
    assert [(change.field, change.telling) for change in found.changes] == [
        ("campaign.name", Telling.NOTHING),
        ("campaign.owner", Telling.NOTHING),
    ]
    assert [value.difference.value for value in found.values] == [0.0, 0.0]


def test_a_reward_twice_as_large_is_worth_twice_as_much_with_weights_of_one(loop: ClosedLoop) -> None:
    events = [{"name": "converted", "value": 2, "window": "20h"}]
    found = judged(loop, reward={"events": events})
    assert found.altered == 0.0
    snips = found.values[0]
    assert snips.current.value is not None
    assert snips.changed.value == pytest.approx(2.0 * snips.current.value)
    assert [change.telling for change in found.changes] == [Telling.REWARD]


def test_a_new_message_is_refused_with_its_share(loop: ClosedLoop) -> None:
    new = {**messages()[0], "id": "brand_new"}
    found = judged(loop, catalog={"messages": [*messages(), new]})
    assert found.values == []
    assert found.refused is not None
    assert all(each.arm.startswith("brand_new/") and each.cause == "is new" for each in found.untold)
    # Half of the decisions had no model, where it would have had its part of all arms alike.
    share = sum(each.share for each in found.untold)
    assert 20 / 141 * 0.1 < share < 0.9


def test_a_slot_with_other_hours_is_another_thing(loop: ClosedLoop) -> None:
    timing = FACTORIAL.model_dump(mode="json", by_alias=True)["catalog"]["timing"]
    timing["slots"][0]["to"] = "08:00"
    found = judged(loop, catalog={"timing": timing})
    assert found.refused is not None
    assert {each.arm.split("/")[2] for each in found.untold} == {"early"}
    assert {each.cause for each in found.untold} == {"meant something else: its creative, offer or slot has changed"}


def test_other_features_are_refused_since_no_model_knew_them(loop: ClosedLoop) -> None:
    features = FACTORIAL.model_dump(mode="json", by_alias=True)["features"][1:]
    found = judged(loop, features=features)
    assert found.values == []
    assert found.refused is not None
    assert "a model that learned with its features" in found.refused
    # Uniform exploration asks no model.
    assert judged(loop, features=features, policy={"kind": "uniform"}).refused is None


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"delivery": {"max_lateness": "1h"}}, "what becomes of touches"),
        ({"campaign": {"schedule": {"every": "1d", "at": "06:00", "timezone": "UTC"}}}, "when they were made"),
        (
            {"contact_policy": {"caps": [{"count": 1, "window": {"rolling": "7d"}}]}},
            "earlier touches, which",
        ),
    ],
)
def test_what_the_log_holds_fixed_is_refused_by_name(loop: ClosedLoop, parts: dict[str, Any], said: str) -> None:
    found = judged(loop, **parts)
    assert found.values == []
    assert found.refused is not None
    assert said in found.refused


def test_a_limit_is_judged_for_each_decision_and_its_totals_are_refused(loop: ClosedLoop) -> None:
    found = judged(loop, campaign={"max_touches_per_customer": 2})
    assert [change.telling for change in found.changes] == [Telling.PER_DECISION]
    assert "how many touches" in found.changes[0].why
    # Who has had two touches gets nothing, which the log had tried now and then.
    assert found.untold == []
    assert 0.0 < found.altered < 1.0


def test_quiet_hours_that_put_touches_off_say_how_many(loop: ClosedLoop) -> None:
    found = judged(loop, contact_policy={"quiet_hours": [{"from": "08:00", "to": "10:00"}]})
    # The second hour of `early`, whose first is left, and the first of `morning`, whose others are.
    assert 0.0 < found.moved < 0.6
    assert found.refused is None


def test_errors_shrink_with_the_square_root_of_what_is_seen(loop: ClosedLoop) -> None:
    found = judged(loop)
    snips = found.values[0].current
    assert snips.value is not None
    assert snips.low is not None
    error = (snips.value - snips.low) / 1.96
    n = {each.group: each.decisions for each in found.strata}["treatment"]
    # Of rewards of 0 and 1, with decisions of one customer hardly alike.
    assert error == pytest.approx(sqrt(snips.value * (1.0 - snips.value) / n), rel=0.25)
