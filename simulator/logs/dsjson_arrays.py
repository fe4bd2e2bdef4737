"""Rows of dsjson checked and made into a log, a batch at a time: each check looks at all rows together."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from optimizer.clock import to_us
from optimizer.evaluation.log import Log, customer_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from optimizer.attributes import Columns
    from simulator.logs.dsjson_rows import Layout, Rows

Bools: TypeAlias = NDArray[np.bool_]
Places: TypeAlias = NDArray[np.intp]
Finding: TypeAlias = tuple[Bools, str, str]
"""Which rows are wrong (n,), in which field, and what is wrong."""

_OFF: Final = 1e-3
"""How far probabilities may be from adding up to 1, and the label's from the drawn arm's: services log few digits."""


class Arrays:
    """The rows of a batch as arrays, and what is wrong with them.

    Values that are wrong stand in the arrays as something harmless; the rows of `problems` must be left out.

    Args:
        rows: n rows.
        layout: what they all say.
        arms: every arm so far.
    """

    def __init__(self, rows: Rows, layout: Layout, arms: tuple[str, ...]) -> None:
        self._rows, self._layout, self._arms, self._n = rows, layout, arms, len(rows)
        # What it has cost, where that is not what is learned: a campaign's export learns in units of its own.
        self._cost_field = "_original_label_cost" if "_original_label_cost" in layout.needed else "_label_cost"
        self._cost = _numbers(self._all(self._cost_field))
        self._propensity = _numbers(self._all("_label_probability"))
        distinct = {id(each): each for each in rows.candidates}
        number = {key: i for i, key in enumerate(distinct)}
        listed = np.array([number[id(each)] for each in rows.candidates], np.intp)
        sizes = np.array([len(each) for each in distinct.values()], np.intp)
        self._candidates = np.fromiter(chain.from_iterable(distinct.values()), np.intp, int(sizes.sum()))
        self._first, self._size = (np.cumsum(sizes) - sizes)[listed], sizes[listed]
        ranked = self._all("a")
        self._lengths = np.fromiter(map(len, ranked), np.intp, self._n)
        self._row_of = np.repeat(np.arange(self._n), self._lengths)
        self._place = _whole(list(chain.from_iterable(ranked))) - 1
        self._index, self._number = _whole(self._all("_labelIndex")), _whole(self._all("_label_Action"))
        self._drawn = np.where(self._index >= 0, self._index, self._number - 1)
        self._chosen = self._arm(self._drawn, np.arange(self._n))
        self._ranked = self._arm(self._place, self._row_of)
        self._allowed = np.zeros((self._n, len(arms)), np.bool_)
        self._allowed[self._row_of, self._ranked] = True

    def problems(self) -> Iterator[Finding]:
        """Everything that is wrong, one finding after the other."""
        yield ~np.isfinite(self._cost), self._cost_field, "expected a number"
        yield ~((self._propensity > 0.0) & (self._propensity <= 1.0)), "_label_probability", _EXPECTED
        yield (self._drawn < 0) | (self._drawn >= self._size), "_labelIndex", "expected an action's place, from 0"
        other = (self._index >= 0) & (self._number >= 0) & (self._number != self._index + 1)
        yield other, "_label_Action", "differs from _labelIndex, which counts from 0"
        outside = self._any((self._place < 0) | (self._place >= self._size[self._row_of]))
        yield outside, "a", "expected places of actions, from 1 (in _outcomes from 0)"
        yield np.count_nonzero(self._allowed, axis=1) != self._lengths, "a", "names an action twice"
        yield ~self._allowed[np.arange(self._n), self._chosen], "a", "does not name the action that was drawn"
        if self._layout.distribution:
            yield from self._distribution_problems()
        for name in self._layout.needed & {"EventId", "_customer"}:
            yield _not_text(self._all(name)), name, "expected text"
        if self._time_us is not None:
            untimed = np.array([each is None for each in self._time_us], np.bool_)
            yield untimed, "Timestamp", "expected an instant in ISO 8601, such as 2026-01-31T12:00:00.0000000Z"
        pdrop = self._layout.pdrop
        if type(pdrop) not in _NUMBERS or not 0 <= pdrop < 1:
            yield np.ones(self._n, np.bool_), "pdrop", "expected a share from 0 to less than 1"

    def _distribution_problems(self) -> Iterator[Finding]:
        given = np.fromiter(map(len, self._all("p")), np.intp, self._n)
        differing = given != self._lengths
        yield differing, "p", "expected as many probabilities as there are actions in a"
        p = self._probabilities
        yield self._any(~((p >= 0.0) & (p <= 1.0))) & ~differing, "p", "expected numbers from 0 to 1"
        off = np.abs(np.bincount(self._row_of, p, self._n) - 1.0) > _OFF
        yield off & ~differing, "p", "the probabilities do not add up to 1"
        drawn = self._place == self._drawn[self._row_of]
        other = drawn & (np.abs(p - self._propensity[self._row_of]) > _OFF)
        yield self._any(other) & ~differing, "_label_probability", "p has another for this action"

    @cached_property
    def _probabilities(self) -> NDArray[np.float64]:
        """One for each action that is ranked; NaN in rows that have another number of them."""
        given = self._all("p")
        if any(len(each) != length for each, length in zip(given, self._lengths.tolist(), strict=True)):
            given = [
                each if len(each) == length else [np.nan] * length
                for each, length in zip(given, self._lengths.tolist(), strict=True)
            ]
        return _numbers(list(chain.from_iterable(given)))

    @cached_property
    def _time_us(self) -> list[int | None] | None:
        """UTC microseconds, None for what is no instant."""
        return [_instant_us(each) for each in self._all("Timestamp")] if "Timestamp" in self._layout.needed else None

    def log(self, context: Columns) -> Log:
        """The rows as a log with this context."""
        needed, slots = self._layout.needed, self._layout.slots
        distribution = None
        if self._layout.distribution:
            distribution = np.zeros(self._allowed.shape)
            distribution[self._row_of, self._ranked] = self._probabilities
        return Log(
            arms=self._arms,
            chosen=self._chosen,
            propensity=self._propensity,
            reward=0.0 - self._cost,
            allowed=self._allowed,
            distribution=distribution,
            customer=customer_keys(list(self._customers())) if slots or "_customer" in needed else None,
            time_us=None if self._time_us is None else np.array([each or 0 for each in self._time_us], np.int64),
            decision_ids=np.fromiter(self._all("EventId"), np.object_, self._n) if "EventId" in needed else None,
            position=np.array(self._all("position"), np.intp) if slots else None,
            context=context,
        )

    def _customers(self) -> Iterable[str]:
        """Who it was; without a name the slots of one line are somebody's, and no other line is."""
        name = next((each for each in ("_customer", "EventId") if each in self._layout.needed), None)
        return map(str, self._rows.line if name is None else self._all(name))

    def _all(self, name: str) -> list[Any]:
        return [value.get(name) for value in self._rows.value]

    def _any(self, found: Bools) -> Bools:
        """(n,) whether something was found for any of the row's ranked actions."""
        out = np.zeros(self._n, np.bool_)
        out[self._row_of[found]] = True
        return out

    def _arm(self, place: Places, row: Places) -> Places:
        """The arms of actions by their places in their rows' lists; any for a place that is none."""
        if not len(self._candidates):
            return np.zeros_like(place)
        arms: Places = self._candidates[(self._first[row] + place).clip(0, len(self._candidates) - 1)]
        return arms


_NUMBERS: Final = frozenset({int, float})
_LARGEST: Final = 2**31
_EXPECTED: Final = "expected a number above 0, and 1 at most"


def _numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    """(n,) float64, NaN for what is no number."""
    if not set(map(type, values)) <= _NUMBERS:
        values = [each if type(each) in _NUMBERS else np.nan for each in values]
    return np.fromiter(values, np.float64, len(values))


def _whole(values: Sequence[Any]) -> Places:
    """(n,) -1 for what is no whole number, or too large for a place."""
    if set(map(type, values)) - {int}:
        values = [each if type(each) is int else -1 for each in values]
    try:
        found = np.fromiter(values, np.int64, len(values))
    except OverflowError:
        found = np.fromiter((min(each, _LARGEST) for each in values), np.int64, len(values))
    return found.clip(-1, _LARGEST).astype(np.intp)


def _not_text(values: Sequence[Any]) -> Bools:
    return np.fromiter((type(each) is not str for each in values), np.bool_, len(values))


def _instant_us(text: Any) -> int | None:  # noqa: ANN401 - anything that JSON may hold
    """Microseconds since the epoch; UTC where no offset is named."""
    if type(text) is not str:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return to_us(instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC))
