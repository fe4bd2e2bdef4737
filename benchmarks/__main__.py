"""`python -m benchmarks [PART ...]`: the machine, then every figure beside its target; all parts without names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks import (
    ablation,
    bulk,
    cluster,
    contact,
    coverage,
    deciding,
    dispatch,
    exporting,
    factorial,
    hillstrom,
    http,
    learners,
    learning,
    learning_speed,
    mabwiser,
    machine,
    open_bandit,
    open_bandit_size,
    policy,
    progressive,
    reading,
    resampling,
    reward_models,
    scoring,
)
from benchmarks.figures import section

if TYPE_CHECKING:
    from types import ModuleType

PARTS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        scoring,
        deciding,
        contact,
        learning_speed,
        http,
        bulk,
        policy,
        dispatch,
        learning,
        hillstrom,
        factorial,
        progressive,
        reading,
        exporting,
        open_bandit,
        reward_models,
        coverage,
        ablation,
        resampling,
        open_bandit_size,
        cluster,
        learners,
        mabwiser,
    )
}


def main(names: list[str]) -> None:
    """Measure and print the parts with these names, or all of them."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        sys.exit(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    print(machine.describe())
    for name in names or PARTS:
        with section(f"{name}. {PARTS[name].TITLE}"):
            try:
                for figure in PARTS[name].figures():
                    print("  " + figure.line(), flush=True)
            except FileNotFoundError as missing:
                print(f"  skipped: {missing}")


if __name__ == "__main__":
    main(sys.argv[1:])
