"""The audit against logs that are right by construction, and logs in which one thing was changed."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from scipy import stats

from optimizer.bennett import FALSE_ALARM, alarm
from optimizer.catalog import Catalog
from optimizer.exploration import Exploration, draw
from optimizer.propensities import Audited, audit
from optimizer.store.draws import DrawRow
from tests.optimizer.engine_example import campaign, message

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

N = 5_000
NAMES = ("email", "push", "sms", "app")
CHANNELS = [{"id": name, "cost": 0.0} for name in NAMES]
CATALOG = Catalog(
    campaign(
        catalog={
            "messages": [message(f"m{i:02}", *NAMES) for i in range(30)],
            "channels": CHANNELS,
        }
    )
)
K = len(CATALOG)
SHARP = Exploration("squarecb", 2_000.0)
"""Most arms have a chance of a thousandth or so."""


def log(
    exploration: Exploration,
    seed: int,
    n: int = N,
    bend: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.copy,
) -> list[DrawRow]:
    """Draws from the logged distribution, or from a bent one."""
    rng = np.random.default_rng(seed)
    allowed = rng.random((n, K)) < 0.9
    allowed[:, -1] = True
    scores = rng.normal(0.05, 0.02, (n, K)).astype(np.float32)
    p = exploration.probabilities(scores, allowed)
    drawn_from = bend(p)
    arm, _ = draw(drawn_from / drawn_from.sum(axis=1, keepdims=True), rng.random(n))
    packed, text = np.packbits(allowed, axis=1), orjson.dumps(asdict(exploration)).decode()
    return [
        DrawRow(
            f"d{i:05}",
            "v1",
            CATALOG.arms[arm[i]].id,
            float(p[i, arm[i]]),
            "s1",
            text,
            packed[i].tobytes(),
            scores[i, allowed[i]].tobytes(),
        )
        for i in range(n)
    ]


def changed(rows: list[DrawRow], place: int, **values: Any) -> list[DrawRow]:  # noqa: ANN401 - any column
    return [*rows[:place], rows[place]._replace(**values), *rows[place + 1 :]]


@pytest.mark.parametrize(
    "exploration",
    [SHARP, Exploration("uniform"), Exploration("softmax", 80.0, 0.05), Exploration("epsilon_greedy", 0.1)],
    ids=lambda each: each.kind,
)
def test_a_right_log_raises_no_alarm(exploration: Exploration) -> None:
    """False-alarm probability: at most 1e-4 a log, and there are ten for each policy."""
    for seed in range(10):
        found = audit(CATALOG, log(exploration, seed))
        assert found.holds, found.worst
        assert (found.draws, found.differing) == (N, 0)
    assert found.mean_weight == pytest.approx(1.0, abs=0.5)


def test_a_common_arms_z_is_the_usual_one_and_a_rare_arms_is_smaller() -> None:
    found = audit(CATALOG, log(Exploration("uniform"), seed=1, n=40_000))
    for arm, off in found.off.items():
        assert found.z[arm] == pytest.approx(off / math.sqrt(found.variance[arm]), abs=0.3)
    rare = Audited(1_000, {"a": 3.0}, {"a": 0.1})
    assert 3.0 / math.sqrt(0.1) > 9
    assert rare.z["a"] < 4


@pytest.mark.parametrize("chance", [1e-4, 1e-2, 0.5])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_alarm_is_never_likelier_than_stated(chance: float, sign: int) -> None:
    """The exact distribution of one arm's draws, 1,000 with the same chance: scipy's binomial is the oracle."""
    n = 1_000
    counts = np.arange(n + 1)
    z = np.array([Audited(n, {"a": float(c - n * chance)}, {"a": n * chance * (1 - chance)}).worst[1] for c in counts])
    for level in (1.0, 3.0, alarm(1)):
        exact = stats.binom.pmf(counts, n, chance)[sign * z >= level].sum()
        assert exact <= math.exp(-(level**2) / 2)


def test_the_alarm_allows_for_the_number_of_arms() -> None:
    assert alarm(120) == pytest.approx(5.42, abs=0.01)
    for arms in (1, 120):
        assert 2 * arms * math.exp(-(alarm(arms) ** 2) / 2) == pytest.approx(FALSE_ALARM)


def test_arms_drawn_from_another_distribution_are_found() -> None:
    """One arm twice as likely as the log says; the chance of missing it is below 1e-6."""

    def bend(p: NDArray[np.float64]) -> NDArray[np.float64]:
        bent = p.copy()
        bent[:, 7] *= 2
        return bent

    found = audit(CATALOG, log(Exploration("uniform"), seed=3, bend=bend, n=4 * N))
    assert not found.holds
    assert found.worst[0] == CATALOG.arms[7].id
    assert found.differing == 0


def test_a_draw_that_was_made_again_after_looking_at_it_is_found() -> None:
    """Whoever draws again where the first draw was the one arm that cannot be sent changes all the others' chances."""

    def bend(p: NDArray[np.float64]) -> NDArray[np.float64]:
        bent = p.copy()
        bent[:, -1] = 0.0
        return bent

    found = audit(CATALOG, log(Exploration("epsilon_greedy", 1.0), seed=4, bend=bend))
    assert found.worst[0] == "no_send"
    assert not found.holds


