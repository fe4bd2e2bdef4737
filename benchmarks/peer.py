"""Vowpal Wabbit's own way: one text example a decision, the customer's line and a line for every arm."""

from __future__ import annotations

from itertools import starmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import vowpalwabbit

from benchmarks.shop import Drawn, schedule
from optimizer.standardisation import Standardiser
from optimizer.vw import BITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from optimizer.catalog import Schedule
    from optimizer.decider import Decider
    from optimizer.features import Encoded, FeatureSpace


def workspace(options: str) -> Any:  # noqa: ANN401 -- it has no types
    """A workspace with these options."""
    return vowpalwabbit.Workspace(f"--quiet {options}")


def copy_of(other: Any, options: str) -> Any:  # noqa: ANN401 -- it has no types
    """A workspace that predicts what the other, of the same options, does now, whatever the other learns later."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.vw"
        other.save(str(path))
        return workspace(f"{options} -i {path}")


def same_model(space: FeatureSpace, *, pairs: bool) -> str:
    """Options that make its model ours: our crosses and nothing else."""
    return f"--noconstant -b {BITS} -l 0.5 --power_t 0.5 {space.options(pairs=pairs)}"


def arm_lines(decider: Decider, times: Schedule) -> list[str]:
    """The line of every arm."""
    slots = decider.catalog.slot_of.tolist()
    variants = [times.variants[slot] if slot >= 0 else None for slot in slots]
    return [text.strip() for text in starmap(decider.space.arm_text, enumerate(variants))]


def shared_lines(space: FeatureSpace, encoded: Encoded, standardised: NDArray[np.float32], *, pairs: bool) -> list[str]:
    """The line of every customer, from the encoded features and their standardised numbers."""
    numbers = space.dense(encoded, standardised)
    lines = []
    for i, row in enumerate(numbers.tolist()):
        parts: dict[str, str] = {}
        for column, value in zip(space.columns, row, strict=True):
            parts[column.space] = parts.get(column.space, "") + f" {column.text}:{value:.9g}"
        for term in space.terms:
            if pairs or not term.pooled:
                names = space.term_levels(term, [encoded.levels[f][i] for f in term.features])
                parts[term.space] = "".join([parts.get(term.space, ""), *(f" {name}" for name in names)])
        lines.append("shared" + "".join(f" |{space}{text}" for space, text in parts.items()))
    return lines


def example(shared: str, arms: Sequence[str]) -> str:
    """An example to predict."""
    return "\n".join([shared, *arms])


def labelled(shared: str, arms: Sequence[str], drawn: int, reward: float, propensity: float) -> str:
    """An example to learn from: cost and probability stand on the line of the arm drawn."""
    lines = [*arms]
    lines[drawn] = f"0:{-reward:.9g}:{propensity:.9g} {arms[drawn]}"
    return example(shared, lines)


def lessons(decider: Decider, encoded: Encoded, drawn: Drawn, *, pairs: bool) -> list[str]:
    """The examples of random decisions, with the numbers standardised as the learner standardises them."""
    standardised = Standardiser(len(decider.space.numbers)).learn(encoded.numbers)
    shared = shared_lines(decider.space, encoded, standardised, pairs=pairs)
    arms = arm_lines(decider, schedule(decider))
    decisions = zip(shared, drawn.arms.tolist(), drawn.rewards.tolist(), strict=True)
    return [labelled(line, arms, arm, reward, 1.0 / len(arms)) for line, arm, reward in decisions]
