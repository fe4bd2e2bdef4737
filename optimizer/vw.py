"""What we need to know of Vowpal Wabbit: how it hashes features, and what its model files hold.

Facts (Vowpal Wabbit 9.11.9, checked by `tests/optimizer/test_vw.py` against the program itself): a feature's index is
`murmur3(feature, seed=murmur3(namespace, 0)) & mask`, that of a cross of two is `((16777619 * i) ^ j) & mask`, in the
order in which the interaction is written; a model file is a header whose length depends only on the options, then for
each non-zero weight a record of the index and, when the options are ours, three floats (weight, adaptive,
normalisation).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import vowpalwabbit

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 18
"""Weights are a table of 2**18, Vowpal Wabbit's own default."""

MASK = (1 << BITS) - 1
_CROSS = np.uint64(16777619)
_RECORD = np.dtype([("index", "<u4"), ("weight", "<f4"), ("adaptive", "<f4"), ("normalised", "<f4")])
_32 = 0xFFFFFFFF


def murmur3(data: bytes, seed: int) -> int:
    """MurmurHash3 x86 32 bit (A. Appleby), the hash of Vowpal Wabbit's `--hash strings`."""
    h = seed
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * 0xCC9E2D51 & _32
        k = (k << 15 | k >> 17) * 0x1B873593 & _32
        h ^= k
        h = (h << 13 | h >> 19) & _32
        h = h * 5 + 0xE6546B64 & _32
    if whole < len(data):
        k = int.from_bytes(data[whole:], "little") * 0xCC9E2D51 & _32
        k = (k << 15 | k >> 17) * 0x1B873593 & _32
        h ^= k
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & _32
    h = (h ^ h >> 13) * 0xC2B2AE35 & _32
    return h ^ h >> 16


def feature_hash(namespace: str, feature: str) -> int:
    """The index of a feature before masking. `feature` is not all digits (Vowpal Wabbit reads those as numbers)."""
    return murmur3(feature.encode(), murmur3(namespace.encode(), 0))


def cross(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Masked indexes of the crosses of every feature in `first` (F,) with every one in `second` (J,): (F, J)."""
    return (((first * _CROSS)[:, None] ^ second[None, :]) & np.uint64(MASK)).astype(np.intp)


def escape(text: str) -> str:
    """A value as it may stand in a feature's name: no space, bar, colon or control character; `?` is for "missing"."""
    if text.isalnum():
        return text
    return "".join(c if c not in _UNSAFE and c > " " else f"%{ord(c):02X}" for c in text)


_UNSAFE = frozenset("%|:?^\x7f\x85\xa0")


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
        """Learn one labelled example; returns what it predicted before, clipped to the range of the labels seen."""
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
