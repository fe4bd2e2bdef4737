"""The decision log with what became of each decision, read in pages and written as Parquet.

One row a decision. `candidates` are the arms among which it drew; `context` and `history` are the JSON that it saw;
times are UTC. `reward` is null until it is closed, `touch` and `sent_at` where nothing was to be sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from optimizer.store import decisions, rewards, touches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Connection

    from optimizer.catalog import Catalog
    from optimizer.engine import Engine
    from optimizer.store.rows import DecisionRow, RewardRow, TouchRow

PAGE = 10_000

_NAME = pa.dictionary(pa.int32(), pa.string())
_TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("decision_id", pa.string()),
        ("campaign_id", _NAME),
        ("config_hash", _NAME),
        ("subject_id", pa.string()),
        ("request_id", pa.string()),
        ("occasion", _NAME),
        ("decided_at", _TIME),
        ("group", _NAME),
        ("arm", _NAME),
        ("propensity", pa.float64()),
        ("reason", _NAME),
        ("send_at", _TIME),
        ("snapshot_id", _NAME),
        ("exploration", _NAME),
        ("context", pa.string()),
        ("history", pa.string()),
        ("candidates", pa.list_(pa.string())),
        ("touch", _NAME),
        ("sent_at", _TIME),
        ("matures_at", _TIME),
        ("reward", pa.float64()),
        ("learn", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some decisions of one version, in the order of their making, with what is known of them by decision id."""

    catalog: Catalog
    rows: Sequence[DecisionRow]
    rewards: Mapping[str, RewardRow]
    touches: Mapping[str, TouchRow]

    def table(self) -> pa.Table:
        """The page as an Arrow table of `SCHEMA`."""
        own = [[getattr(row, name) for row in self.rows] for name in _OWN.values()]
        columns = dict(zip(_OWN, own, strict=True))
        touched = [self.touches.get(row.decision_id) for row in self.rows]
        closed = [self.rewards.get(row.decision_id) for row in self.rows]
        columns["touch"] = [touch and touch.state for touch in touched]
        columns["sent_at"] = [touch and touch.sent_us for touch in touched]
        columns["reward"] = [reward and reward.reward for reward in closed]
        columns["learn"] = [reward and bool(reward.learn) for reward in closed]
        columns["candidates"] = self._candidates()
        return pa.table(columns, schema=SCHEMA)

    def _candidates(self) -> pa.Array:
        masks = np.frombuffer(b"".join(row.candidates for row in self.rows), np.uint8).reshape(len(self.rows), -1)
        allowed = np.unpackbits(masks, axis=1, count=len(self.catalog)).astype(np.bool_)
        offsets = np.concatenate([[0], np.cumsum(allowed.sum(axis=1))]).astype(np.int32)
        arms = pa.array([arm.id for arm in self.catalog.arms])
        return pa.ListArray.from_arrays(offsets, arms.take(pa.array(np.nonzero(allowed)[1])))


_OWN = {
    "decision_id": "decision_id",
    "campaign_id": "campaign_id",
    "config_hash": "config_hash",
    "subject_id": "subject_id",
    "request_id": "request_id",
    "occasion": "occasion",
    "decided_at": "decided_us",
    "group": "group_name",
    "arm": "arm",
    "propensity": "propensity",
    "reason": "reason",
    "send_at": "send_us",
    "snapshot_id": "snapshot_id",
    "exploration": "exploration",
    "context": "context",
    "history": "history",
    "matures_at": "mature_us",
}
"""The columns that are the decision's own, and the field that each is."""


def read_log(engine: Engine, campaign_id: str) -> Iterator[LogPage]:
    """Every decision of a campaign, in the order of their making, in pages of one version each."""
    store, tenant, after = engine.runtime.store, engine.runtime.tenant, ""

    def page(connection: Connection) -> list[LogPage]:
        rows = decisions.decision_page(connection, tenant, campaign_id, after_id=after, limit=PAGE)
        pages = []
        for config_hash, same in groupby(rows, key=lambda row: row.config_hash):
            mine = list(same)
            ids = [row.decision_id for row in mine]
            pages.append(
                LogPage(
                    engine.versions.get(connection, campaign_id, config_hash).catalog,
                    mine,
                    rewards.rewards_by_ids(connection, tenant, ids),
                    touches.touches_by_ids(connection, tenant, ids),
                )
            )
        return pages

    while pages := store.read(page):
        yield from pages
        after = pages[-1].rows[-1].decision_id


class LogWriter:
    """Writes pages into a Parquet file; equal pages make equal bytes."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")

    def write(self, page: LogPage) -> None:
        """Append one page."""
        self._writer.write_table(page.table())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
