"""Opening a log by what it is: its name's ending, and the columns that it has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from optimizer.config import load_file
from optimizer.errors import InvalidInput
from simulator.logs.csv_records import header_of
from simulator.logs.dsjson import DsjsonLog
from simulator.logs.mapping import LogFormat
from simulator.logs.open_bandit import HEADER, OpenBanditLog
from simulator.logs.parts import address, is_remote, parquet_file, parquet_urls
from simulator.logs.plain import PlainCsv, PlainParquet
from simulator.logs.service_reading import ServiceLog, is_export

if TYPE_CHECKING:
    from simulator.logs.reading import LogReader

DSJSON: Final = (".json", ".dsjson", ".jsonl", ".ndjson")
CSV: Final = (".csv",)


def open_log(path: Path | str, mapping: Path | None = None) -> LogReader:
    """The reader of a log.

    Args:
        path: a Parquet file or a folder of such, here or in object storage (`s3://bucket/log.parquet`), which gives a
            `PartedLog`; or a file of CSV or of Vowpal Wabbit's dsjson, perhaps in `.gz`.
        mapping: how its columns are read, where it is not a log that says so itself.

    Raises `InvalidInput` where it is none of these, and `ConfigError` for what is wrong in the mapping.
    """
    url = address(path)
    name = url.partition("?")[0].removesuffix(".gz") if is_remote(url) else url.removesuffix(".gz")
    packed = not is_remote(url) and url.endswith(".gz")
    layout = None if mapping is None else load_file(mapping, LogFormat)
    if not is_remote(url) and not Path(url).exists():
        raise InvalidInput(f"{url}: there is nothing")
    if name.endswith(DSJSON) and not is_remote(url):
        return _dsjson(Path(url), mapping)
    if name.endswith(CSV) and not is_remote(url):
        return _csv(Path(url), layout)
    if (name.endswith(".parquet") and not packed) or is_remote(url) or Path(url).is_dir():
        return _parquet(url, layout)
    raise InvalidInput(
        f"{url}: expected .parquet, .csv (or .csv.gz), or dsjson as {', '.join(DSJSON)} (or .gz of these): rename it"
    )


def _dsjson(path: Path, mapping: Path | None) -> LogReader:
    if mapping is not None:
        raise InvalidInput(f"{mapping}: {path} is dsjson, which needs no mapping: leave it out")
    return DsjsonLog(path)


def _csv(path: Path, layout: LogFormat | None) -> LogReader:
    if layout is not None:
        return PlainCsv(path, layout)
    header = header_of(path)
    if set(HEADER) <= set(header):
        return OpenBanditLog(path)
    raise InvalidInput(
        f"{path}:1: not the header of the Open Bandit Dataset, which has {', '.join(HEADER)}; for any other CSV say by "
        f"a mapping file what its columns are: {', '.join(header[:20])}"
    )


def _parquet(url: str, layout: LogFormat | None) -> LogReader:
    urls = parquet_urls(url)
    if layout is not None:
        return PlainParquet(urls, layout)
    with parquet_file(urls[0]) as file:
        names = file.schema_arrow.names
        if is_export(file):
            return ServiceLog(urls)
    raise InvalidInput(
        f"{urls[0]}: not a log that `optimizer export` wrote; for any other Parquet say by a mapping file what its "
        f"columns are: {', '.join(names[:20])}"
    )
