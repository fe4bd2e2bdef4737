"""Shares estimated from a log of the factorial world, where they are known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from optimizer.campaign import CampaignFile
from optimizer.catalog import Catalog
from optimizer.errors import InvalidInput
from simulator.ablation.campaign_log import campaign_log
from simulator.ablation.choosing import Choosing, coalitions
from simulator.ablation.columns import Columns
from simulator.ablation.estimating import ablate
from simulator.ablation.regression import Sums, fit
from simulator.ablation.shares import Ablation, Untold
from simulator.worlds import FactorialConfig, FactorialWorld, bucket_values
from simulator.worlds.games import EXPERIENCE, PLACEMENT, PLAYERS
from simulator.worlds.states import uniform_histories
from simulator.worlds.uniform_log import uniform_log
from tests.simulator.factory import FACTORIAL, log, rehearsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.evaluation.log import Log

DECISIONS = 100_000
SEED = 5


@pytest.fixture(scope="module")
def world() -> FactorialWorld:
    return FactorialWorld(FactorialConfig(), 5_000, seed=SEED)


@pytest.fixture(scope="module")
def chunks(world: FactorialWorld) -> list[Log]:
    return list(uniform_log(world, DECISIONS, SEED))


@pytest.fixture(scope="module")
def found(chunks: list[Log]) -> Ablation:
    result = ablate(chunks, FACTORIAL)
    assert isinstance(result, Ablation)
    return result


def small(**catalog: Any) -> CampaignFile:  # noqa: ANN401 - any part of the catalog
    """A campaign with one feature, and with messages alone unless the catalog says more."""
    return CampaignFile.model_validate(
        {
            "version": 1,
            "campaign": {"id": "small", "name": "Small", "starts_at": "2026-01-01T00:00:00Z"},
            "features": [{"name": "age", "bucket": "customer", "type": "number"}],
            "catalog": {"messages": [{"id": "a"}, {"id": "b"}], **catalog},
            "reward": {"events": [{"name": "bought", "value": 1, "window": "1d"}]},
        }
    )


def simple_log(n: int, worth: float, arms: Sequence[str] = ("a", "b", "no_send")) -> Log:
    """Uniform decisions; whoever is older than average likes message a, the others b."""
    from optimizer.evaluation.log import Log as Rows  # noqa: PLC0415 - a type elsewhere

    rng = np.random.default_rng(1)
    age, chosen = rng.normal(size=n), rng.integers(0, len(arms), n)
    likes = np.where(age > 0.0, 0, 1) == chosen
    reward = (rng.random(n) < 0.2 + worth * likes).astype(np.float64)
    uniform = np.full(n, 1.0 / len(arms))
    return Rows(arms=tuple(arms), chosen=chosen, propensity=uniform, reward=reward, context={"age": age})


def test_the_intervals_hold_the_true_shares(world: FactorialWorld, found: Ablation) -> None:
    history = uniform_histories(60, np.random.default_rng(2))
    values = bucket_values(world.personal[:1_000], history, world.config.strengths, world.config.late_share)
    # Seeded. Of 10 other logs, with 250,000 decisions, 48 of the 50 intervals held the true share.
    for name, true in {**values.shares, **values.within_execution}.items():
        share = {**found.shares, **found.within_execution}[name]
        assert share.low is not None
        assert share.high is not None
        assert share.low < true < share.high, name
        assert share.high - share.low < 0.6
    assert found.base.low is not None
    assert found.base.high is not None
    assert found.base.low < values() < found.base.high
    assert found.best.high is not None
    assert values("customer", "experience", "execution") < found.best.high


def test_shares_sum_to_one_and_those_within_execution_to_its(found: Ablation) -> None:
    assert sum(share.value or 0.0 for share in found.shares.values()) == pytest.approx(1.0)
    inner = sum(share.value or 0.0 for share in found.within_execution.values())
    assert inner == pytest.approx(found.shares["execution"].value)
    assert sum(found.corrections[name] for name in found.shares) == pytest.approx(0.0, abs=1e-12)
    assert (found.decisions, found.customers) == (DECISIONS, 5_000)


def test_a_regression_from_sums_is_that_of_the_rows(chunks: list[Log]) -> None:
    few = [chunks[0], chunks[1]]
    catalog = Catalog(FACTORIAL)
    columns = Columns(FACTORIAL, catalog)
    for chunk in few:
        columns.add(chunk)
    design, arms = columns.design(), np.arange(len(catalog))
    arm, reward = (np.concatenate([getattr(chunk, name) for chunk in few]) for name in ("chosen", "reward"))
    choosing = Choosing.of(catalog, arms, {EXPERIENCE})
    seen = np.array([0, 1, 2, 3])
    sums = Sums.of(design.values, arm, reward, len(arms))
    model = fit(sums, design, catalog.channel_of, choosing, seen)
    x = design.values[:, seen].astype(np.float64)
    dense = (choosing.crossed[arm][:, :, None] * x[:, None, :]).reshape(len(x), -1)
    theirs = LinearRegression(fit_intercept=False).fit(dense, reward)
    expected = model.expected(design.values)[np.arange(len(x)), choosing.group_of[arm]]
    # Ours keeps columns that say the same apart by a millionth; theirs takes the shortest of all solutions.
    assert expected == pytest.approx(theirs.predict(dense), abs=1e-4)


def test_sums_of_shards_are_the_sums_of_the_whole(chunks: list[Log]) -> None:
    columns = Columns(FACTORIAL, Catalog(FACTORIAL))
    columns.add(chunks[0])
    values, arm, reward = columns.design().values, chunks[0].chosen, chunks[0].reward
    parts = [Sums.of(values[rows], arm[rows], reward[rows], 121) for rows in (slice(0, 7_000), slice(7_000, None))]
    whole = Sums.of(values, arm, reward, 121)
    assert np.allclose((parts[0] + parts[1]).squares, whole.squares)
    assert np.allclose((parts[0] + parts[1]).products, whole.products)


def test_who_chooses_what_takes_the_arms_together_that_it_does_not_tell_apart() -> None:
    catalog = Catalog(FACTORIAL)
    arms = np.arange(len(catalog))
    message, place, both = (Choosing.of(catalog, arms, each) for each in ({EXPERIENCE}, {PLACEMENT}, PLAYERS))
    assert (message.options, place.options, both.options) == (7, 21, 121)
    for choosing, parts in ((message, ("message",)), (place, ("channel", "slot"))):
        for option in range(choosing.options):
            own = [catalog.arms[a] for a in np.flatnonzero(choosing.group_of == option)]
            assert len({tuple(getattr(arm, part) for part in parts) for arm in own}) == 1
            assert len(own) in {1, 20, 6}
    assert len(coalitions()) == 12


def test_what_a_message_is_worth_to_whom_belongs_to_customer_and_experience() -> None:
    found = ablate([simple_log(30_000, 0.3)], small())
    assert isinstance(found, Ablation)
    # Each likes one message: alone neither knowing nor choosing is worth much, both together .2: half each.
    assert found.worth.value == pytest.approx(0.2, abs=0.02)
    assert found.shares["customer"].value == pytest.approx(0.44, abs=0.08)
    assert found.values["experience"].value == pytest.approx(0.35, abs=0.02)
    assert found.values["customer,experience"].value == pytest.approx(0.5, abs=0.02)
    assert abs(found.within_execution["earlier_touches"].value or 0.0) < 0.02


def test_where_choosing_is_worth_nothing_there_are_no_shares() -> None:
    found = ablate([simple_log(30_000, 0.0)], small())
    assert isinstance(found, Untold)
    assert found.why.startswith("choosing well may be worth nothing")
    assert found.worth is not None


def test_too_few_decisions_are_refused_with_how_many_it_takes() -> None:
    found = ablate([simple_log(100, 0.3)], small())
    assert isinstance(found, Untold)
    assert "100 decisions drawn uniformly are too few" in found.why


def test_draws_that_prefer_an_arm_do_not_count() -> None:
    uniform = simple_log(20_000, 0.3)
    p = np.full(len(uniform), 1.0 / 3.0)
    p[:12_000] = 0.5
    found = ablate([replace(uniform, propensity=p)], small())
    assert isinstance(found, Ablation)
    assert found.left_out == {"not drawn uniformly": 12_000}
    assert found.decisions == 8_000
    none = ablate([replace(uniform, propensity=np.full(len(uniform), 0.5))], small())
    assert isinstance(none, Untold)
    assert none.why.startswith("no decision was drawn uniformly")
    assert none.left_out == {"not drawn uniformly": 20_000}


def test_an_arm_that_was_allowed_and_never_drawn_is_named() -> None:
    uniform = simple_log(20_000, 0.3)
    found = ablate([uniform.take(uniform.chosen != 1)], small())
    assert isinstance(found, Untold)
    assert found.why == "1 arms were allowed and never drawn, such as b"


def test_arms_that_are_no_candidates_are_not_chosen() -> None:
    uniform = simple_log(30_000, 0.3)
    allowed = np.ones((len(uniform), 3), np.bool_)
    allowed[np.arange(len(uniform)), (uniform.chosen + 1) % 3] = False
    found = ablate([replace(uniform, allowed=allowed, propensity=np.full(len(uniform), 0.5))], small())
    assert isinstance(found, Ablation)
    # The best of two: it is there in two rows of three.
    assert found.best.value == pytest.approx(0.2 + 0.3 * 2 / 3, abs=0.02)


def test_arms_that_the_campaign_does_not_have_are_an_error() -> None:
    with pytest.raises(InvalidInput, match="arms that the campaign does not have: c"):
        ablate([simple_log(100, 0.3, arms=("a", "c", "no_send"))], small())


def test_a_service_tells_its_closed_random_draws() -> None:
    loop = rehearsed(days=5, customers=60)
    chunks, campaign = campaign_log(loop.engine, "factorial")
    (read,) = list(chunks)
    rows = {row.decision_id: row for row in log(loop)}
    drawn = [row for row in rows.values() if row.group_name in {"treatment", "random_control"}]
    assert 0 < len(read) < len(drawn)
    assert campaign.config_hash == FACTORIAL.config_hash
    assert read.history_for(["email", "sms", "push", "chat"])["hours_since_last_touch_on_channel"].shape[1] == 4
    assert set(read.context) == {f.name for f in FACTORIAL.features if f.source == "attribute"}
    found = ablate([read], FACTORIAL)
    loop.close()
    assert isinstance(found, Untold)
    assert "were allowed and never drawn" in found.why
    assert 0 < found.left_out["not drawn uniformly"] < len(read)
