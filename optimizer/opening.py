"""How a command opens a service: its settings, an engine on its database, its campaign files, and who types."""

from __future__ import annotations

import getpass
import os
import re
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from optimizer import logs
from optimizer.campaign import CampaignFile
from optimizer.config import kind_of, load_attributes, load_campaign, load_settings
from optimizer.dispatch.channels import routes_of
from optimizer.engine import Engine
from optimizer.errors import ConfigError, InvalidInput, Problem, Unavailable
from optimizer.ids import DEFAULT_TENANT
from optimizer.scalars import Duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import timedelta

    from optimizer.attributes import Attributes
    from optimizer.settings import Settings

CONFIG: Final = Path("configs/service.yaml")
TENANT: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"
"""What a tenant may be called."""

Config = Annotated[Path, typer.Option("--config", help="The settings of the service.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose data it is about.")]

_DURATION: Final = TypeAdapter["timedelta"](Duration)


@contextmanager
def opened(config: Path, tenant: str = DEFAULT_TENANT) -> Iterator[tuple[Settings, Engine]]:
    """The settings and a tenant's engine on their database, migrated; closed at the end. Logs are as they say.

    Raises ConfigError, InvalidInput, and Unavailable where the database cannot be opened.
    """
    if not re.fullmatch(TENANT, tenant):
        raise InvalidInput(f"--tenant: expected a letter, then at most 63 letters, digits, _, . or -, got {tenant!r}")
    settings = load_settings(config)
    logs.configure(settings.log_level)
    attributes = load_attributes(settings.attributes_file)
    secret = settings.load_secret()
    routes = routes_of(settings, secret)
    try:
        engine = Engine.at(settings.database, attributes, routes, settings.publish_every, secret)
    except (DBAPIError, OSError, ImportError, Unavailable) as error:
        shown = make_url(settings.database).render_as_string()
        advice = "; install campaign-optimizer[postgres]" if isinstance(error, ImportError) else ""
        raise Unavailable(f"the database {shown} cannot be opened: {error}{advice}") from error
    with closing(engine if tenant == DEFAULT_TENANT else engine.of_tenant(tenant)) as theirs:
        yield settings, theirs


def operator() -> str:
    """Who typed the command, as the audit log names them."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        # A container may run as a user who has no name.
        return f"cli:{os.getuid()}"


def read_campaigns(paths: Iterable[Path], attributes: Attributes) -> list[CampaignFile]:
    """The campaigns of these files, and of these folders' files that are campaigns.

    Raises ConfigError with everything wrong in any of them; two campaigns with one id are wrong.
    """
    found: dict[str, tuple[Path, CampaignFile]] = {}
    problems: list[Problem] = []
    for path in dict.fromkeys(_campaign_files(paths)):
        try:
            read = load_campaign(path, attributes)
        except ConfigError as error:
            problems += error.problems
            continue
        other, _ = found.setdefault(read.id, (path, read))
        if other != path:
            problems.append(Problem(str(path), 1, 1, "campaign.id", f"{read.id} is the campaign of {other} already"))
    if problems:
        raise ConfigError(problems)
    return [read for _, read in found.values()]


def _campaign_files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for inner in sorted([*path.glob("*.yaml"), *path.glob("*.yml")]):
            if _may_be_campaign(inner):
                yield inner


def _may_be_campaign(path: Path) -> bool:
    try:
        return kind_of(path) is CampaignFile
    except ConfigError:
        # Whoever loads it as a campaign reports what is wrong with it.
        return True


def span(option: str, text: str) -> timedelta:
    """The length of time that an option such as `90d` says. Raises InvalidInput where it says none."""
    try:
        said = _DURATION.validate_python(text)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{option}: {wrong}") from error
    if not said:
        raise InvalidInput(f"{option}: expected more than {text}")
    return said
