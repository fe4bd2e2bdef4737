"""A log in Vowpal Wabbit's text format for `--cb_adf`.

A decision is a line `shared |namespace feature ...` and a line for each candidate, of which the one that was drawn has
the label `0:cost:probability`; a blank line ends it. The reward is a cost negated. Features are named as Vowpal Wabbit
names those of dsjson, so that it learns the same from either: of a column `Geo.city` the namespace is `Geo`, and a
category's name and value are one word, `cityRome`; a dot is always taken for one of the path. An arm is the feature of
its id in the namespace `arm`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from simulator.logs.json_columns import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import BinaryIO

    from numpy.typing import NDArray

    from optimizer.evaluation.log import Log

ARM: Final = "arm"
HISTORY: Final = "history"
_UNSAFE: Final = re.compile(r"[\x00-\x20|:]")


def write_vw_text(chunks: Iterable[Log], file: BinaryIO) -> int:
    """Write the decisions of a log in their order; how many."""
    written = 0
    for log in chunks:
        shared = _shared(log)
        arms = [f"|{ARM} {_word(arm)}\n" for arm in log.arms]
        rows = zip(
            shared, log.candidates, log.chosen.tolist(), log.reward.tolist(), log.propensity.tolist(), strict=True
        )
        for text, candidates, chosen, reward, propensity in rows:
            lines = [f"shared{text}\n"]
            for arm in np.flatnonzero(candidates).tolist():
                if arm == chosen:
                    lines.append(f"0:{0.0 - reward!r}:{propensity!r} ")
                lines.append(arms[arm])
            file.write("".join([*lines, "\n"]).encode())
        written += len(log)
    return written


def _shared(log: Log) -> list[str]:
    """What follows `shared` in each decision's first line."""
    spaces: dict[str, list[list[str]]] = {}
    for name, column in log.context.items():
        path, _, feature = name.rpartition(".")
        spaces.setdefault(_word(path.rpartition(".")[2]), []).append(_features(feature, column))
    for name, column in log.history.items():
        spaces.setdefault(HISTORY, []).append(_features(name, column))
    texts = [""] * len(log)
    for space, columns in spaces.items():
        for i, parts in enumerate(zip(*columns, strict=True)):
            features = "".join(parts)
            if features:
                texts[i] += f" |{space}{features}"
    return texts


def _features(name: str, column: NDArray[Any]) -> list[str]:
    """Each row's features of one column, a space before each; those that are missing or 0 have none."""
    word = _word(name)
    if column.dtype.kind == "f":
        return [f" {word}:{value:.9g}" if value and value == value else "" for value in column.tolist()]  # noqa: PLR0124 - NaN
    begin = "" if name == WORDS else word
    return ["".join(f" {begin}{_word(text)}" for text in _texts(value)) for value in column.tolist()]


def _texts(value: str | tuple[str, ...] | None) -> Sequence[str]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _word(text: str) -> str:
    """Without what ends a word in this format; Vowpal Wabbit does the same to the values of dsjson."""
    return _UNSAFE.sub("_", text)
