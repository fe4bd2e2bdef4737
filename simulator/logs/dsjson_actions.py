"""Which arms the actions of a dsjson line are.

A service logs the same few lists of actions again and again, and they are most of every line. So a list that was parsed
once is known by its bytes, and lines that have it are parsed without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import orjson

KEY: Final = b'"_multi":'
_NAMES: Final = frozenset({str, int})
_MOST: Final = 4_096
_TRIES: Final = 64
_HITS_A_TRY: Final = 4
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]]', re.DOTALL)
_BACKSLASH: Final = ord("\\")
_LEFT_OUT: Final = -2_718_281_828_459_045
"""Stands for a list that is not parsed."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of actions.

    Attributes:
        arms: the index of each action's arm.
        slots: for a slate the slot of each action, from 0; None: they are for every slot.
    """

    arms: tuple[int, ...]
    slots: tuple[int, ...] | None

    def of_slot(self, slot: int) -> tuple[int, ...]:
        """The arms that may stand in a slot."""
        if self.slots is None:
            return self.arms
        return tuple(arm for arm, mine in zip(self.arms, self.slots, strict=True) if mine == slot)


class BadActions(ValueError):
    """Why a list of actions cannot be taken."""


class Actions:
    """Numbers arms as they are met, by what names them in the first decision's actions.

    That is `_tag`, else a field `id` of the action or of one of its namespaces, where every action has one and no two
    are the same; else an action's place in the list.
    """

    def __init__(self) -> None:
        self.index: dict[str, int] = {}
        self._path: tuple[str, ...] | None = None
        self._found: dict[tuple[Any, ...], Listed] = {}
        self._bytes: dict[bytes, Listed] = {}
        self._last: tuple[bytes, Listed] = (b"\0", Listed((), None))
        self._mark = b"\0"
        self._tries = self._hits = 0

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms so far."""
        return tuple(self.index)

    def parse(self, line: bytes) -> tuple[Any, Listed | None]:
        """The line's JSON value; and its list of actions if that is known, which is left out of the value then.

        Raises orjson.JSONDecodeError.
        """
        start = line.find(KEY)
        if start <= 0 or line[start - 1] == _BACKSLASH:  # part of another name, which ends in a quote and `_multi`
            return orjson.loads(line), None
        start += len(KEY)
        raw, listed = self._last
        if not line.startswith(raw, start):
            raw = line[start : self._marked(line, start)]
            known = self._bytes.get(raw)
            if known is None:
                return orjson.loads(line), None
            listed = known
            self._last = (raw, listed)
        rest = b"%b%d%b" % (line[:start], _LEFT_OUT, line[start + len(raw) :])
        if rest.find(KEY, start) >= 0:
            return orjson.loads(line), None
        value = orjson.loads(rest)
        context = value.get("c") if type(value) is dict else None
        if type(context) is not dict or context.get("_multi") != _LEFT_OUT:
            return orjson.loads(line), None
        self._hits += 1
        return value, listed

    def of(self, actions: Any, line: bytes) -> Listed:  # noqa: ANN401 - anything that JSON may hold
        """The actions of a line that holds them. Raises `BadActions`."""
        if type(actions) is not list or not all(type(action) is dict for action in actions):
            raise BadActions("expected a list of objects")
        if self._path is None:
            self._path = _naming(actions)
        try:
            names = tuple(map(self._name, actions)) if self._path else tuple(range(1, len(actions) + 1))
            slots = tuple(a["_slot_id"] for a in actions) if actions and "_slot_id" in actions[0] else None
            found = self._found.get((names, slots))
        except (KeyError, TypeError):
            named = ".".join(self._path) or "_slot_id"
            raise BadActions(f"an action without the {named} that others have, or with one that is no name") from None
        if found is None:
            found = self._number(names, slots)
        self._learn(line, actions, found)
        return found

    def _name(self, action: Any) -> Any:  # noqa: ANN401
        for step in self._path or ():
            action = action[step]
        return action

    def _number(self, names: tuple[Any, ...], slots: tuple[Any, ...] | None) -> Listed:
        """Numbers for actions whose names were never together so far."""
        if not all(type(name) in _NAMES for name in names):
            raise BadActions(f"the {'.'.join(self._path or ())} of an action is no text")
        texts = [str(name) for name in names]
        if len(set(texts)) < len(texts):
            raise BadActions(f"two actions with the same {'.'.join(self._path or ())}")
        if len(self._found) >= _MOST:
            self._found.clear()
        found = Listed(tuple(self.index.setdefault(text, len(self.index)) for text in texts), slots)
        self._found[names, slots] = found
        return found

    def _learn(self, line: bytes, actions: list[Any], listed: Listed) -> None:
        """Remember the bytes of these actions, as long as that pays: it takes longer than reading a line."""
        start = line.find(KEY) + len(KEY)
        if start < len(KEY) or self._tries > _TRIES + self._hits // _HITS_A_TRY:
            return
        self._tries += 1
        for find in (self._marked, _end):
            end = find(line, start)
            raw = line[start:end]
            if _is(raw, actions):
                if len(self._bytes) >= _MOST:
                    self._bytes.clear()
                self._mark = line[end - 1 : end + 4]
                self._bytes[raw] = listed
                self._last = (raw, listed)
                return

    def _marked(self, line: bytes, start: int) -> int:
        """Where the list that begins there ends if it is followed by what has followed the others."""
        return line.find(self._mark, start) + 1


def _is(raw: bytes, actions: list[Any]) -> bool:
    """Whether bytes are these actions."""
    try:
        return bool(orjson.loads(raw) == actions)
    except orjson.JSONDecodeError:
        return False


def _naming(actions: list[Any]) -> tuple[str, ...]:
    """Where the first decision's actions have what names them; nothing where they are known by their place."""
    paths: list[tuple[str, ...]] = [("_tag",), ("id",)]
    if actions and type(actions[0]) is dict:
        paths += [(name, "id") for name, inner in actions[0].items() if type(inner) is dict and "id" in inner]
    for path in paths:
        names = []
        for action in actions:
            inner = action
            for step in path:
                inner = inner.get(step) if type(inner) is dict else None
            names.append(inner)
        if actions and all(type(name) in _NAMES for name in names) and len(set(map(str, names))) == len(names):
            return path
    return ()


def _end(line: bytes, start: int) -> int:
    """Where the list ends that begins there."""
    depth = 0
    for token in _TOKENS.finditer(line, start):
        kind = line[token.start()]
        depth += (kind == ord("[")) - (kind == ord("]"))
        if depth == 0:
            return token.end()
    return start
