"""How long the Open Bandit Pipeline takes for five estimators and their bootstrap intervals, and how much memory.

    obp-venv/bin/python benchmarks/obp/points_and_resamples.py FOLDER RESAMPLES

(`benchmarks/obp/__init__.py` tells how to make the environment.) FOLDER has reward.npy, pscore.npy and action.npy (n,),
action_dist.npy and estimated_rewards.npy (n, K). Prints JSON: by estimator its value and interval; the seconds for the
points and for the intervals, without imports and reading; and the largest memory in bytes, in all and before that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from obp import ope  # type: ignore[import-not-found] # it has an environment of its own

SEED = 12345


def peak_bytes() -> int:
    """The most memory that the process has had: not `ru_maxrss`, which begins with that of who started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def main(folder: Path, resamples: int) -> None:
    """Measure and print."""
    names = ("reward", "pscore", "action", "action_dist", "estimated_rewards")
    arrays = {name: np.load(folder / f"{name}.npy") for name in names}
    given: dict[str, Any] = {
        "reward": arrays["reward"],
        "pscore": arrays["pscore"],
        "action": arrays["action"],
        "action_dist": arrays["action_dist"][:, :, None],
        "estimated_rewards_by_reg_model": arrays["estimated_rewards"][:, :, None],
        "position": np.zeros(len(arrays["reward"]), int),
    }
    before = peak_bytes()
    estimators = {
        "ips": ope.InverseProbabilityWeighting(),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting(),
        "dm": ope.DirectMethod(),
        "dr": ope.DoublyRobust(),
        "switch-dr": ope.SwitchDoublyRobust(lambda_=10.0),
    }
    start = perf_counter()
    values = {name: float(each.estimate_policy_value(**given)) for name, each in estimators.items()}
    points_s = perf_counter() - start
    start = perf_counter()
    ends = {
        name: each.estimate_interval(**given, n_bootstrap_samples=resamples, random_state=SEED)
        for name, each in estimators.items()
    }
    resamples_s = perf_counter() - start
    found = {
        "rows": len(arrays["reward"]),
        "resamples": resamples,
        "points_s": points_s,
        "resamples_s": resamples_s,
        "peak_bytes": peak_bytes(),
        "peak_before_bytes": before,
        "values": values,
        "intervals": {name: [v for key, v in each.items() if key != "mean"] for name, each in ends.items()},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
