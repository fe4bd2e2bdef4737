"""What the Open Bandit Pipeline says of given rows, for our tests to compare with.

    obp-venv/bin/python benchmarks/obp/golden.py tests/optimizer/evaluation/golden

(`benchmarks/obp/__init__.py` tells how to make the environment.) Writes the rows of each case as CASE.npz, and all that
was said of them as obp.json.
"""

from __future__ import annotations

import json
import sys
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from obp import ope  # type: ignore[import-not-found] # it has an environment of its own
from obp.ope.helper import estimate_student_t_lower_bound  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS, ARMS = 300, 12
PARAMETERS = [0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0, float("inf")]
DELTA = 0.1
KINDS = np.array([[a % 2, a % 3, a // 4] for a in range(ARMS)])
"""Three attributes of each arm."""

Arrays = dict[str, "NDArray[Any]"]


def rows(seed: int, *, binary: bool, sharp: float, off: float = 1.0) -> Arrays:
    """Rows of a log, a target whose weights are heavier the sharper it is, and a model that is off by a factor."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, 3))
    logged = softmax(0.5 * x @ rng.normal(size=(3, ARMS)))
    target = softmax(sharp * x @ rng.normal(size=(3, ARMS)))
    action = (logged.cumsum(axis=1) > rng.random((ROWS, 1)) * (1 - 1e-12)).argmax(axis=1)
    mean = 1 / (1 + np.exp(1 - x @ rng.normal(size=(3, 2))[:, KINDS[:, 0]]))
    own = mean[np.arange(ROWS), action]
    reward = (rng.random(ROWS) < own).astype(float) if binary else 3 * own + rng.normal(size=ROWS)
    q = off * np.clip(mean + rng.normal(scale=0.2, size=mean.shape), 0.01, 0.99)
    return {"reward": reward, "action": action, "logged": logged, "target": target, "q": q}


def softmax(scores: NDArray[Any]) -> NDArray[Any]:
    """(n, K) probabilities."""
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def said(case: Arrays) -> dict[str, Any]:
    """Each estimator's value, what SLOPE chooses, and the estimates by kinds of arms."""
    n = np.arange(ROWS)
    given = {
        "reward": case["reward"],
        "action": case["action"],
        "pscore": case["logged"][n, case["action"]],
        "action_dist": case["target"][:, :, None],
        "estimated_rewards_by_reg_model": case["q"][:, :, None],
        "position": np.zeros(ROWS, int),
    }
    found: dict[str, Any] = {
        name: estimator.estimate_policy_value(**given)
        for name, estimator in {
            "dm": ope.DirectMethod(),
            "ips": ope.InverseProbabilityWeighting(),
            "snips": ope.SelfNormalizedInverseProbabilityWeighting(),
            "dr": ope.DoublyRobust(),
            "sndr": ope.SelfNormalizedDoublyRobust(),
        }.items()
    }
    for name, kind, tuning in (
        ("clipped ips", ope.InverseProbabilityWeighting, ope.InverseProbabilityWeightingTuning),
        ("switch-dr", ope.SwitchDoublyRobust, ope.SwitchDoublyRobustTuning),
        ("dr-os", ope.DoublyRobustWithShrinkage, ope.DoublyRobustWithShrinkageTuning),
    ):
        tuned = tuning(lambdas=list(PARAMETERS), tuning_method="slope", delta=DELTA)
        value = tuned.estimate_policy_value_with_tuning(**given)
        found[name] = {
            "values": [kind(lambda_=each).estimate_policy_value(**given) for each in PARAMETERS],
            "widths": [width(kind(lambda_=each)._estimate_round_rewards(**given)) for each in PARAMETERS],  # noqa: SLF001
            "slope": value,
            "chosen": tuned.best_hyperparam,
        }
    found["mips"] = by_kinds(case)
    found["replay"] = replayed(case)
    return found


def width(samples: NDArray[Any]) -> float:
    """Of the one-sided interval that SLOPE takes."""
    return float(samples.mean() - estimate_student_t_lower_bound(x=samples, delta=DELTA))


def by_kinds(case: Arrays) -> dict[str, Any]:
    """Its MIPS by every set of the attributes, the arms that agree in all of them being one kind; then its choice.

    Of several attributes it takes the product of their probabilities one by one, which is not the kind's; so for the
    estimates a kind is given to it as one attribute. Its choice is made with the products, and these are written too.
    """
    sets = [list(some) for size in range(KINDS.shape[1], 0, -1) for some in combinations(range(KINDS.shape[1]), size)]
    found: dict[str, Any] = {"estimates": {}, "products": {}}
    for some in sets:
        name = "".join(map(str, some))
        kind = np.unique(KINDS[:, some], axis=0, return_inverse=True)[1].reshape(-1, 1)
        found["estimates"][name] = estimate_by_kinds(case, kind)
        found["products"][name] = estimate_by_kinds(case, KINDS[:, some])
    estimator = ope.MarginalizedInverseProbabilityWeighting(
        n_actions=ARMS, delta=DELTA, embedding_selection_method="exact"
    )
    found["chosen"] = float(estimator.estimate_policy_value(**inputs(case, KINDS)))
    return found


def estimate_by_kinds(case: Arrays, kinds: NDArray[Any]) -> dict[str, float]:
    """Of one set of attributes (K, A), with the deviation that its selection takes."""
    estimator = ope.MarginalizedInverseProbabilityWeighting(n_actions=ARMS, delta=DELTA)
    value, deviation = estimator._estimate_round_rewards(**inputs(case, kinds), with_dev=True)  # noqa: SLF001
    return {"value": float(value), "width": float(deviation)}


def inputs(case: Arrays, kinds: NDArray[Any]) -> Arrays:
    """What its MIPS takes, where the attributes (K, A) are functions of the arm."""
    p_e_a = np.zeros((ARMS, int(kinds.max()) + 1, kinds.shape[1]))
    for d in range(kinds.shape[1]):
        p_e_a[np.arange(ARMS), kinds[:, d], d] = 1.0
    return {
        "reward": case["reward"],
        "action": case["action"],
        "action_embed": kinds[case["action"]],
        "pi_b": case["logged"][:, :, None],
        "action_dist": case["target"][:, :, None],
        "position": np.zeros(ROWS, int),
        "context": np.zeros((ROWS, 1)),
        "p_e_a": p_e_a,
    }


def replayed(case: Arrays) -> float:
    """Its replay of the target's best arm, which takes the log for a uniform one."""
    best = np.eye(ARMS)[case["target"].argmax(axis=1)]
    return float(
        ope.ReplayMethod().estimate_policy_value(
            reward=case["reward"], action=case["action"], action_dist=best[:, :, None], position=np.zeros(ROWS, int)
        )
    )


def main(folder: Path) -> None:
    """Write the files."""
    cases = {
        "binary": rows(1, binary=True, sharp=1.0),
        "heavy": rows(2, binary=True, sharp=3.0, off=0.3),
        "real": rows(3, binary=False, sharp=2.0, off=-1.0),
    }
    for name, case in cases.items():
        np.savez_compressed(folder / f"{name}.npz", allow_pickle=False, **case)
    whole = {
        "parameters": PARAMETERS,
        "delta": DELTA,
        "kinds": KINDS.tolist(),
        "cases": {name: said(case) for name, case in cases.items()},
    }
    (folder / "obp.json").write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
