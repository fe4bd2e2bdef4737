"""Logs in parts that are read apart from each other, and Parquet files here and in object storage."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, FileType, FSSpecHandler, LocalFileSystem, PyFileSystem

from optimizer.errors import InvalidInput
from optimizer.evaluation.log import CHUNK
from simulator.logs.reading import LogReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from optimizer.evaluation.log import Log
    from simulator.logs.reading import Intake

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.]+):/(?!/)")
_BROKEN: Final = (pa.ArrowInvalid, pa.ArrowException, OSError)


class LogPart(LogReader, Protocol):
    """Some consecutive rows of a log. It can be pickled, and read by another process without the others."""

    def read(self, intake: Intake | None = None) -> Log:
        """All its rows at once; arms are numbered as in all parts.

        Without an intake nobody would hear of a row that cannot be taken: the first one is an error.
        """


@runtime_checkable
class PartedLog(LogReader, Protocol):
    """A log that is read in parts. Its `chunks` are those of its parts, one after the other."""

    def parts(self) -> Sequence[LogPart]:
        """Its parts in the order of the log, the same in every process."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive row groups of a Parquet file.

    Attributes:
        url: the file: a path, or an address with a scheme.
        first, end: its row groups, the end excluded.
        row: the number of its first row in the file, from 1.
    """

    url: str
    first: int
    end: int
    row: int

    def tables(self, columns: Sequence[str] | None, size: int = CHUNK) -> Iterator[tuple[int, pa.Table]]:
        """At most `size` rows at a time, each time with the number of the first of them in the file."""
        row = self.row
        with parquet_file(self.url) as file:
            batches = file.iter_batches(size, range(self.first, self.end), columns, use_threads=False)
            try:
                for batch in batches:
                    yield row, pa.Table.from_batches([batch])
                    row += len(batch)
            except _BROKEN as error:
                raise InvalidInput(f"{self.url}: row {row}: cannot be read: {error}") from error


def stretches(urls: Sequence[str]) -> list[Stretch]:
    """The row groups of these files, as many together as have at most `CHUNK` rows, and one at least."""
    found = []
    for url in urls:
        with parquet_file(url) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        first, row, held = 0, 1, 0
        for i, size in enumerate(sizes):
            if i > first and held + size > CHUNK:
                found.append(Stretch(url, first, i, row))
                first, row, held = i, row + held, 0
            held += size
        if sizes:
            found.append(Stretch(url, first, len(sizes), row))
    return found


def address(path: Path | str) -> str:
    """A path or an address as text; the slashes that a `Path` has taken from `s3://` and `file:///` are put back."""
    text = str(path)
    found = _SCHEME.match(text)
    if found is None:
        return text
    return f"{found[1]}:{'//' if found[1] == 'file' else '/'}{text[len(found[1]) + 1 :]}"


def is_remote(url: str) -> bool:
    """Whether it is an address with a scheme rather than a path of this machine."""
    return "://" in url


def parquet_urls(url: str) -> list[str]:
    """The file itself, or the `.parquet` files of a folder, in the order of their names. Raises `InvalidInput`."""
    system, path = _located(url)
    try:
        if system.get_file_info(path).type != FileType.Directory:
            return [url]
        inner = system.get_file_info(FileSelector(path, recursive=True))
    except _BROKEN as error:
        raise InvalidInput(f"{url}: cannot be read: {error}") from error
    names = sorted(each.path for each in inner if each.is_file and each.path.endswith(".parquet"))
    if not names:
        raise InvalidInput(f"{url}: a folder without .parquet files")
    folder, mark, query = url.partition("?")  # such as the address of a server of one's own
    return [folder.rstrip("/") + name[len(path.rstrip("/")) :] + mark + query for name in names]


@contextmanager
def parquet_file(url: str) -> Iterator[Any]:
    """An open `pyarrow.parquet.ParquetFile`. Raises `InvalidInput` where there is none."""
    system, path = _located(url)
    try:
        source = system.open_input_file(path)
    except _BROKEN as error:
        raise InvalidInput(f"{url}: cannot be read: {error}") from error
    with source:
        try:
            file = pq.ParquetFile(source, pre_buffer=is_remote(url))
        except _BROKEN as error:
            raise InvalidInput(f"{url}: not a Parquet file: {error}") from error
        yield file


def _located(url: str) -> tuple[FileSystem, str]:
    """The file system of an address, pyarrow's own or else fsspec's, and the path there."""
    if not is_remote(url):
        return LocalFileSystem(), url
    try:
        system, path = FileSystem.from_uri(url)
    except pa.ArrowInvalid:
        return _by_fsspec(url)
    except OSError as error:
        raise InvalidInput(f"{url}: cannot be reached: {error}") from error
    return system, path


def _by_fsspec(url: str) -> tuple[FileSystem, str]:
    try:
        import fsspec  # noqa: PLC0415 - needed only for what pyarrow does not know
    except ImportError:
        raise InvalidInput(f"{url}: this kind of address needs the package fsspec: install it") from None
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError, OSError) as error:
        raise InvalidInput(f"{url}: cannot be reached: {error}") from error
    return PyFileSystem(FSSpecHandler(system)), path
