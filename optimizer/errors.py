"""The one root of every error this project raises on purpose, and its few kinds.

`code` is stable: clients and logs may rely on it. `http_status` is what the HTTP service answers with.
"Not enough data yet" is a value, never one of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class OptimizerError(Exception):
    """What was wrong, where, and what to do about it, in one message."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(OptimizerError):
    """The caller sent something that cannot be right."""

    code = "invalid_input"
    http_status = 422


class NotFound(OptimizerError):
    """The thing named does not exist."""

    code = "not_found"
    http_status = 404


class Conflict(OptimizerError):
    """The request contradicts what is already recorded."""

    code = "conflict"
    http_status = 409


class Unavailable(OptimizerError):
    """Right in itself, but not possible at this moment; trying again later may help."""

    code = "unavailable"
    http_status = 503


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a configuration file.

    `line` and `column` count from 1; `path` is where in the document, such as `catalog.messages[1].offer.cost`
    (empty for the document as a whole).
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: "
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class ConfigError(OptimizerError):
    """A configuration file cannot be used; `problems` has everything found wrong in it, in the order of the file."""

    code = "invalid_config"
    http_status = 422

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
