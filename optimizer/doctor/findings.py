"""What an examination finds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works; it will not for ever, or not as well as it should."""
    FAILING = "failing"
    """Something that was promised is not kept."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and what to do where that is not `ok`."""

    check: str
    level: Level
    what: str
    advice: str = ""

    def of(self, tenant: str) -> Finding:
        """The same, of one of several tenants."""
        return replace(self, check=f"{tenant}: {self.check}")


def ok(check: str, what: str) -> Finding:
    """As it should be."""
    return Finding(check, Level.OK, what)


def warning(check: str, what: str, advice: str) -> Finding:
    """Not as it should be; nothing is lost yet."""
    return Finding(check, Level.WARNING, what, advice)


def failing(check: str, what: str, advice: str) -> Finding:
    """Something promised is not kept."""
    return Finding(check, Level.FAILING, what, advice)
