"""A whole audience scored from Parquet: what a campaign's newest model would do with each customer, offline.

It is a forecast of first decisions: nobody counts as contacted before, and what depends on today's tables (consent,
caps, hours, budget) is not asked. Audience, eligibility, dates and slots are. Nothing is drawn, stored or sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from optimizer import history
from optimizer.attributes import AttributeType
from optimizer.choices import Batch
from optimizer.clock import to_us
from optimizer.errors import InvalidInput
from optimizer.groups import GROUPS, Group
from optimizer.reasons import ALLOWED, Reason
from optimizer.row_files import RowProblem
from optimizer.scalars import ZONES
from optimizer.snapshot import Snapshot
from optimizer.versions import Version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from optimizer.campaign import CampaignFile
    from optimizer.catalog import Schedule
    from optimizer.scorer import Scorer
    from simulator.logs.parts import Stretch

SCHEMA: Final = pa.schema(
    [
        pa.field("customer_id", pa.string()),
        pa.field("arm", pa.string()),  # the likeliest one; null where none is allowed
        pa.field("probability", pa.float64()),  # with which the policy would draw it
        pa.field("score", pa.float32()),  # its reward as the model expects it, in the campaign's unit; null without one
        pa.field("no_send_score", pa.float32()),  # the same of not sending
        pa.field("send_probability", pa.float64()),  # with which anything would be sent
        pa.field("reason", pa.string()),  # why nothing can be sent; null where something can
    ]
)


@dataclass(frozen=True, slots=True)
class Scored:
    """Some customers of an audience: a table of `SCHEMA`, and what is wrong with those who are not in it."""

    table: pa.Table
    problems: tuple[RowProblem, ...]


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores stretches of an audience's file: what `Workers` apply to each.

    Attributes:
        campaign: the version that would decide.
        types: the declared attributes; the file's columns are `customer_id`, perhaps `timezone`, and some of these.
        snapshot: the model as `Snapshot.dumps` wrote it; None: the policy draws uniformly.
        at: when it would decide.
    """

    campaign: CampaignFile
    types: Mapping[str, AttributeType]
    snapshot: bytes | None
    at: datetime

    def __call__(self, part: Stretch) -> Scored:
        """Raises `InvalidInput` where a column is missing or has no values of its type."""
        version, scorer = _compiled(self.campaign, self.snapshot)
        tables, problems = [], []
        for first, table in part.tables(None):
            good, wrong = self._checked(table, part.url, first)
            problems += wrong
            tables.append(self._scored(version, scorer, good))
        return Scored(pa.concat_tables(tables) if tables else SCHEMA.empty_table(), tuple(problems))

    def _checked(self, table: pa.Table, file: str, first: int) -> tuple[pa.Table, list[RowProblem]]:
        """The rows that name a customer and hold finite numbers, the columns as their types say, and what is wrong."""
        if "customer_id" not in table.column_names:
            raise InvalidInput(f"{file}: there is no column 'customer_id', but {', '.join(table.column_names)}")
        wanted = {"customer_id": pa.string(), "timezone": pa.string()}
        wanted |= {name: _ARROW[kind] for name, kind in self.types.items()}
        columns = {}
        for name in table.column_names:
            if name in wanted:
                try:
                    columns[name] = table[name].cast(wanted[name])
                except pa.ArrowInvalid as error:
                    raise InvalidInput(f"{file}: column {name!r} cannot be read as {wanted[name]}: {error}") from error
        kept, problems = pa.table(columns), []
        wrong = np.zeros(len(table), np.bool_)
        for name, flaw in (
            ("customer_id", "empty"),
            *((n, "not finite") for n, k in self.types.items() if k == "number"),
        ):
            if name in kept.column_names:
                rows = _flawed(kept[name])
                problems += [RowProblem(file, first + row, name, flaw) for row in np.flatnonzero(rows).tolist()]
                wrong |= rows
        return kept.filter(pa.array(~wrong)), problems

    def _scored(self, version: Version, scorer: Scorer | None, table: pa.Table) -> pa.Table:
        decider, n = version.decider, len(table)
        schedules, schedule_of = self._schedules(version, table)
        batch = Batch(
            words=np.zeros((n, 2), np.uint64),
            groups=np.full(n, GROUPS.index(Group.TREATMENT), np.uint8),
            context={name: _column(table, name, kind, n) for name, kind in version.types.items()},
            history=history.history_rows([history.loads(None)] * n, to_us(self.at), version.channel_ids),
            touches=np.zeros(n, np.intp),
            schedules=schedules,
            schedule_of=schedule_of,
        )
        removed = decider.removed(batch)
        allowed = removed == ALLOWED
        scores = decider.scores(batch, scorer) if scorer else None
        p = decider.exploration(Group.TREATMENT, scorer.snapshot if scorer else None).probabilities(scores, allowed)
        rows, arm, no_send = np.arange(n), p.argmax(axis=1), version.catalog.no_send
        nothing, arms = ~allowed.any(axis=1), np.array([each.id for each in version.catalog.arms], object)
        sends = np.array([each.message is not None for each in version.catalog.arms])
        scale, blocked = self.campaign.reward.scale, ~(allowed & sends).any(axis=1)
        return pa.table(
            [
                table["customer_id"],
                pa.array(arms[arm], pa.string(), mask=nothing),
                pa.array(p[rows, arm], mask=nothing),
                _scores(None if scores is None else scores[rows, arm] * scale, nothing, n),
                _scores(None if scores is None or no_send < 0 else scores[:, no_send] * scale, nothing, n),
                pa.array((p * sends).sum(axis=1)),
                pa.array([_reason(codes[sends]) if b else None for codes, b in zip(removed, blocked, strict=True)]),
            ],
            schema=SCHEMA,
        )

    def _schedules(self, version: Version, table: pa.Table) -> tuple[Sequence[Schedule], NDArray[np.intp]]:
        """The distinct schedules of the customers' zones, and which of them each customer has."""
        policy, n = self.campaign.campaign.timezone, len(table)
        zones = table[policy.attr].to_pylist() if policy.attr in table.column_names else [None] * n
        known = [zone if zone in ZONES else policy.fallback for zone in zones]
        distinct = {zone: i for i, zone in enumerate(dict.fromkeys(known))} or {policy.fallback: 0}
        now = self.at.astimezone(UTC)
        schedules = [version.catalog.schedule(ZoneInfo(zone) if zone else None, now) for zone in distinct]
        return schedules, np.array([distinct[zone] for zone in known], np.intp)


