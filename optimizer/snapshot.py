"""A published model as plain values: what the scorer compiles and what a decision names as its model version."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from optimizer.standardisation import Standardiser
from optimizer.vw import BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The model of a pool that serves, with everything that was learned beside its weights.

    Attributes:
        loss: `squared` (scores are negated predicted costs) or `logistic` (scores are probabilities).
        pairs: whether the model has the pairs of categorical features.
        weights: (2**18,) float32, Vowpal Wabbit's.
        standardiser: statistics of the numeric features.
        vocabulary: for each context term the values (of a pair: two) seen in learning; none for those that this model
            does not have.
        events: t, the number of decisions learned.
        sigma: standard deviation of the rewards learned, in units of the reward's scale; 0 while all were 0.
    """

    loss: Literal["squared", "logistic"]
    pairs: bool
    weights: NDArray[np.float32]
    standardiser: Standardiser
    vocabulary: tuple[tuple[Any, ...], ...]
    events: int
    sigma: float

    @property
    def gamma(self) -> float:
        """SquareCB's exploration parameter: t^.75 / sigma, 0 (uniform) while no reward but 0 was seen."""
        return self.events**0.75 / self.sigma if self.sigma > 0.0 else 0.0

    def dumps(self) -> bytes:
        """The snapshot as bytes, the same bytes for the same snapshot."""
        index = np.flatnonzero(self.weights).astype("<u4")
        meta = {
            "loss": self.loss,
            "pairs": self.pairs,
            "standardiser": self.standardiser.state(),
            "vocabulary": self.vocabulary,
            "events": self.events,
            "sigma": self.sigma,
        }
        return pack(
            {
                "meta.json": orjson.dumps(meta),
                "index": index.tobytes(),
                "weights": self.weights[index].astype("<f4").tobytes(),
            }
        )

    @classmethod
    def loads(cls, data: bytes) -> Snapshot:
        """The snapshot that `dumps` wrote."""
        files = unpack(data)
        meta = orjson.loads(files["meta.json"])
        weights = np.zeros(1 << BITS, np.float32)
        weights[np.frombuffer(files["index"], "<u4")] = np.frombuffer(files["weights"], "<f4")
        return cls(
            loss=meta["loss"],
            pairs=meta["pairs"],
            weights=weights,
            standardiser=Standardiser.restore(meta["standardiser"]),
            vocabulary=tuple(
                tuple(tuple(v) if isinstance(v, list) else v for v in term) for term in meta["vocabulary"]
            ),
            events=meta["events"],
            sigma=meta["sigma"],
        )


def pack(files: dict[str, bytes]) -> bytes:
    """Named parts as one zip archive, without times, so that equal parts make equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, _ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return out.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """The parts that `pack` was given."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
