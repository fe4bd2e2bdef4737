"""Exporting a campaign's log: Parquet, flat CSV, or Vowpal Wabbit's dsjson, each with its data card.

What is written has another name until it is whole. Pages are read one after the other, so that memory does not grow
with the log and no transaction stays open.
"""

from __future__ import annotations

import csv
import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from optimizer.clock import from_us
from optimizer.errors import Conflict, InvalidInput
from simulator.logs.card import Contents, DataCard
from simulator.logs.dsjson_writing import vowpal_wabbit_options, write_dsjson
from simulator.logs.flat import flat_meanings, flat_rows
from simulator.logs.service import MEANINGS, LogWriter, read_log
from simulator.logs.service_reading import Facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from optimizer.engine import Engine
    from simulator.logs.service import LogPage

_DSJSON: Final = {
    "_label_cost": "Minus the reward, as learned: divided by the campaign's reward.scale.",
    "_label_probability": "With what probability the arm was drawn.",
    "_label_Action, _labelIndex": "Which of the actions was drawn, counted from 1 and from 0.",
    "_original_label_cost": "Minus the reward, in the campaign's unit; absent until it is closed.",
    "_skipLearn": "True where the campaign does not learn from the decision.",
    "Timestamp, EventId": "When it was decided, and the decision's id.",
    "Version": "Of this format: 1.",
    "_customer": "Whom it is about: a pseudonym, the same in all decisions about the customer.",
    "a, p": "The actions, that which was drawn first, and their probabilities.",
    "VWState": "The model that scored; N/A where there was none.",
    "c": "The features as learned: the customer's, and under _multi each action's.",
}
"""The fields of dsjson."""


class Format(StrEnum):
    """What a log is written as."""

    PARQUET = "parquet"
    CSV = "csv"
    DSJSON = "dsjson"


@dataclass(frozen=True, slots=True)
class Exported:
    """The files that were written: the data, and their card as JSON and as a page; and what they hold."""

    data: Path
    card: Path
    page: Path
    contents: Contents


def export_log(  # noqa: PLR0913 - what, where, as what
    engine: Engine,
    campaign_id: str,
    out: Path,
    kind: Format,
    *,
    overwrite: bool = False,
    tell: Callable[[int], object] = bool,
) -> Exported:
    """Write the decisions that a campaign has made so far, and beside them `OUT.card.json` and `OUT.card.md`.

    Args:
        engine: on the campaign's database.
        campaign_id: which.
        out: the file.
        kind: its format.
        overwrite: whether files that are there are replaced.
        tell: told now and then how many decisions were read.

    Raises `NotFound` for an unknown campaign, `Conflict` where a file is there already, `InvalidInput` where none can
    be written.
    """
    engine.campaign(campaign_id)
    card, page = (out.with_name(f"{out.name}.card.{ending}") for ending in ("json", "md"))
    there = [path for path in (out, card, page) if path.exists()]
    if there and not overwrite:
        raise Conflict(f"{there[0]} exists already: name another file, or say --overwrite")
    now_us, contents = engine.runtime.now_us(), Contents()
    pages = _counted(read_log(engine, campaign_id), contents, now_us, tell)
    try:
        with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            draft = Path(folder) / "data"
            columns = _WRITERS[kind](draft, pages, engine, campaign_id)
            told = DataCard.of(
                contents,
                campaign=campaign_id,
                file=out.name,
                format=kind.value,
                sha256=_digest(draft),
                size_bytes=draft.stat().st_size,
                exported_at=from_us(now_us).isoformat(),
                software=version("campaign-optimizer"),
                columns=columns,
            )
            # The data come last: where they are, their card is, and its digest says whether it is theirs.
            _place(Path(folder) / "page", page, told.markdown().encode())
            _place(Path(folder) / "card", card, told.dumps())
            _settle(draft)
            draft.replace(out)
    except OSError as error:
        raise InvalidInput(f"{out}: cannot be written: {error}") from error
    return Exported(out, card, page, contents)


def _counted(
    pages: Iterator[LogPage], contents: Contents, until_us: int, tell: Callable[[int], object]
) -> Iterator[LogPage]:
    """The pages made by that instant: a campaign at work makes new ones all the time."""
    for page in pages:
        if page.rows[0].decided_us > until_us:
            return
        contents.add(page)
        tell(contents.decisions)
        yield page


def _parquet(path: Path, pages: Iterator[LogPage], _engine: Engine, _campaign_id: str) -> Mapping[str, str]:
    with LogWriter(path) as writer:
        for page in pages:
            writer.write(page)
    return MEANINGS


def _csv(path: Path, pages: Iterator[LogPage], engine: Engine, campaign_id: str) -> Mapping[str, str]:
    between = path.with_name("between.parquet")
    _parquet(between, pages, engine, campaign_id)
    facts = Facts.of([str(between)])
    meanings = flat_meanings(facts)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(meanings)
        writer.writerows(flat_rows(between, facts))
    return meanings


def _dsjson(path: Path, pages: Iterator[LogPage], engine: Engine, campaign_id: str) -> Mapping[str, str]:
    """In the order of learning, which its writer reads by itself: the pages are only counted."""
    for _ in pages:
        pass
    write_dsjson(engine, campaign_id, path)
    told = vowpal_wabbit_options(engine, campaign_id)
    options = ", and ".join(f"`{each}` ({name})" for name, each in told.items())
    learned = f"Vowpal Wabbit learns from them what `importance: mtr` does, told {options}."
    return {**_DSJSON, "c": f"{_DSJSON['c']} {learned}"}


_WRITERS: Final[Mapping[Format, Callable[[Path, Iterator[LogPage], Engine, str], Mapping[str, str]]]] = {
    Format.PARQUET: _parquet,
    Format.CSV: _csv,
    Format.DSJSON: _dsjson,
}
"""Each writes a file and tells what its columns mean."""


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(draft: Path, path: Path, body: bytes) -> None:
    draft.write_bytes(body)
    _settle(draft)
    draft.replace(path)


def _settle(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