_ARROW: Final = {
    AttributeType.NUMBER: pa.float64(),
    AttributeType.BOOLEAN: pa.bool_(),
    AttributeType.CATEGORY: pa.string(),
    AttributeType.MULTI_CATEGORY: pa.list_(pa.string()),
}

_READY: dict[tuple[str, bytes | None], tuple[Version, Any]] = {}
"""The model that this process scored with last, compiled."""


def _compiled(campaign: CampaignFile, snapshot: bytes | None) -> tuple[Version, Scorer | None]:
    key = (campaign.config_hash, snapshot)
    if key not in _READY:
        version = Version.of(campaign, "")
        _READY.clear()
        _READY[key] = version, version.decider.scorer(Snapshot.loads(snapshot)) if snapshot else None
    return _READY[key]


def _flawed(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Where an id is missing or empty, or a number is infinite."""
    if column.type == pa.string():
        return np.array([not text for text in column.to_pylist()], np.bool_)
    return np.asarray(np.isinf(column.to_numpy(zero_copy_only=False)), np.bool_)


def _column(table: pa.Table, name: str, kind: AttributeType, n: int) -> NDArray[Any]:
    """An attribute as `optimizer.attributes.Columns` has it; all missing where the file has no such column."""
    if name not in table.column_names:
        return np.full(n, np.nan) if kind.is_numeric else np.full(n, None)
    if kind.is_numeric:
        return np.asarray(table[name].cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    values = table[name].to_pylist()
    if kind is AttributeType.MULTI_CATEGORY:
        values = [None if value is None else tuple(value) for value in values]
    return np.fromiter(values, object, n)


def _scores(values: NDArray[Any] | None, nothing: NDArray[np.bool_], n: int) -> pa.Array:
    if values is None:
        return pa.nulls(n, pa.float32())
    return pa.array(values.astype(np.float32), mask=nothing)


def _reason(codes: NDArray[np.uint8]) -> str:
    """The reason that removed most arms, as a decision has it."""
    return Reason.from_code(int(np.bincount(codes).argmax())).value
