"""JSON objects with namespaces and features, as Vowpal Wabbit reads them, into columns.

By its rules (`parse_example_json.cc` of 9.11): a number is a feature's value, text is a category, `true` is 1 and
`false` 0, null is nothing; names that begin with `_` are not features, but for `_text`, whose words are; an object is a
namespace, and so is a list, of numbers by their place or of further objects. There a namespace is known by its own name
alone; here a column has the whole path, `Geo.city`. A list of texts, which Vowpal Wabbit refuses, is taken as what it
is: a category of several values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

WORDS: Final = "_text"
"""The only name with `_` before it that is a feature."""

_NUMBERS: Final = frozenset({int, float, bool})


class JsonColumns:
    """Makes columns of objects, batch after batch; a column holds the same kind of values in all of them.

    Where values of two kinds have the same path, the kind that was met first has the path as its column's name; the
    other's says the kind too: `age` and `age (text)`.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}

    def columns(self, objects: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
        """Each feature's values over the n objects, (n,), missing where an object does not have it; see `Columns`.

        Text is a category, a list of texts or `_text` a multi-category, everything else a number.
        """
        batch = _Batch(self._kinds, len(objects))
        batch.add("", np.arange(len(objects)), objects)
        return batch.made


class _Batch:
    """Columns of n rows, being filled: objects with equal names are taken apart together."""

    def __init__(self, kinds: dict[str, str], n: int) -> None:
        self._kinds = kinds
        self._n = n
        self.made: dict[str, NDArray[Any]] = {}

    def add(self, path: str, rows: NDArray[np.intp], objects: Sequence[Mapping[str, Any]]) -> None:
        """The features of these rows' objects, whose names are put behind the path."""
        shapes = list(map(tuple, objects))
        alike: dict[tuple[str, ...], list[int]] = {}
        if len(set(shapes)) > 1:
            for i, names in enumerate(shapes):
                alike.setdefault(names, []).append(i)
            for places in alike.values():
                self._same(path, rows[places], [objects[i] for i in places])
        elif shapes:
            self._same(path, rows, objects)

    def _same(self, path: str, rows: NDArray[np.intp], objects: Sequence[Mapping[str, Any]]) -> None:
        """The features of objects with the same names in the same order."""
        columns = zip(*[each.values() for each in objects], strict=True)
        for name, column in zip(objects[0], columns, strict=True):
            if name[:1] != "_" or name == WORDS:
                self._put(path + name, rows, column)

    def _put(self, path: str, rows: NDArray[np.intp], values: Sequence[Any]) -> None:
        """Values of one name, of whatever kinds."""
        types = set(map(type, values))
        if types <= _NUMBERS:
            self._fill(path, "number", rows, np.array(values, np.float64))
            return
        if len(types) > 1:
            for kinds in (_NUMBERS, {str}, {dict}, {list}):
                places = [i for i, value in enumerate(values) if type(value) in kinds]
                if places:
                    self._put(path, rows[places], [values[i] for i in places])
            return
        kind = types.pop()
        if kind is str and path.rpartition(".")[2] == WORDS:
            self._fill(path, "list", rows, _objects([tuple(value.split()) for value in values]))
        elif kind is str:
            self._fill(path, "text", rows, _objects(values))
        elif kind is dict:
            self.add(path + ".", rows, values)
        elif kind is list:
            self._lists(path, rows, values)

    def _lists(self, path: str, rows: NDArray[np.intp], values: Sequence[Sequence[Any]]) -> None:
        """Lists: numbers by their place, objects merged, texts as they are."""
        merged: list[dict[str, Any]] = []
        for value in values:
            flat: dict[str, Any] = {}
            numbers = 0
            for each in value:
                if type(each) is dict:
                    flat |= each
                elif type(each) in _NUMBERS:
                    flat[str(numbers)] = each
                    numbers += 1
            merged.append(flat)
        self.add(path + ".", rows, merged)
        texts = [tuple(each for each in value if type(each) is str) for value in values]
        places = [i for i, found in enumerate(texts) if found]
        if places:
            self._fill(path, "list", rows[places], _objects([texts[i] for i in places]))

    def _fill(self, path: str, kind: str, rows: NDArray[np.intp], values: NDArray[Any]) -> None:
        """Put values of one kind where they belong."""
        name = path if self._kinds.setdefault(path, kind) == kind else f"{path} ({kind})"
        column = self.made.get(name)
        if column is None:
            if len(rows) == self._n:
                self.made[name] = values
                return
            column = np.full(self._n, np.nan) if kind == "number" else np.full(self._n, None, np.object_)
            self.made[name] = column
        column[rows] = values


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    return np.fromiter(values, np.object_, len(values))
