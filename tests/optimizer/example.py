"""A campaign with every part that acts, as plain data and as text, to start tests from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from optimizer.config import check_files
from optimizer.yaml_file import read_yaml

CONFIGS: Final = Path(__file__).parents[2] / "configs"
ATTRIBUTES: Final = CONFIGS / "attributes.yaml"
WINBACK: Final = CONFIGS / "winback.yaml"
TEXT: Final = WINBACK.read_text(encoding="utf-8")
WITHOUT_RULES: Final = TEXT.partition("\n# Who may be contacted")[0] + "\n"
"""The same up to its contact policy."""


def winback() -> dict[str, Any]:
    """The example campaign as it stands in its file."""
    data: dict[str, Any] = read_yaml(WINBACK).data
    return data


def found_in(folder: Path, text: str) -> list[str]:
    """What is wrong in a campaign with this text, each without the file's name."""
    path = folder / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    return [str(problem).removeprefix(f"{path}:") for problem in check_files([path], ATTRIBUTES)]


def place(text: str, needle: str, start: int = 0) -> str:
    """Line and column, from 1, of the first occurrence from `start` on."""
    before = text[: text.index(needle, start)]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def edited(old: str, new: str) -> str:
    """The text of the example with one passage, which occurs once in it, replaced."""
    assert TEXT.count(old) == 1, f"{TEXT.count(old)} occurrences of {old!r}"
    return TEXT.replace(old, new)


def messages_only(extra: str = "") -> str:
    """The smallest campaign, of two messages, with one more line, the seventh."""
    return f"""\
version: 1
campaign: {{id: c, name: C, starts_at: 2026-01-05T00:00:00Z, ends_at: 2026-01-07T00:00:00Z}}
catalog:
  messages: [{{id: a}}, {{id: b}}]
reward:
  events: [{{name: visited, value: 1, window: 14d}}]
{extra}"""
