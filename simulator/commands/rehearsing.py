"""Rehearse a campaign in a world, replay a randomised log, and the demonstration."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from optimizer import logs
from optimizer.config import ATTRIBUTES_FILE, load_attributes, load_campaign, load_file, load_settings
from optimizer.errors import Conflict, InvalidInput
from simulator import reports
from simulator.demo import curl_lines, ending_now
from simulator.engines import EngineName, EngineOption, workers
from simulator.logs.mapping import LogFormat
from simulator.loop import ClosedLoop
from simulator.replay import Orders, benchmarks
from simulator.worlds import FactorialConfig, FactorialWorld, LoggedWorld

if TYPE_CHECKING:
    from optimizer.attributes import Attributes
    from optimizer.campaign import CampaignFile

_SQLITE: Final = "sqlite:///"
_DAY_S: Final = 86_400.0

CampaignFilePath = Annotated[
    Path, typer.Argument(help="The campaign.", metavar="CAMPAIGN", exists=True, dir_okay=False)
]
AttributesPath = Annotated[
    Path | None, typer.Option("--attributes", help="The declared attributes; by default attributes.yaml beside it.")
]
Days = Annotated[int, typer.Option(help="How many virtual days.", min=1)]
Customers = Annotated[int, typer.Option(help="How many customers the world has.", min=1)]
Seed = Annotated[int, typer.Option(help="Same seed, same log.", min=0)]
Out = Annotated[Path, typer.Option(help="The folder for what is written; made if new.", file_okay=False)]


def simulate(  # noqa: PLR0913 - what a simulation is made of
    config: CampaignFilePath,
    *,
    out: Out,
    days: Days = 30,
    customers: Customers = 5_000,
    seed: Seed = 1,
    attributes: AttributesPath = None,
) -> None:
    """Rehearse a campaign in virtual time, in a world whose true effects are known.

    Writes result.json, decisions.parquet and rewards.png.
    """
    campaign, declared = _read(config, attributes)
    world = FactorialWorld(FactorialConfig(), customers, seed)
    starts = campaign.campaign.starts_at
    out.mkdir(parents=True, exist_ok=True)
    # The database may be far larger than memory, and goes where there is room for the results.
    with TemporaryDirectory(dir=out, prefix="database-") as scratch:
        url = f"{_SQLITE}{Path(scratch).absolute() / 'simulation.db'}"
        with closing(ClosedLoop(campaign, declared, world, seed=seed, starts=starts, url=url)) as loop:
            _run(loop, starts, days)
            result = reports.write_simulation(loop, out, seed=seed, days=days)
    Console().print(reports.simulation_table(result))


def replay(  # noqa: PLR0913 - what a replay is made of
    config: CampaignFilePath,
    *,
    log: Annotated[Path, typer.Option(help="The randomised log: CSV, or CSV in .gz.", exists=True, dir_okay=False)],
    layout: Annotated[
        Path, typer.Option("--format", help="How the log is read as customers, arms and outcomes.", exists=True)
    ],
    out: Out,
    orders: Annotated[int, typer.Option(help="Over how many random orders of the log.", min=1)] = 1,
    attributes: AttributesPath = None,
    engine: EngineOption = EngineName.LOCAL,
) -> None:
    """Send a randomised log through the engine, to see what the learning policy would have earned.

    A decision counts where it equals the logged arm. Writes replay.json.
    """
    campaign, declared = _read(config, attributes)
    world = LoggedWorld.read(log, load_file(layout, LogFormat))
    learned = []
    with (
        workers(engine) as there,
        _progress("{task.completed:.0f} of {task.total} orders of {task.fields[rows]:,} customers") as progress,
    ):
        task = progress.add_task("", total=orders, rows=len(world.rows))
        for value in there.map(Orders(campaign, declared, world), range(orders)):
            learned.append(value)
            progress.advance(task)
    others = benchmarks(world)
    reports.write_replay(campaign, learned, others, out / "replay.json")
    Console().print(reports.replay_table(campaign, learned, others))


def demo(
    *,
    config: Annotated[Path, typer.Option(help="The settings of the service that is to show it.")] = Path(
        "configs/demo.yaml"
    ),
    campaign_file: Annotated[Path, typer.Option("--campaign", help="The campaign.")] = Path("configs/factorial.yaml"),
    days: Days = 30,
    customers: Customers = 5_000,
    seed: Seed = 1,
) -> None:
    """Let a campaign learn for a month of virtual time that ends now, on the database of a service.

    Then start the service: `optimizer serve --config configs/demo.yaml`.
    """
    settings = load_settings(config)
    logs.configure("warning")
    if not settings.database.startswith(_SQLITE):
        raise InvalidInput("the demonstration takes a new file of its own: its settings must name sqlite:///PATH")
    database = Path(settings.database.removeprefix(_SQLITE))
    if database.exists():
        raise Conflict(f"{database} exists already: the demonstration starts on a new database, remove the old one")
    declared = load_attributes(settings.attributes_file)
    campaign = load_campaign(campaign_file, declared)
    now = datetime.now(UTC)
    loop = ending_now(campaign, declared, now=now, days=days, customers=customers, seed=seed, url=settings.database)
    with closing(loop):
        _run(loop, now - timedelta(days=days), days)
        result = reports.write_simulation(loop, database.parent, seed=seed, days=days)
        lines = curl_lines(loop, f"http://{settings.host}:{settings.port}")
    Console().print(reports.simulation_table(result))
    typer.echo("\nOn the service with the learned campaign:\n")
    for line in lines:
        typer.echo(line)


def _read(config: Path, attributes: Path | None) -> tuple[CampaignFile, Attributes]:
    logs.configure("warning")
    declared = load_attributes(attributes or config.parent / ATTRIBUTES_FILE)
    return load_campaign(config, declared), declared


def _run(loop: ClosedLoop, starts: datetime, days: int) -> None:
    """Let so many virtual days pass."""
    with _progress("day {task.completed:.0f} of {task.total}, {task.fields[decided]:,} decisions") as progress:
        task = progress.add_task("", total=days, decided=0)
        for now in loop.run(starts + timedelta(days=days)):
            progress.update(task, completed=(now - starts).total_seconds() / _DAY_S, decided=loop.decided)


def _progress(text: str) -> Progress:
    """A bar on stderr, so that stdout has the table alone."""
    columns = (BarColumn(), TextColumn(text), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
