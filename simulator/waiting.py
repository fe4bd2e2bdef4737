"""Logged decisions that were passed and whose rewards are not learned yet."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from optimizer.evaluation.log import Log
    from optimizer.lessons import Lessons

AT_ONCE: Final = np.iinfo(np.int64).min
"""The close of a decision whose reward was known as soon as it was made."""


@dataclass(frozen=True, slots=True)
class Closing:
    """What is to be learned of n logged decisions, when, and the ids that say who comes first.

    Attributes:
        lessons: of all of them.
        close_us: (n,) int64 when each reward was known.
        ids: (n,) str; None: those of one instant are learned in the order of the log.
    """

    lessons: Lessons
    close_us: NDArray[np.int64]
    ids: NDArray[np.object_] | None

    @classmethod
    def of(cls, lessons: Lessons, log: Log) -> Closing:
        """Of the lessons of a log's rows."""
        if log.close_us is None:
            return cls(lessons, np.full(len(log), AT_ONCE), None)
        return cls(lessons, log.close_us, log.decision_ids)

    def take(self, rows: NDArray[np.intp]) -> Closing:
        """These rows alone, in this order."""
        lessons = _take(self.lessons, rows)
        return Closing(lessons, self.close_us[rows], None if self.ids is None else self.ids[rows])


class Waiting:
    """Keeps decisions until their rewards are known, and gives each one up once."""

    def __init__(self) -> None:
        self._parts: list[tuple[Closing, int, int]] = []

    def __len__(self) -> int:
        return sum(len(part.close_us) for part, _, _ in self._parts)

    def add(self, part: Closing) -> None:
        """Take some decisions, which come after all that were taken before."""
        if len(part.close_us):
            self._parts.append((part, int(part.close_us.min()), int(part.close_us.max())))

    def known_at(self, now_us: int) -> Lessons | None:
        """Those that are closed by this instant, no longer kept, in the order of (close, id); None without any."""
        parts, self._parts = self._parts, []
        known = []
        for part, earliest_us, latest_us in parts:
            if earliest_us > now_us:
                self._parts.append((part, earliest_us, latest_us))
            elif latest_us <= now_us:
                known.append(part)
            else:
                closed = part.close_us <= now_us
                known.append(part.take(np.flatnonzero(closed)))
                self.add(part.take(np.flatnonzero(~closed)))
        return _in_order(known) if known else None


def _in_order(parts: Sequence[Closing]) -> Lessons:
    """All of them as one, sorted by close and id."""
    lessons = _join([part.lessons for part in parts])
    close_us = np.concatenate([part.close_us for part in parts])
    order = np.argsort(close_us, kind="stable")
    ordered = close_us[order]
    ids = [part.ids for part in parts if part.ids is not None]
    if ids and (ordered[1:] == ordered[:-1]).any():
        keys = list(zip(close_us.tolist(), np.concatenate(ids).tolist(), strict=True))
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.intp)
    return _take(lessons, order)


def _take(lessons: Lessons, rows: NDArray[np.intp]) -> Lessons:
    """Rows of lessons; those that lie together are not copied."""
    n = len(rows)
    if n and rows[-1] - rows[0] == n - 1 and (np.diff(rows) == 1).all():
        together = slice(int(rows[0]), int(rows[-1]) + 1)
        return _each(lambda columns: columns[0][together], [lessons])
    index = rows.tolist()

    def pick(columns: Sequence[Any]) -> Any:  # noqa: ANN401 - an array or a sequence
        column = columns[0]
        return column[rows] if isinstance(column, np.ndarray) else [column[i] for i in index]

    return _each(pick, [lessons])


def _join(parts: Sequence[Lessons]) -> Lessons:
    def concatenate(columns: Sequence[Any]) -> Any:  # noqa: ANN401 - an array or a sequence
        if isinstance(columns[0], np.ndarray):
            return np.concatenate(columns)
        return [value for column in columns for value in column]

    return parts[0] if len(parts) == 1 else _each(concatenate, parts)


def _each(make: Callable[[Sequence[Any]], Any], parts: Sequence[Lessons]) -> Lessons:
    """Lessons whose every column is made of the parts' columns."""
    made: dict[str, Any] = {}
    for field in fields(parts[0]):
        columns = [getattr(part, field.name) for part in parts]
        if isinstance(columns[0], tuple):
            made[field.name] = tuple(make(same) for same in zip(*columns, strict=True))
        else:
            made[field.name] = make(columns)
    return replace(parts[0], **made)
