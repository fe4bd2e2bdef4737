"""The service's own log: its decisions with what became of each, read in pages and written as Parquet.

One row a decision. `candidates` are the arms among which it drew, `probabilities` theirs, computed again from the
logged scores; `context` and `history` are the JSON that it saw; times are UTC. `reward`, `learn` and `left_out` are
null until it is closed, `touch` and `sent_at` where nothing was to be sent. The file's metadata name all arms, channels
and attributes, so that its parts can be read apart from each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from optimizer.attributes import AttributeType
from optimizer.exploration import Exploration
from optimizer.propensities import logged_scores
from optimizer.store import decisions, rewards, touches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from optimizer.catalog import Catalog
    from optimizer.engine import Engine
    from optimizer.store.rows import DecisionRow, RewardRow, TouchRow

PAGE = 10_000
FACTS: Final = b"campaign-optimizer.log"
"""The key under which the file's metadata hold its arms, channels and attributes, as JSON."""

_NAME: Final = pa.dictionary(pa.int32(), pa.string())
_TIME: Final = pa.timestamp("us", tz="UTC")
_COLUMNS: Final = {
    "decision_id": (pa.string(), "The decision's id; later ones are greater."),
    "campaign_id": (_NAME, "The campaign."),
    "config_hash": (_NAME, "The version of the campaign that decided."),
    "subject_id": (pa.string(), "Whom it is about: a pseudonym, the same in all decisions about the customer."),
    "request_id": (pa.string(), "The caller's id of the request; null in runs."),
    "occasion": (_NAME, "What makes a second decision about the customer a repeat, such as the run."),
    "decided_at": (_TIME, "When it was decided."),
    "group": (_NAME, "treatment, random_control, bau or holdout."),
    "arm": (_NAME, "The arm that was drawn: message/channel/slot, or no_send; null where nothing was drawn."),
    "propensity": (pa.float64(), "With what probability it was drawn, given the group and the candidates."),
    "reason": (_NAME, "Why nothing is sent; null where something is."),
    "send_at": (_TIME, "When it was to be sent."),
    "snapshot_id": (_NAME, "The model; null where there was none yet."),
    "exploration": (_NAME, "The policy with its parameters, as JSON."),
    "context": (pa.string(), "What was known of the customer, as JSON: attributes, timezone, timezone_source."),
    "history": (pa.string(), "What was known of earlier touches, as JSON."),
    "timezone": (_NAME, "The customer's IANA time zone as decided with; null where unknown."),
    "candidates": (pa.list_(pa.string()), "The arms that nothing had removed, among which was drawn."),
    "probabilities": (pa.list_(pa.float64()), "The probability of each candidate; null where nothing was drawn."),
    "touch": (_NAME, "The last state of what was to be sent."),
    "sent_at": (_TIME, "When it was sent."),
    "closes_at": (_TIME, "When the last window for events ends."),
    "matures_at": (_TIME, "When its reward is known: the close, and the time that is allowed for late events."),
    "reward": (pa.float64(), "What it earned, in the campaign's unit; null until it is closed."),
    "learn": (pa.bool_(), "Whether it is learned from; null until it is closed."),
    "left_out": (_NAME, "Why a decision that drew at random is not learned from; null where it is, or not closed."),
}
MEANINGS: Final = {name: meaning for name, (_, meaning) in _COLUMNS.items()}
SCHEMA: Final = pa.schema([pa.field(name, kind) for name, (kind, _) in _COLUMNS.items()])

_OWN: Final = {
    "decided_at": "decided_us",
    "group": "group_name",
    "send_at": "send_us",
    "closes_at": "close_us",
} | {
    name: name
    for name in (
        "decision_id",
        "campaign_id",
        "config_hash",
        "subject_id",
        "request_id",
        "occasion",
        "arm",
        "propensity",
        "reason",
        "snapshot_id",
        "exploration",
        "context",
        "history",
    )
}
"""The columns that are the decision's own, and the field that each is."""


