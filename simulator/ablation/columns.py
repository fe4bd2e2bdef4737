"""A campaign's features as columns of numbers, each with the player of the game who sees it.

Numbers are standardised over the log (on a log scale where the campaign says so), missing ones are 0 and have a column
that says so; categories have a column for each value that is not rare. Features of the bucket customer are seen by the
customer, those of experience by whoever chooses the message; of execution, what is known of earlier touches is the
earlier touches', and the rest the placement's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from optimizer.features import FeatureSpace
from simulator.worlds.games import CUSTOMER, EARLIER_TOUCHES, EXPERIENCE, PLACEMENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.campaign import CampaignFile, Feature
    from optimizer.catalog import Catalog
    from optimizer.evaluation.log import Log
    from optimizer.features import Level

RARE: Final = 0.005
"""Values of a category that fewer of the rows have get no column of their own."""


@dataclass(frozen=True, slots=True)
class Design:
    """n rows in numbers.

    Attributes:
        values: (n, 1 + J) float32, a column of ones and then the features'.
        seen_by: (1 + J,) the player who sees each; "" for the ones.
        channel: (1 + J,) index of the only channel that a column is about, -1 for all.
    """

    values: NDArray[np.float32]
    seen_by: NDArray[np.str_]
    channel: NDArray[np.intp]


class Columns:
    """Collects the features of a log's chunks, to be made a `Design` when all are there."""

    def __init__(self, campaign: CampaignFile, catalog: Catalog) -> None:
        self._space = FeatureSpace(campaign, catalog)
        self._channels = tuple(channel.id for channel in catalog.channels)
        self._numbers: list[NDArray[np.float32]] = []
        self._codes: list[list[NDArray[np.int32]]] = []
        self._levels: list[dict[Level, int]] = [{} for _ in self._space.categories]

    def add(self, chunk: Log) -> None:
        """The next rows."""
        encoded = self._space.encode(chunk.context, chunk.history_for(self._channels), len(chunk))
        self._numbers.append(encoded.numbers.astype(np.float32))
        codes = [
            np.array([known.setdefault(_hashable(value), len(known)) for value in values], np.int32)
            for known, values in zip(self._levels, encoded.levels, strict=True)
        ]
        self._codes.append(codes)

    def design(self) -> Design:
        """All rows so far, in their order."""
        numbers = np.concatenate(self._numbers)
        found: list[tuple[NDArray[np.float32], str, int]] = [(np.ones(len(numbers), np.float32), "", -1)]
        for j, column in enumerate(each for each in self._space.columns if not each.flag):
            player = _seen_by(self._space.numbers[column.number])
            found += [(values, player, column.channel) for values in _standardised(numbers[:, j])]
        for i, feature in enumerate(self._space.categories):
            codes = np.concatenate([each[i] for each in self._codes])
            found += [(values, _seen_by(feature), -1) for values in _switched(codes, list(self._levels[i]), feature)]
        return Design(
            np.stack([values for values, _, _ in found], axis=1),
            np.array([player for _, player, _ in found]),
            np.array([channel for _, _, channel in found], np.intp),
        )


def _hashable(value: Any) -> Level:  # noqa: ANN401 - a level, perhaps a list of several
    return tuple(value) if isinstance(value, list) else value


def _seen_by(feature: Feature) -> str:
    if feature.bucket == "customer":
        return CUSTOMER
    if feature.bucket == "experience":
        return EXPERIENCE
    return EARLIER_TOUCHES if feature.source == "history" else PLACEMENT


def _standardised(raw: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
    """A number's columns: none where it is always the same."""
    missing = np.isnan(raw)
    known = raw[~missing].astype(np.float64)
    columns = []
    if len(known) and known.std() > 0.0:
        columns.append(np.where(missing, 0.0, (raw - known.mean()) / known.std()).astype(np.float32))
    if RARE < missing.mean() < 1.0 - RARE:
        columns.append((missing - missing.mean()).astype(np.float32))
    return columns


def _switched(codes: NDArray[np.int32], levels: Sequence[Level], feature: Feature) -> list[NDArray[np.float32]]:
    """A column for each value of a category but the most frequent one and the rare ones; centred."""
    named = [_names(level, feature) for level in levels]
    sizes = np.bincount(codes, minlength=len(levels))
    totals: Counter[str] = Counter()
    for names, size in zip(named, sizes.tolist(), strict=True):
        totals.update(dict.fromkeys(names, size))
    common = [name for name, size in totals.most_common() if size > RARE * len(codes)]
    if feature.type != "multi_category":
        common = common[1:]
    tables = (np.array([name in names for names in named], np.float32) for name in common)
    return [table[codes] - table[codes].mean() for table in tables]


def _names(level: Level, feature: Feature) -> frozenset[str]:
    if level is None:
        return frozenset(["?"] if feature.missing == "level" else [])
    return frozenset(f"={each}" for each in (level if isinstance(level, tuple) else (level,)))
