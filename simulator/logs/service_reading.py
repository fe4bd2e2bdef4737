"""The service's own log as Parquet, read back: the decisions that drew at random and whose reward is known.

What a policy may be judged on is what the campaign learns from. Everything else is counted by its kind: the groups that
draw nothing, what is not closed yet, what drew nothing, and what is left out of learning, by reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from optimizer.attributes import HISTORY_FEATURES, PER_CHANNEL_FEATURES, AttributeType, Columns, to_columns
from optimizer.errors import InvalidInput
from optimizer.evaluation.log import Log, customer_keys
from optimizer.facts import TOUCHES
from optimizer.groups import Group
from optimizer.row_files import RowProblem
from simulator.logs.parts import Stretch, parquet_file, stretches
from simulator.logs.reading import Intake
from simulator.logs.service import FACTS, PAGE, TYPE_OF

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

_RANDOM: Final = (Group.TREATMENT.value, Group.RANDOM_CONTROL.value)
_READ: Final = (
    "decision_id",
    "subject_id",
    "decided_at",
    "group",
    "arm",
    "propensity",
    "reason",
    "context",
    "history",
    "timezone",
    "candidates",
    "probabilities",
    "matures_at",
    "reward",
    "learn",
    "left_out",
)
_ONE_VALUE: Final = {
    **{name: kind for name, kind in HISTORY_FEATURES.items() if name not in PER_CHANNEL_FEATURES},
    TOUCHES: AttributeType.NUMBER,
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What files say of themselves.

    Attributes:
        arms: the arms' ids in the order of the catalog, those of later versions after those of earlier ones.
        slots: whether any of them has one.
        channels: in the order of the catalog.
        types: the customers' attributes.
    """

    arms: tuple[str, ...]
    slots: bool
    channels: tuple[str, ...]
    types: Mapping[str, AttributeType]

    @classmethod
    def of(cls, urls: Sequence[str]) -> Facts:
        """What all these files say together. Raises `InvalidInput` for one that is not such a log."""
        arms: dict[str, str | None] = {}
        channels: dict[str, None] = {}
        types: dict[str, AttributeType] = {}
        for url in urls:
            with parquet_file(url) as file:
                if not is_export(file):
                    raise InvalidInput(f"{url}: not a log that `optimizer export` wrote, as others in its folder are")
                told = orjson.loads(file.metadata.metadata[FACTS])
            arms |= {arm["id"]: arm["slot"] for arm in told["arms"]}
            channels |= dict.fromkeys(told["channels"])
            types |= {name: AttributeType(kind) for name, kind in told["attributes"].items()}
        return cls(tuple(arms), any(slot is not None for slot in arms.values()), tuple(channels), types)


def is_export(file: Any) -> bool:  # noqa: ANN401 - pyarrow has no types
    """Whether an open Parquet file is a log of the service."""
    return FACTS in (file.metadata.metadata or {}) and set(_READ) <= set(file.schema_arrow.names)


@dataclass(frozen=True, slots=True)
class ServicePart:
    """Some row groups of such a log."""

    stretch: Stretch
    facts: Facts

    def chunks(self, intake: Intake) -> Iterator[Log]:
        """See `LogReader`."""
        for log in self._all(intake):
            if len(log):
                yield log

    def read(self, intake: Intake | None = None) -> Log:
        """See `LogPart`."""
        return Log.join(list(self._all(intake or Intake(strict=True))))

    def _all(self, intake: Intake) -> Iterator[Log]:
        for row, table in self.stretch.tables(_READ, PAGE):
            yield _log(self.stretch.url, row, table, self.facts, intake)


