"""YAML 1.2 files read as plain data, with the place of every key and value remembered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from optimizer.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Keys: TypeAlias = tuple[str | int, ...]
"""Where in a document: keys of mappings and indices of lists, from the top."""

Place: TypeAlias = tuple[int, int]
"""Line and column, both counting from 1."""

_TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """The content of a file, and where in it everything stands.

    Instants and dates stay texts, for whoever knows that one is meant. A key is always a text.
    """

    file: str
    data: Any = None
    key_places: dict[Keys, Place] = field(default_factory=dict)
    value_places: dict[Keys, Place] = field(default_factory=dict)

    def problem(self, keys: Keys, message: str, *, at_key: bool = False) -> Problem:
        """A problem with what stands at `keys`, or with the key itself; or with what should have had them."""
        line, column = self._place(keys, at_key=at_key)
        return Problem(self.file, line, column, dotted(keys), message)

    def at(self, keys: Keys) -> Any:  # noqa: ANN401 -- whatever was written there
        """What stands at `keys`, or None where nothing does."""
        found = self.data
        for key in keys:
            if isinstance(found, dict):
                found = found.get(key)
            elif isinstance(found, list) and isinstance(key, int):
                found = found[key] if key < len(found) else None
            else:
                return None
        return found

    def items(self, keys: Keys) -> Iterator[tuple[Keys, Any]]:
        """The items of the list at `keys`, if it is one, with their own keys."""
        found = self.at(keys)
        if isinstance(found, list):
            for index, item in enumerate(found):
                yield (*keys, index), item

    def names(self, keys: Keys, field: str) -> Iterator[tuple[Keys, str]]:
        """The texts of this field of every item of a list, with their keys."""
        for item_keys, _ in self.items(keys):
            name = self.at((*item_keys, field))
            if isinstance(name, str):
                yield (*item_keys, field), name

    def ids(self, keys: Keys) -> list[str]:
        """The ids of a list's items; an item that is only a text was meant as an id."""
        found = (item.get("id") if isinstance(item, dict) else item for _, item in self.items(keys))
        return [name for name in found if isinstance(name, str)]

    def _place(self, keys: Keys, *, at_key: bool) -> Place:
        if at_key and keys in self.key_places:
            return self.key_places[keys]
        for end in range(len(keys), -1, -1):
            if place := self.value_places.get(keys[:end]):
                return place
        return (1, 1)


def dotted(keys: Keys) -> str:
    """The keys as people write them: `catalog.messages[1].offer`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def read_yaml(path: Path) -> Document:
    """Read one YAML document.

    Raises `ConfigError` for a file that cannot be read or is not YAML, keys that occur twice, unknown tags, and aliases
    that contain themselves.
    """
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(file, 1, 1, "", f"cannot be read: {error}")]) from error
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ConfigError([Problem(file, line, column, "", f"not YAML: {error.problem}")]) from error
    except YAMLError as error:
        raise ConfigError([Problem(file, 1, 1, "", f"not YAML: {error}")]) from error
    if node is None:
        raise ConfigError([Problem(file, 1, 1, "", "the file is empty")])
    reader = _Reader(Document(file), yaml.constructor)
    data = reader.read(node, ())
    if reader.problems:
        raise ConfigError(reader.problems)
    return Document(file, data, reader.document.key_places, reader.document.value_places)


class _Reader:
    """Turns nodes into plain data, noting places and problems on the way."""

    def __init__(self, document: Document, constructor: Any) -> None:  # noqa: ANN401 -- ruamel's, which has no types
        self.document = document
        self.problems: list[Problem] = []
        self._constructor = constructor
        self._open: list[Node] = []

    def read(self, node: Node, keys: Keys) -> Any:  # noqa: ANN401 -- whatever was written there
        self.document.value_places[keys] = _place(node)
        if isinstance(node, ScalarNode):
            return self._scalar(node, keys)
        if any(node is outer for outer in self._open):
            return self._refuse(keys, "an alias must not stand inside what it repeats")
        if str(node.tag).removeprefix(_TAG) not in {"map", "seq"}:
            return self._refuse(keys, f"the tag {node.tag} is not supported")
        self._open.append(node)
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, keys)
            return [self.read(item, (*keys, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.pop()

    def _mapping(self, node: MappingNode, keys: Keys) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.problems.append(
                    Problem(self.document.file, *_place(key_node), dotted(keys), "a key must be a text")
                )
                continue
            key = str(key_node.value)
            here = (*keys, key)
            if key in found:
                line, column = _place(key_node)
                first = self.document.key_places[here][0]
                message = f"given twice; it already stands in line {first}"
                self.problems.append(Problem(self.document.file, line, column, dotted(here), message))
                continue
            self.document.key_places[here] = _place(key_node)
            found[key] = self.read(value_node, here)
        return found

    def _scalar(self, node: ScalarNode, keys: Keys) -> Any:  # noqa: ANN401 -- a text, number, truth value or None
        tag = str(node.tag)
        match tag.removeprefix(_TAG):
            case "str" | "timestamp":
                return str(node.value)
            case "null":
                return None
            case "bool":
                return self._constructor.construct_yaml_bool(node)
            case "int":
                return self._constructor.construct_yaml_int(node)
            case "float":
                return self._constructor.construct_yaml_float(node)
            case _:
                return self._refuse(keys, f"the tag {tag} is not supported")

    def _refuse(self, keys: Keys, message: str) -> None:
        self.problems.append(self.document.problem(keys, message))


def _place(node: Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1