@dataclass(frozen=True)
class LogPage:
    """Some decisions of one version, in the order of their making, with what is known of them by decision id."""

    catalog: Catalog
    rows: Sequence[DecisionRow]
    rewards: Mapping[str, RewardRow]
    touches: Mapping[str, TouchRow]

    @cached_property
    def contexts(self) -> Sequence[Mapping[str, Any]]:
        """What was known of each customer."""
        return [orjson.loads(row.context) for row in self.rows]

    @cached_property
    def closed(self) -> Sequence[RewardRow | None]:
        """The reward of each decision that is closed."""
        return [self.rewards.get(row.decision_id) for row in self.rows]

    @cached_property
    def left_out(self) -> Sequence[str | None]:
        """Why each decision that might be learned from is not; None too where it is not closed."""
        return [
            orjson.loads(reward.parts)["left_out"] if reward and not reward.learn else None for reward in self.closed
        ]

    @cached_property
    def distributions(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """The candidates (n, K), and the distribution (n, K) that was drawn from: zeros where nothing was drawn."""
        allowed = np.zeros((len(self.rows), len(self.catalog)), np.bool_)
        p = np.zeros(allowed.shape)
        alike: dict[tuple[str, bool], list[int]] = {}
        for i, row in enumerate(self.rows):
            alike.setdefault((row.exploration, row.snapshot_id is None), []).append(i)
        for (text, _), places in alike.items():
            mine = [self.rows[i] for i in places]
            scores, allowed[places] = logged_scores(self.catalog, mine)
            exploration = Exploration(**orjson.loads(text))
            if exploration.kind != "fixed":
                p[places] = exploration.probabilities(scores, allowed[places])
        arms = np.array([-1 if row.arm is None else self.catalog.index[row.arm] for row in self.rows], np.intp)
        p[arms < 0] = 0.0
        # A policy that draws nothing does what it did: its arm, or no_send where that was not allowed.
        certain = np.flatnonzero((arms >= 0) & ~p.any(axis=1))
        p[certain, arms[certain]] = 1.0
        return allowed, p

    def table(self) -> pa.Table:
        """The page as an Arrow table of `SCHEMA`."""
        columns: dict[str, Any] = {name: [getattr(row, field) for row in self.rows] for name, field in _OWN.items()}
        touched = [self.touches.get(row.decision_id) for row in self.rows]
        columns["timezone"] = [context["timezone"] for context in self.contexts]
        columns["touch"] = [touch and touch.state for touch in touched]
        columns["sent_at"] = [touch and touch.sent_us for touch in touched]
        columns["matures_at"] = [(reward or row).mature_us for reward, row in zip(self.closed, self.rows, strict=True)]
        columns["reward"] = [reward and reward.reward for reward in self.closed]
        columns["learn"] = [reward and reward.learn for reward in self.closed]
        columns["left_out"] = self.left_out
        columns["candidates"], columns["probabilities"] = self._lists()
        return pa.table(columns, schema=SCHEMA)

    def _lists(self) -> tuple[pa.Array, pa.Array]:
        allowed, p = self.distributions
        ids = pa.array([arm.id for arm in self.catalog.arms])
        arms = pa.ListArray.from_arrays(_offsets(allowed), ids.take(pa.array(np.nonzero(allowed)[1])))
        drawn = np.asarray(p.any(axis=1))
        shown: NDArray[np.bool_] = allowed & drawn[:, None]
        return arms, pa.ListArray.from_arrays(_offsets(shown), pa.array(p[shown]), mask=pa.array(~drawn))


def _offsets(mask: NDArray[np.bool_]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int32))


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
        self._arms: dict[str, dict[str, str | None]] = {}
        self._channels: dict[str, None] = {}
        self._types: dict[str, AttributeType] = {}

    def write(self, page: LogPage) -> None:
        """Append one page."""
        self._writer.write_table(page.table())
        for arm in page.catalog.arms:
            self._arms[arm.id] = {"id": arm.id, "message": arm.message, "channel": arm.channel, "slot": arm.slot}
        self._channels |= dict.fromkeys(channel.id for channel in page.catalog.channels)
        for context in page.contexts:
            for name, value in context["attributes"].items():
                if value is not None:
                    # An attribute that has been declared anew with another type is of that type from then on.
                    self._types[name] = TYPE_OF[type(value)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        facts = {
            "version": 1,
            "arms": list(self._arms.values()),
            "channels": list(self._channels),
            "attributes": dict(sorted(self._types.items())),
        }
        self._writer.add_key_value_metadata({FACTS: orjson.dumps(facts)})
        self._writer.close()


TYPE_OF: Final[Mapping[type, AttributeType]] = {
    bool: AttributeType.BOOLEAN,
    int: AttributeType.NUMBER,
    float: AttributeType.NUMBER,
    str: AttributeType.CATEGORY,
    list: AttributeType.MULTI_CATEGORY,
}
"""What an attribute is by its value in JSON."""
