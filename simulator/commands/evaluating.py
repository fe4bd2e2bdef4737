"""Compare policies on a log of decisions."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
import typer
from rich.console import Console

from optimizer import logs
from optimizer.config import ATTRIBUTES_FILE, load_attributes, load_campaign
from optimizer.errors import InvalidInput
from optimizer.evaluation.bootstrap import Bootstrap
from optimizer.evaluation.intervals import Bernstein, StudentT
from simulator.comparison.comparing import Question, compare
from simulator.comparison.page import page
from simulator.comparison.table import tables
from simulator.engines import EngineName, EngineOption, workers
from simulator.logs.opening import open_log
from simulator.logs.reading import Intake
from simulator.progressive import PUBLISH_EVERY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optimizer.campaign import CampaignFile
    from optimizer.evaluation.totals import Floats


TABLE: Final = ".npy"


class EstimatorName(StrEnum):
    """By what policies are ranked."""

    DR = "dr"
    SNDR = "sndr"
    DM = "dm"
    SNIPS = "snips"
    IPS = "ips"


class IntervalName(StrEnum):
    """How sure estimates are said to be."""

    T = "t"
    BOOTSTRAP = "bootstrap"
    BERNSTEIN = "bernstein"


_INTERVALS: Final[dict[IntervalName, type[StudentT | Bootstrap | Bernstein]]] = {
    IntervalName.T: StudentT,
    IntervalName.BOOTSTRAP: Bootstrap,
    IntervalName.BERNSTEIN: Bernstein,
}


def evaluate(  # noqa: PLR0913 - what a comparison is made of
    log: Annotated[
        str,
        typer.Argument(
            help="The log: Parquet (a file, a folder, an address like s3://bucket/x), CSV or dsjson, perhaps in .gz.",
            metavar="LOG",
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(help="The folder for what is written; made if new.", file_okay=False)],
    policy: Annotated[
        list[Path] | None,
        typer.Option(
            help="A campaign, whose policy goes through the log and learns from it; or, where arms are numbers, "
            "a .npy file of probabilities, a row for each arm and a column for each place on the page. May be given "
            "several times.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(help="What the columns of a plain CSV or Parquet log are.", exists=True, dir_okay=False),
    ] = None,
    attributes: Annotated[
        Path | None,
        typer.Option(help="The declared attributes; by default attributes.yaml beside each campaign."),
    ] = None,
    estimator: Annotated[
        EstimatorName | None,
        typer.Option(
            help="By what policies are ranked and compared; by default dr where the log knows something of its "
            "customers, else snips. All that can be are computed."
        ),
    ] = None,
    interval: Annotated[IntervalName, typer.Option(help="Intervals of 95%; units are customers.")] = IntervalName.T,
    publish_every: Annotated[
        int, typer.Option(help="After how many decisions a campaign's policy publishes what it has learned.", min=1)
    ] = PUBLISH_EVERY,
    rewards: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--reward-bounds",
            help="The smallest and largest that a reward can be, for confidence sequences; by default 0 and 1 where "
            "all rewards are one of these.",
        ),
    ] = None,
    audit_by: Annotated[
        list[str] | None,
        typer.Option(help="A context column in whose values propensities are audited; may be given several times."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be taken.")] = False,
    engine: EngineOption = EngineName.LOCAL,
) -> None:
    """Judge the logged policy, chance, every constant arm and campaigns on logged outcomes, and rank them.

    Writes comparison.json and report.html, and the rows that could not be taken beside them.
    """
    logs.configure("warning")
    files = policy or []
    campaigns = _campaigns([file for file in files if file.suffix != TABLE], attributes)
    given = {file.stem: _table(file) for file in files if file.suffix == TABLE}
    reader = open_log(log, mapping)
    out.mkdir(parents=True, exist_ok=True)
    with Intake(out / f"rejects{_suffix(log)}", strict) as intake, workers(engine) as there:
        question = Question(
            campaigns=campaigns,
            tables=given,
            estimator=estimator,
            interval=Bootstrap(spread=there.map) if interval is IntervalName.BOOTSTRAP else _INTERVALS[interval](),
            publish_every=publish_every,
            rewards=rewards,
            slices=tuple(audit_by or ()),
        )
        comparison = compare(log, reader, intake, question, there)
    (out / "comparison.json").write_bytes(comparison.dumps())
    (out / "report.html").write_text(page(comparison), encoding="utf-8")
    console = Console()
    for table in tables(comparison):
        console.print(table)
    if intake.rejected:
        rows = f"{intake.rejected:,} row{'s' if intake.rejected > 1 else ''} could not be taken"
        console.print(f"{rows}: {intake.rejects}. The first: {intake.problems[0]}")


def _table(file: Path) -> Floats:
    """The probabilities of a table: (arms, places)."""
    try:
        table = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InvalidInput(f"{file}: not an array that numpy.save wrote: {error}") from error
    return np.asarray(table, np.float64).reshape(len(table), -1)


def _suffix(log: str) -> str:
    """Of the file of rejected rows: that of the log, unpacked; those of Parquet are written as JSON."""
    suffix = Path(log.partition("?")[0].removesuffix(".gz")).suffix
    return ".ndjson" if suffix in {"", ".parquet"} else suffix


def _campaigns(files: Sequence[Path], attributes: Path | None) -> dict[str, CampaignFile]:
    """The campaigns by the name in reports: the campaign's id, or the file's name where two have the same id."""
    loaded = [
        (file, load_campaign(file, load_attributes(attributes or file.parent / ATTRIBUTES_FILE))) for file in files
    ]
    times = Counter(campaign.id for _, campaign in loaded)
    found: dict[str, CampaignFile] = {}
    for file, campaign in loaded:
        name = campaign.id if times[campaign.id] == 1 else file.stem
        if name in found:
            raise InvalidInput(f"{file}: another policy is called {name!r} too: rename one of the files")
        found[name] = campaign
    return found
