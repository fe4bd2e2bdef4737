"""The Open Bandit Dataset (Saito, Aihara, Matsutani and Narita, NeurIPS Datasets and Benchmarks 2021), in.

A row is one item recommended at one of three positions of a page; the arms are the items. As the Open Bandit Pipeline
does, rows are put in the order of their timestamps, equal ones in the order of the file, and positions count from 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from optimizer.errors import InvalidInput
from optimizer.evaluation.log import CHUNK, Log
from simulator.logs.cells import TextCells
from simulator.logs.csv_records import header_of, records
from simulator.logs.mapping import ArmColumn, ContextColumn, LogFormat, RewardColumn
from simulator.logs.plain_rows import ArmIds, in_order, taken
from simulator.logs.reading import Intake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optimizer.attributes import Columns

HEADER: Final = ("timestamp", "item_id", "position", "click", "propensity_score")
"""The columns by which it is known."""

AFFINITY: Final = "user-item_affinity_"
"""What the column of a customer's affinity to each item begins with, and so its name in `Log.context`."""

_FACT: Final = re.compile(rf"user_feature_\d+|{AFFINITY}\d+")


@dataclass(frozen=True, slots=True)
class OpenBanditLog:
    """A file such as `all.csv`, perhaps in `.gz`. All of it is held in memory, since its rows have to be sorted."""

    path: Path

    def chunks(self, intake: Intake) -> Iterator[Log]:
        """See `LogReader`."""
        layout, arms = self._layout()
        met = ArmIds(list(arms or ()), growing=arms is None)
        read = [
            taken(TextCells(found), layout, met, intake).log
            for found in records(self.path, layout.columns, intake, CHUNK)
        ]
        if not any(len(chunk) for chunk in read):
            return
        log = _sorted(Log.join(read))
        for first in range(0, len(log), CHUNK):
            yield log.take(slice(first, first + CHUNK))

    def _layout(self) -> tuple[LogFormat, list[str] | None]:
        """How the columns are read, and the items, of which each has a column of affinities; None without these."""
        names = header_of(self.path)
        facts = [name for name in names if _FACT.fullmatch(name)]
        items = sorted(int(name.removeprefix(AFFINITY)) for name in facts if name.startswith(AFFINITY))
        layout = LogFormat(
            version=1,
            time="timestamp",
            position="position",
            context={
                name: ContextColumn(column=name, type="number" if name.startswith(AFFINITY) else "category")
                for name in facts
            },
            arm=ArmColumn(column="item_id"),
            propensity="propensity_score",
            reward=RewardColumn(column="click"),
        )
        return layout, [str(item) for item in items] or None


def _sorted(log: Log) -> Log:
    """Rows by time, items by number, positions from 0."""
    arms = in_order(log.arms)
    number = np.array([arms.index(arm) for arm in log.arms], np.intp)
    _, position = np.unique(np.asarray(log.position), return_inverse=True)
    numbered = replace(log, arms=tuple(arms), chosen=number[log.chosen], position=position, allowed=None)
    return numbered.take(np.argsort(np.asarray(log.time_us), kind="stable"))


def read_items(path: Path, arms: tuple[str, ...]) -> Columns:
    """The items' features, a column (K,) each in the order of the arms: numbers as float64, the others as texts.

    Raises `InvalidInput` where an item is missing, or there twice, or a row is malformed.
    """
    names = [name for name in header_of(path) if name.startswith("item_feature_")]
    found = list(records(path, ["item_id", *names], Intake(strict=True), 1_000_000))
    if len(found) != 1:
        raise InvalidInput(f"{path}: no items")
    cells = TextCells(found[0])
    ids = cells.levels("item_id").each().tolist()
    if len(set(ids)) != len(ids) or not set(arms) <= set(ids):
        raise InvalidInput(f"{path}: expected a row for each of the {len(arms)} items, got {len(set(ids))} of them")
    order = [ids.index(arm) for arm in arms]
    columns = {}
    for name in names:
        numbers = cells.numbers(name)
        column = cells.levels(name).each() if numbers.wrong.any() else numbers.values
        columns[name] = column[order]
    return columns
