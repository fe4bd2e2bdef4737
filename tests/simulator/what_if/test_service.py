"""Changed configurations and prices on small campaigns of a real engine; what is read, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from optimizer.store import rewards
from optimizer.verification import Logged, Models
from simulator.what_if.judging import judge_change
from simulator.what_if.prices import prices
from tests.optimizer.engine_example import Rig, campaign, message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.campaign import CampaignFile
    from optimizer.decisions import Decision

SHOP = {"groups": {"random_control": 0.5}, "policy": {"kind": "epsilon_greedy", "epsilon": 0.4}}
MAIL = {"messages": [message("hello", "email"), message("offer", "email")], "channels": [{"id": "email", "cost": 0.0}]}


def shop(**parts: Any) -> CampaignFile:  # noqa: ANN401 - any part
    return campaign(**{**SHOP, "catalog": MAIL, **parts})


def capped() -> CampaignFile:
    settings = {"id": "camp", "name": "Camp", "starts_at": "2026-01-01T00:00:00Z"}
    return shop(campaign=settings | {"max_touches_per_customer": 1})


def ask(rig: Rig, customers: Sequence[str], buys: str = "hello") -> list[Decision]:
    """A decision for each; who is sent what they like buys for 4 within a day, some of them."""
    decisions = [rig.ask(customer) for customer in customers]
    for i, decision in enumerate(decisions):
        if decision.arm is not None and decision.arm.message == buys and i % 3:
            rig.tell(
                f"{decision.decision_id}-buys",
                "purchased",
                decision_id=decision.decision_id,
                fields={"amount": 4 + i % 2},
            )
    return decisions


def ready(*campaigns: CampaignFile, n: int = 60) -> Rig:
    """Two rounds of decisions, the second with a model, and all of them closed."""
    rig = Rig(*campaigns)
    customers = rig.customers(n, plan="gold")
    for _ in range(2):
        ask(rig, customers)
        rig.jobs()  # what is due goes out before time passes
        rig.settle()
    return rig


@pytest.mark.databases
def test_a_changed_reward_is_worth_what_it_earns_once_it_is_applied_to_the_past() -> None:
    events = [{"name": "purchased", "value_from": "amount", "cap": 3, "window": "3d"}]
    new = shop(reward={"lateness": "1d", "events": events})
    with ready(shop()) as rig:
        found = judge_change(rig.engine, new)
        assert found.altered == 0.0
        rig.engine.load_campaign(new)
        rig.engine.rejoin("camp")
        rig.settle()
        rows = [row for row in rig.log() if row.group_name in {"treatment", "random_control"}]
        ids = [row.decision_id for row in rows]
        closed = rig.store.read(lambda c: rewards.rewards_by_ids(c, "default", ids))
        again = judge_change(rig.engine, new)
    share = {each.group: each.share for each in found.strata}
    treated = [closed[row.decision_id].reward for row in rows if row.group_name == "treatment"]
    assert len(treated) == {each.group: each.decisions for each in found.strata}["treatment"]
    assert max(treated) == 3.0
    # Treatment's weights are one; what random control adds counts by its share, in both judgements alike.
    assert share["treatment"] > 0.5
    assert found.values[0].changed.value == pytest.approx(again.values[0].current.value)
    assert found.values[0].changed.value != pytest.approx(found.values[0].current.value)


def test_decisions_of_an_earlier_version_count_where_they_tell() -> None:
    with ready(shop(catalog={**MAIL, "messages": [message("hello", "email")]}), n=40) as rig:
        rig.engine.load_campaign(shop())
        before = judge_change(rig.engine, shop())
        # With another message from now on: what went before never could have chosen it.
        assert before.refused is not None
        assert before.left_out["an earlier version's, on which the current one cannot be judged"] > 0
        ask(rig, [f"c{i:03d}" for i in range(40)])
        rig.settle()
        found = judge_change(
            rig.engine, shop(campaign={"id": "camp", "name": "New", "starts_at": "2026-01-01T00:00:00Z"})
        )
    assert found.refused is None
    assert 0 < found.decisions <= 40
    assert [value.difference.value for value in found.values] == [0.0, 0.0]


def test_what_quiet_hours_never_let_happen_is_refused_with_the_decisions_it_is_about() -> None:
    # Nobody is told anything on a Monday afternoon, when the first round is asked, nor for a day after it.
    quiet = {"blackouts": [{"from": "2026-01-12T15:00:00Z", "until": "2026-01-14T15:00:00Z"}]}
    with ready(shop(contact_policy=quiet)) as rig:
        found = judge_change(rig.engine, shop())
        (price,) = prices(rig.engine, "camp", found.drawn)
    assert found.untold_decisions == 60 - sum(_groups_left_out(found.left_out))
    assert found.decisions > 0
    assert {each.arm for each in found.untold} == {"hello/email", "offer/email"}
    assert {each.cause for each in found.untold} == {"had no probability in those decisions"}
    assert [value.difference.value for value in found.values] == [0.0, 0.0]
    assert price.name == "contact_policy.blackouts[0]"
    assert price.removed == pytest.approx(0.5)
    # There was no model in the first round: nothing was expected of anything, and nothing can be said of the gain.
    assert price.favourite == 0.0
    assert price.gain is not None
    assert price.gain.value == 0.0


def _groups_left_out(left_out: Any) -> list[int]:  # noqa: ANN401 - counts by cause
    return [n for cause, n in left_out.items() if "nothing is drawn" in cause]


def test_the_price_of_a_rule_is_what_the_model_that_decided_expects_without_it() -> None:
    with ready(capped()) as rig:
        found = judge_change(rig.engine, capped())
        (price,) = prices(rig.engine, "camp", found.drawn)
        gains, removed, favourite, modelled = [], 0, 0, 0
        for row in rig.log():
            explained = rig.engine.explain(row.decision_id)
            stopped = [each for each in explained.candidates if each.reason is not None]
            removed += bool(stopped)
            if row.snapshot_id is None:
                continue
            modelled += 1
            scores = _all_scores(rig, row.decision_id)
            allowed = np.array([each.reason is None for each in explained.candidates])
            gains.append(_greedy(scores, np.ones(len(scores), bool)) - _greedy(scores, allowed))
            favourite += bool(stopped) and not allowed[int(np.argmax(scores))]
        n = len(rig.log())
    scale = 10.0  # of the reward: the cap of a purchase
    assert price.name == "campaign.max_touches_per_customer"
    assert price.removed == pytest.approx(removed / n)
    assert price.favourite == pytest.approx(favourite / n)
    assert favourite > 0
    assert price.gain is not None
    assert price.gain.value == pytest.approx(scale * sum(gains) / modelled, rel=1e-4)
    assert price.gain.low is not None


def _all_scores(rig: Rig, decision_id: str) -> Any:  # noqa: ANN401 - (K,) scores
    """Of every arm, as the model of a decision sees them."""
    row = rig.row(decision_id)
    version = rig.engine.versions.compile(capped())
    logged = Logged.of(row, version)
    scorer = rig.store.read(lambda connection: Models().get(connection, logged, row.snapshot_id or ""))
    assert not isinstance(scorer, str)
    return version.decider.scores(logged.batch, scorer)[0].astype(np.float64)


def _greedy(scores: Any, allowed: Any) -> float:  # noqa: ANN401 - arrays
    """The expected score of epsilon-greedy with epsilon .4, by hand."""
    best = scores[allowed].max()
    tied = allowed & (scores == best)
    return float(0.6 * scores[tied].mean() + 0.4 * scores[allowed].mean())


@pytest.mark.databases
def test_arms_that_were_never_drawn_have_no_price() -> None:
    rule = {"attr": "plan", "op": "==", "value": "free"}
    offered = [message("hello", "email"), message("offer", "email", eligibility=rule)]
    with ready(shop(catalog={**MAIL, "messages": offered}), n=20) as rig:
        found = judge_change(rig.engine, shop())
        (price,) = prices(rig.engine, "camp", found.drawn)
    assert price.name == "catalog.messages[offer].eligibility"
    assert price.removed == 1.0
    assert price.gain is None
    assert price.never_tried == ("offer/email",)
    assert found.values == []
    assert {each.arm for each in found.untold} == {"offer/email"}


def test_what_is_not_closed_is_left_out_and_counted() -> None:
    with Rig(shop()) as rig:
        ask(rig, rig.customers(10, plan="free"))
        rig.pass_by(hours=1)
        found = judge_change(rig.engine, shop())
    assert found.refused == "no logged decision tells what the changed configuration would have come to"
    assert sum(found.left_out.values()) == 10
