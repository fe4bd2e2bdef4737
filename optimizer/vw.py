"""What we need to know of Vowpal Wabbit: where it keeps a feature's weight, and what its model files hold.

Facts (Vowpal Wabbit 9.11.9, checked by `tests/optimizer/test_vw.py` against the program itself): the index of a cross
of the features with indexes i and j is `((16777619 * i) ^ j) & mask`, in the order in which the interaction is written;
a model file is a header whose length depends only on the options, then for each non-zero weight a record of the index
and, when the options are ours, three floats (weight, adaptive, normalisation).
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import vowpalwabbit

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 18
"""Weights are a table of 2**18, Vowpal Wabbit's own default."""

_MASK = np.uint64((1 << BITS) - 1)
_CROSS = np.uint64(16777619)
_RECORD = np.dtype([("index", "<u4"), ("weight", "<f4"), ("adaptive", "<f4"), ("normalised", "<f4")])
_HASHER: Any = vowpalwabbit.Workspace(f"--quiet -b {BITS}")
_UNSAFE = re.compile(r"[\x00-\x20%|:?^\x7f\x85\xa0]")


def feature_hash(namespace: str, feature: str) -> int:
    """The index of a feature's weight, by Vowpal Wabbit's own hash."""
    index: int = _HASHER.hash_feature(feature, _HASHER.hash_space(namespace))
    return index


def cross(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.intp]:
    """The indexes of the crosses of every feature in `first` (F,) with every one in `second` (J,): (F, J)."""
    return (((first * _CROSS)[:, None] ^ second[None, :]) & _MASK).astype(np.intp)


def escape(text: str) -> str:
    """A value as it may stand in a feature's name: no space, bar, colon or control character; `?` is for "missing"."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", text)


class Model:
    """A Vowpal Wabbit workspace for plain regression, new or going on from an earlier one's saved bytes."""

    def __init__(self, options: str, saved: bytes | None = None) -> None:
        self.options = f"--quiet --noconstant -b {BITS} {options}"
        if saved is None:
            self._workspace: Any = vowpalwabbit.Workspace(self.options)
        else:
            with tempfile.NamedTemporaryFile(suffix=".vw") as file:
                file.write(saved)
                file.flush()
                # The loss function is not kept in a model file: the options are given again.
                self._workspace = vowpalwabbit.Workspace(
                    f"{self.options} --preserve_performance_counters -i {file.name}"
                )

    def learn(self, example: str) -> float:
        """Learn one labelled example; returns what was predicted, clipped to the range of the labels so far."""
        parsed = self._workspace.parse(example)
        self._workspace.learn(parsed)
        predicted: float = parsed.get_simplelabel_prediction()
        self._workspace.finish_example(parsed)
        return predicted

    def save(self) -> bytes:
        """The model file's bytes; a model made from them goes on exactly where this one stands."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.vw"
            self._workspace.save(str(path))
            return path.read_bytes()


def weights(saved: bytes, header: int) -> NDArray[np.float32]:
    """All 2**BITS weights of a model file's bytes, float32; `header` is the length of the untrained model's file."""
    records = np.frombuffer(saved, _RECORD, offset=header)
    table = np.zeros(1 << BITS, np.float32)
    table[records["index"]] = records["weight"]
    return table
