"""The Open Bandit Pipeline's own table for the Open Bandit Dataset, bootstrap by bootstrap.

    cd benchmarks/obp
    ../../obp-venv/bin/python open_bandit.py SHARED_DATA/obd ../../tests/optimizer/evaluation/golden/open_bandit.json

(`benchmarks/obp/__init__.py` tells how to make the environment.) It does what the pipeline's `examples/obd` do: 30
bootstraps of the random policy's log, a cross-fitted logistic regression in each, and the relative error of seven
estimators of the Thompson sampling policy.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from obp import dataset, ope  # type: ignore[import-not-found] # it has an environment of its own
from sklearn.linear_model import LogisticRegression

RUNS = 30
SEED = 12345
CONVERGED = 1e-10
"""With the tolerance that was the default when the example was written, the sum's and not the mean's, it converges."""
PARAMETERS = [10, 50, 100, 500, 1000, 5000, 10000, float("inf")]


def layout(source: Path, folder: Path) -> None:
    """The files as the pipeline wants them."""
    for policy in ("random", "bts"):
        place = folder / policy / "all"
        place.mkdir(parents=True)
        (place / "all.csv").write_bytes(gzip.decompress((source / f"{policy}_all.csv.gz").read_bytes()))
        items = gzip.decompress((source / f"{policy}_all_item_context.csv.gz").read_bytes())
        (place / "item_context.csv").write_bytes(items)


def estimators() -> list[Any]:
    """Those of the example."""
    return [
        ope.DirectMethod(),
        ope.InverseProbabilityWeighting(),
        ope.SelfNormalizedInverseProbabilityWeighting(),
        ope.DoublyRobust(),
        ope.SelfNormalizedDoublyRobust(),
        ope.SwitchDoublyRobustTuning(lambdas=list(PARAMETERS)),
        ope.DoublyRobustWithShrinkageTuning(lambdas=list(PARAMETERS)),
    ]


def table(folder: Path, action_dist: Any) -> dict[str, Any]:  # noqa: ANN401
    """By estimator the relative error in each bootstrap."""
    data = dataset.OpenBanditDataset(behavior_policy="random", campaign="all", data_path=folder)
    truth = dataset.OpenBanditDataset.calc_on_policy_policy_value_estimate(
        behavior_policy="bts", campaign="all", data_path=folder
    )
    found: dict[str, Any] = {"truth": truth, "errors": {}, "chosen": {}}
    for run in range(RUNS):
        feedback = data.sample_bootstrap_bandit_feedback(random_state=run)
        model = ope.RegressionModel(
            n_actions=data.n_actions,
            len_list=data.len_list,
            action_context=data.action_context,
            base_model=LogisticRegression(max_iter=10000, C=100, tol=CONVERGED, random_state=SEED),
        )
        predictions = model.fit_predict(
            context=feedback["context"],
            action=feedback["action"],
            reward=feedback["reward"],
            position=feedback["position"],
            pscore=feedback["pscore"],
            n_folds=3,
            random_state=SEED,
        )
        mine = estimators()
        errors = ope.OffPolicyEvaluation(
            bandit_feedback=feedback, ope_estimators=mine
        ).evaluate_performance_of_estimators(
            ground_truth_policy_value=truth,
            action_dist=np.tile(action_dist, (feedback["n_rounds"], 1, 1)),
            estimated_rewards_by_reg_model=predictions,
            metric="relative-ee",
        )
        for name, error in errors.items():
            found["errors"].setdefault(name, []).append(error)
        for each in mine[-2:]:
            found["chosen"].setdefault(each.estimator_name, []).append(each.best_hyperparam)
    return found


def main(source: Path, target: Path) -> None:
    """Write the table, and print its means and standard deviations."""
    with tempfile.TemporaryDirectory() as folder:
        layout(source, Path(folder))
        found = table(Path(folder), np.load(source / "bts_action_dist_all_1M.npy"))
    target.write_text(json.dumps(found, indent=1) + "\n")
    for name, errors in found["errors"].items():
        print(f"{name:10} {np.mean(errors):.6f} {np.std(errors, ddof=1):.6f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