def test_an_arm_that_could_not_be_drawn_is_an_infinite_difference() -> None:
    rows = log(Exploration("greedy"), seed=5, n=50)
    other = next(arm.id for arm in CATALOG.arms if arm.id != rows[0].arm and arm.id not in {row.arm for row in rows})
    found = audit(CATALOG, changed(rows, 0, arm=other))
    assert abs(found.worst[1]) == math.inf
    assert (found.differing, found.example) == (1, "d00000")


@pytest.mark.parametrize(
    "change",
    [
        {"propensity": 0.5},
        {"propensity": 0.0},
        {"arm": "no such arm"},
        {"candidates": b"\xff"},
        {"candidates": b"\xff" * 16},
        {"scores": b"\0" * 12},
        {"scores": np.full(K, np.nan, np.float32).tobytes()},
        {"snapshot_id": None},
        {"exploration": '{"kind": "squarecb", "parameter": "much"}'},
        {"exploration": '{"kind": "guess"}'},
        {"exploration": "{"},
    ],
    ids=str,
)
def test_a_row_that_does_not_hold_is_counted_and_named_and_the_others_stand(change: dict[str, object]) -> None:
    found = audit(CATALOG, changed(log(SHARP, seed=6, n=100), 40, **change))
    assert (found.differing, found.example) == (1, "d00040")
    assert found.draws in {99, 100}
    assert not found.holds
    assert np.isfinite(list(found.off.values())).all()


def test_fixed_arms_are_no_draws() -> None:
    text = orjson.dumps(asdict(Exploration("fixed", arm=3))).decode()
    rows = [row._replace(exploration=text, propensity=1.0) for row in log(SHARP, seed=7, n=10)]
    assert audit(CATALOG, rows) == Audited()


def test_without_a_model_the_draw_is_uniform_over_the_candidates() -> None:
    rows = [row._replace(snapshot_id=None, scores=b"") for row in log(Exploration("uniform"), seed=8)]
    text = orjson.dumps(asdict(SHARP)).decode()
    found = audit(CATALOG, [row._replace(exploration=text) for row in rows])
    assert found.holds
    assert found.mean_weight == pytest.approx(1.0)


def test_two_parts_of_a_log_come_to_what_the_whole_does() -> None:
    rows = log(SHARP, seed=9, n=1_000)
    whole, parts = audit(CATALOG, rows), audit(CATALOG, rows[:300]) + audit(CATALOG, rows[300:])
    assert parts.draws == whole.draws
    assert parts.weight == pytest.approx(whole.weight)
    assert list(parts.off.values()) == pytest.approx(list(whole.off.values()), abs=1e-9)
    assert list(parts.variance.values()) == pytest.approx(list(whole.variance.values()))


def test_five_thousand_decisions_over_120_arms_take_less_than_a_second() -> None:
    rows = log(SHARP, seed=10)
    assert K == 121
    began = time.process_time()  # not the time of whatever runs beside
    audit(CATALOG, rows)
    assert time.process_time() - began < 1.0
