"""Plain CSV and Parquet files, read as a mapping file says, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from optimizer.errors import InvalidInput
from optimizer.evaluation.log import CHUNK, Log
from simulator.logs.cells import TextCells, TypedCells
from simulator.logs.csv_records import records
from simulator.logs.parts import Stretch, parquet_file, stretches
from simulator.logs.plain_rows import ArmIds, in_order, taken
from simulator.logs.reading import Intake

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from simulator.logs.mapping import LogFormat
    from simulator.logs.plain_rows import Taken


@dataclass(frozen=True, slots=True)
class PlainCsv:
    """A CSV file in UTF-8 with a header, gzipped if its name ends in `.gz`.

    Quoted cells may hold line ends and commas; line ends may be LF, CRLF or CR; a byte order mark is passed over.
    Without arms in the mapping they are numbered as they are met.
    """

    path: Path
    layout: LogFormat

    def chunks(self, intake: Intake) -> Iterator[Log]:
        """See `LogReader`."""
        for each in self.taken(intake):
            yield each.log

    def taken(self, intake: Intake) -> Iterator[Taken]:
        """The same, each chunk with what the mapping names besides."""
        arms = ArmIds.mapped(self.layout)
        for found in records(self.path, self.layout.columns, intake, CHUNK):
            chunk = taken(TextCells(found), self.layout, arms, intake)
            if len(chunk.log):
                yield chunk


@dataclass(frozen=True, slots=True)
class PlainPart:
    """Some row groups of a Parquet file, with the arms of the whole log."""

    stretch: Stretch
    layout: LogFormat
    arms: tuple[str, ...]

    def chunks(self, intake: Intake) -> Iterator[Log]:
        """See `LogReader`."""
        for log in self._all(intake):
            if len(log):
                yield log

    def read(self, intake: Intake | None = None) -> Log:
        """See `LogPart`."""
        return Log.join(list(self._all(intake or Intake(strict=True))))

    def _all(self, intake: Intake) -> Iterator[Log]:
        arms = ArmIds.mapped(self.layout, self.arms)
        for row, table in self.stretch.tables(self.layout.columns):
            yield taken(TypedCells(self.stretch.url, row, table), self.layout, arms, intake).log


class PlainParquet:
    """Parquet files, one after the other. Without arms in the mapping they are numbered in the order of their ids.

    Raises `InvalidInput` for a file that cannot be read or that lacks a column.
    """

    def __init__(self, urls: Sequence[str], layout: LogFormat) -> None:
        self._layout = layout
        for url in urls:
            with parquet_file(url) as file:
                names = file.schema_arrow.names
            absent = [column for column in layout.columns if column not in names]
            if absent:
                raise InvalidInput(f"{url}: no column {', '.join(absent)}; there are {', '.join(names)}")
        self._stretches = stretches(urls)
        self._arms = tuple(ArmIds.mapped(layout, () if layout.arm.values is not None else self._met()).ids)

    def _met(self) -> list[str]:
        """Every arm that the files name: only that column is read."""
        column, met = self._layout.arm.column, set[str]()
        for stretch in self._stretches:
            for row, table in stretch.tables([column]):
                met.update(text for text in TypedCells(stretch.url, row, table).levels(column).texts if text)
        return in_order(met)

    def parts(self) -> Sequence[PlainPart]:
        """See `PartedLog`."""
        return [PlainPart(stretch, self._layout, self._arms) for stretch in self._stretches]

    def chunks(self, intake: Intake) -> Iterator[Log]:
        """See `LogReader`."""
        for part in self.parts():
            yield from part.chunks(intake)