class ServiceLog:
    """Parquet files of the service, one after the other. Raises `InvalidInput` for what is none."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.facts = Facts.of(urls)
        self._stretches = stretches(urls)

    def parts(self) -> Sequence[ServicePart]:
        """See `PartedLog`."""
        return [ServicePart(stretch, self.facts) for stretch in self._stretches]

    def chunks(self, intake: Intake) -> Iterator[Log]:
        """See `LogReader`."""
        for part in self.parts():
            yield from part.chunks(intake)


def _log(url: str, first: int, table: pa.Table, facts: Facts, intake: Intake) -> Log:
    """The decisions among some rows that a policy may be judged on."""
    columns = {name: _plain(table.column(name)) for name in _READ}
    rows = np.flatnonzero(_judged(columns, intake))
    columns = _take(columns, rows)
    right = _right(columns, facts)
    contexts, histories = _parsed(columns["context"], right), _parsed(columns["history"], right)
    for row in rows[~right].tolist():
        (values,) = table.slice(row, 1).to_pylist()
        problem = RowProblem(url, first + row, "decision", "not as it was exported: export the log again")
        intake.reject(problem, orjson.dumps(values, default=str))
    columns = _take(columns, np.flatnonzero(right))
    intake.taken += int(right.sum())
    allowed, distribution = _lists(columns["candidates"], columns["probabilities"], facts.arms)
    return Log(
        arms=facts.arms,
        chosen=_places(columns["arm"], facts.arms),
        propensity=columns["propensity"].to_numpy(),
        reward=columns["reward"].to_numpy(),
        allowed=allowed,
        distribution=distribution,
        customer=customer_keys(columns["subject_id"].to_pylist()),
        time_us=columns["decided_at"].cast(pa.int64()).to_numpy(),
        close_us=columns["matures_at"].cast(pa.int64()).to_numpy(),
        decision_ids=_objects(columns["decision_id"]),
        zone=_objects(columns["timezone"]) if facts.slots else None,
        context=_columns([each["attributes"] for each in compress(contexts, right)], facts.types),
        history=_history(list(compress(histories, right)), facts.channels),
    )


def _judged(columns: Mapping[str, pa.Array], intake: Intake) -> NDArray[np.bool_]:
    """Which rows are; the others are counted."""
    group, reason, left_out = (columns[name].to_numpy(zero_copy_only=False) for name in ("group", "reason", "left_out"))
    drew, closed = (columns[name].is_valid().to_numpy(zero_copy_only=False) for name in ("arm", "reward"))
    learn = pc.fill_null(columns["learn"], fill_value=False).to_numpy(zero_copy_only=False)
    random = np.isin(group, _RANDOM)
    count = intake.passed
    count.update(group[~random].tolist())
    count.update(f"nothing drawn: {why}" for why in reason[random & ~drew].tolist())
    count["not closed yet"] += int((random & drew & ~closed).sum())
    count.update(f"left out: {why}" for why in left_out[random & drew & closed & ~learn].tolist())
    if not count["not closed yet"]:
        del count["not closed yet"]
    return np.asarray(random & drew & closed & learn, np.bool_)


def _right(columns: Mapping[str, pa.Array], facts: Facts) -> NDArray[np.bool_]:
    """Which rows hold what an export writes."""
    chosen, propensity, reward = (columns[name] for name in ("arm", "propensity", "reward"))
    lengths = [columns[name].value_lengths().fill_null(-1).to_numpy() for name in ("candidates", "probabilities")]
    likely = np.nan_to_num(propensity.to_numpy(zero_copy_only=False))
    finite = np.isfinite(reward.to_numpy(zero_copy_only=False))
    known = _places(chosen, facts.arms) >= 0
    times = np.all([columns[name].is_valid() for name in ("decided_at", "matures_at", "subject_id")], axis=0)
    return np.asarray(
        known & (likely > 0.0) & (likely <= 1.0) & finite & times & (lengths[0] == lengths[1]) & (lengths[0] > 0)
    )


def _lists(
    candidates: pa.Array, probabilities: pa.Array, arms: Sequence[str]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which arms were candidates (n, K), and the probability of each (n, K)."""
    n = len(candidates)
    place = _places(candidates.flatten(), arms)
    if (place < 0).any():
        raise InvalidInput("the metadata of the log do not name all of its arms: export it again")
    row = np.repeat(np.arange(n), candidates.value_lengths().to_numpy())
    allowed, distribution = np.zeros((n, len(arms)), np.bool_), np.zeros((n, len(arms)))
    allowed[row, place] = True
    distribution[row, place] = probabilities.flatten().to_numpy()
    return allowed, distribution


def _places(ids: pa.Array, arms: Sequence[str]) -> NDArray[np.intp]:
    """The number of each arm, -1 where it is none of them."""
    encoded = ids.dictionary_encode()
    place = {arm: i for i, arm in enumerate(arms)}
    of = np.array([*(place.get(each, -1) for each in encoded.dictionary.to_pylist()), -1], np.intp)
    return np.asarray(of[encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)])


def _take(columns: Mapping[str, pa.Array], rows: NDArray[np.intp]) -> dict[str, pa.Array]:
    if len(rows) == len(next(iter(columns.values()))):
        return dict(columns)
    return {name: column.take(pa.array(rows)) for name, column in columns.items()}


def _parsed(texts: pa.Array, right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """JSON objects; where one is none, the row is not right."""
    found: list[dict[str, Any]] = []
    for i, text in enumerate(texts.fill_null("").to_pylist()):
        try:
            found.append(orjson.loads(text))
        except orjson.JSONDecodeError:
            right[i] = False
            found.append({})
    return found


def _columns(rows: Sequence[Mapping[str, Any]], types: Mapping[str, AttributeType]) -> Columns:
    """Facts by name; a value that is not of the type that the attribute has had since is missing."""
    for name, kind in types.items():
        right = {each for each, its in TYPE_OF.items() if its is kind} | {type(None)}
        if not {type(row.get(name)) for row in rows} <= right:
            rows = [{**row, name: None} if type(row.get(name)) not in right else row for row in rows]
    return to_columns(rows, types)


def _history(rows: Sequence[Mapping[str, Any]], channels: Sequence[str]) -> Columns:
    columns = dict(to_columns(rows, _ONE_VALUE))
    for name in PER_CHANNEL_FEATURES:
        by_channel = [row.get(name, {}) for row in rows]
        for channel in channels:
            columns[f"{name}.{channel}"] = np.array([each.get(channel) for each in by_channel], np.float64)
    return columns


def _plain(column: Any) -> pa.Array:  # noqa: ANN401 - pyarrow has no types
    """One array, texts as texts."""
    whole = column.combine_chunks()
    return whole.cast(pa.string()) if pa.types.is_dictionary(whole.type) else whole


def _objects(column: pa.Array) -> NDArray[np.object_]:
    return np.array([*column.to_pylist(), None], object)[:-1]
