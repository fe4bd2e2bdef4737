"""Logged decisions in memory: the one form that readers of files make and that everything here takes.

A log that does not fit in memory is a sequence of these, each the next chunk of rows. Arms are numbered alike in all of
them: a later chunk may know more arms than an earlier one, and then these come after those.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from optimizer.attributes import PER_CHANNEL_FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from optimizer.attributes import Columns

CHUNK = 50_000
"""Rows that a reader gives at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """n logged decisions among K arms, in the order in which they were made.

    Attributes:
        arms: the K arms' ids.
        chosen: (n,) index of the arm that was drawn.
        propensity: (n,) float64 in (0, 1], the probability with which it was drawn.
        reward: (n,) float64.
        allowed: (n, K) bool, the candidates among which it was drawn; None: all arms in every row.
        distribution: (n, K) float64, the probability of every arm when it was drawn; None where the log does not say.
        customer: (n,) uint64, a number for each customer, the same in all chunks, from `customer_keys`; None: each row
            is somebody else's, and independent of the others.
        time_us: (n,) int64, when it was decided, UTC microseconds; None where the log does not say.
        close_us: (n,) int64, when its reward was known; None: as soon as it was decided.
        decision_ids: (n,) object, str; None where the log does not say.
        zone: (n,) object, the IANA time zone in which the customer's slots were, None where that was unknown; None: no
            arm of the log has a slot.
        position: (n,) index of the slot on the page; None where there is only one.
        context: what was known of the customer, by attribute.
        history: history features, of which `optimizer.history` knows the names; one that has a value for each channel
            is a column for each, `hours_since_last_touch_on_channel.email`, see `history_for`.
    """

    arms: tuple[str, ...]
    chosen: NDArray[np.intp]
    propensity: NDArray[np.float64]
    reward: NDArray[np.float64]
    allowed: NDArray[np.bool_] | None = None
    distribution: NDArray[np.float64] | None = None
    customer: NDArray[np.uint64] | None = None
    time_us: NDArray[np.int64] | None = None
    close_us: NDArray[np.int64] | None = None
    decision_ids: NDArray[np.object_] | None = None
    zone: NDArray[np.object_] | None = None
    position: NDArray[np.intp] | None = None
    context: Columns = field(default_factory=dict)
    history: Columns = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def candidates(self) -> NDArray[np.bool_]:
        """(n, K) bool: `allowed`, or all arms where the log says nothing of them."""
        if self.allowed is None:
            return np.ones((len(self), len(self.arms)), np.bool_)
        return self.allowed

    def take(self, rows: slice | NDArray[np.intp] | NDArray[np.bool_]) -> Log:
        """These rows alone."""
        picked = {f.name: _take(getattr(self, f.name), rows) for f in fields(self) if f.name != "arms"}
        return replace(self, **picked)

    def over(self, arms: tuple[str, ...]) -> Log:
        """The same rows among more arms, these first and then some new ones, which were no candidates."""
        if arms == self.arms:
            return self
        if arms[: len(self.arms)] != self.arms:
            raise ValueError("arms of a log are only ever added, after those that it has")
        more = len(arms) - len(self.arms)
        distribution = self.distribution
        if distribution is not None:
            distribution = np.pad(distribution, ((0, 0), (0, more)))
        return replace(self, arms=arms, allowed=np.pad(self.candidates, ((0, 0), (0, more))), distribution=distribution)

    def history_for(self, channels: Sequence[str]) -> Columns:
        """`history` as a campaign with these channels takes it: features by channel as (n, len(channels)).

        A channel of which the log says nothing is missing throughout: NaN.
        """
        columns = {name: column for name, column in self.history.items() if "." not in name}
        unknown = np.full(len(self), np.nan)
        for name in PER_CHANNEL_FEATURES:
            if any(f"{name}.{channel}" in self.history for channel in channels):
                columns[name] = np.stack([self.history.get(f"{name}.{each}", unknown) for each in channels], axis=1)
        return columns

    @classmethod
    def join(cls, chunks: Sequence[Log]) -> Log:
        """Chunks of one log as one; a column of context or history that a chunk does not have is missing there.

        Raises ValueError without any chunk, or where one says something else that another omits.
        """
        if not chunks:
            raise ValueError("no chunk of a log to join")
        arms = max((chunk.arms for chunk in chunks), key=len)
        if any(chunk.allowed is not None or chunk.arms != arms for chunk in chunks):
            chunks = [replace(each, allowed=each.candidates) for each in (chunk.over(arms) for chunk in chunks)]
        sizes = [len(chunk) for chunk in chunks]
        parts = {f.name: _join([getattr(c, f.name) for c in chunks], sizes) for f in fields(cls) if f.name != "arms"}
        return cls(arms=arms, **parts)


def customer_keys(ids: Sequence[str] | NDArray[np.object_]) -> NDArray[np.uint64]:
    """A number for each customer id, equal for equal ids, in other chunks and processes too."""
    import polars as pl  # noqa: PLC0415 - half of a second to import, and only readers of logs with customers need it

    return pl.Series(values=ids, dtype=pl.String).hash(seed=0).to_numpy()


def _take(value: Any, rows: Any) -> Any:  # noqa: ANN401 - an array, columns or nothing
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        return value[rows]
    return {name: column[rows] for name, column in value.items()}


def _join(values: Sequence[Any], sizes: Sequence[int]) -> Any:  # noqa: ANN401 - arrays, columns or nothing
    first = values[0]
    if any((value is None) != (first is None) for value in values):
        raise ValueError("some chunks of the log say what others omit")
    if first is None:
        return None
    if isinstance(first, np.ndarray):
        return np.concatenate(values)
    names = dict.fromkeys(name for columns in values for name in columns)
    return {name: _join_column([columns.get(name) for columns in values], sizes) for name in names}


def _join_column(parts: Sequence[NDArray[Any] | None], sizes: Sequence[int]) -> NDArray[Any]:
    """The parts of a column one after the other, missing values for a part that is not there."""
    like = next(part for part in parts if part is not None)
    missing = np.nan if like.dtype.kind == "f" else None
    return np.concatenate(
        [
            np.full((size, *like.shape[1:]), missing, like.dtype) if part is None else part
            for part, size in zip(parts, sizes, strict=True)
        ]
    )
