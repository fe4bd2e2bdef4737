"""The settings of a service: where its data is, what it loads, and where it answers."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, Strict, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from optimizer.attributes import did_you_mean
from optimizer.dispatch.kinds import INVALID, Channel, variable
from optimizer.errors import InvalidInput
from optimizer.scalars import Id, Part, Span, Text
from optimizer.secret import MIN_LENGTH, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from optimizer.dispatch.kinds import ChannelSettings

_Part = TypeVar("_Part", bound=Part)

PREFIX: Final = "OPTIMIZER_"
"""What the names of environment variables begin with that stand over the settings of the file."""

DATABASE_URL: Final = "DATABASE_URL"
"""The environment variable by which most platforms name the database; `OPTIMIZER_DATABASE` stands over it."""

_POSTGRESQL: Final = ("postgresql+psycopg", "postgresql", "postgres")


def _check_database(url: str) -> str:
    kind, _, rest = url.partition("://")
    if kind in _POSTGRESQL and rest:
        return f"postgresql+psycopg://{rest}"
    if kind == "sqlite" and rest.removeprefix("/") and rest.startswith("/"):
        return url
    # What was given may hold a password.
    raise ValueError(
        f"got {kind}://...; allowed: sqlite:///PATH, with four slashes for an absolute path, "
        "or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
    )


def _check_public(url: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?(/[A-Za-z0-9._~-]+)*", url):
        raise ValueError(
            f"got {url!r}; expected an address such as https://service.example, without a slash at its end"
        )
    return url


def _whole(number: object) -> object:
    if isinstance(number, bool | float):
        raise ValueError(f"expected a whole number, got {number!r}")  # noqa: TRY004 -- pydantic reports a ValueError
    return number


DatabaseUrl: TypeAlias = Annotated[str, AfterValidator(_check_database)]
Origin: TypeAlias = Annotated[str, Strict(), StringConstraints(pattern=r"^https?://[A-Za-z0-9.-]+(:\d{1,5})?$")]
PublicUrl: TypeAlias = Annotated[str, Strict(), AfterValidator(_check_public)]
Port: TypeAlias = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=65_535)]


class Settings(Part):
    """The settings of a service. Relative paths begin where the command is started."""

    version: Literal[1] = Field(description="The version of this file format.")
    database: DatabaseUrl = Field(
        default="sqlite:///var/optimizer.db",
        description="Where everything is kept: sqlite:///PATH, which is made if new, or postgresql+psycopg://...",
    )
    attributes_file: Path = Field(
        default=Path("configs/attributes.yaml"), description="The file that declares the customer attributes."
    )
    campaigns: tuple[Path, ...] = Field(
        default=(), description="Campaign files, and folders whose campaign files are taken; loaded at every start."
    )
    outbox: Path = Field(
        default=Path("var/outbox"), description="The folder into which touches are sent, a file for each channel."
    )
    channels: dict[Id, Channel] = Field(
        default_factory=dict,
        description="What carries out the touches of channels, by their ids; those of every other channel go to "
        "`outbox`.",
    )
    templates: Path = Field(
        default=Path("configs/templates"), description="The folder of the templates that messages are made from."
    )
    public_url: PublicUrl | None = Field(
        default=None,
        description="How this service is reached from outside, where recipients unsubscribe; without it messages have "
        "no such link.",
    )
    secret: SecretStr | None = Field(
        default=None,
        min_length=MIN_LENGTH,
        description="What keyed digests are made with, 32 characters at least; it stands over `secret_file`. Give it "
        "as OPTIMIZER_SECRET rather than in a file.",
    )
    secret_file: Path = Field(
        default=Path("var/secret"), description="The file with the secret; made with a random one if new."
    )
    host: Text = Field(default="127.0.0.1", description="The address at which the service answers.")
    port: Port = Field(
        default=8080, description="The port at which the service answers; 0 takes a free one, which the log names."
    )
    rate_limit: Annotated[int, BeforeValidator(_whole)] = Field(
        default=2000, ge=1, description="How many requests a second each key may send to each process of the service."
    )
    cors_origins: tuple[Origin, ...] = Field(
        default=(), description="The origins of web pages that may ask from a browser; none is the safe choice."
    )
    publish_every: Span = Field(
        default=timedelta(seconds=60), description="Time between two looks of the trainer for new rewards."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important kind of message that is logged."
    )

    def load_secret(self) -> Secret:
        """The service's secret. Raises InvalidInput where its file is of no use."""
        if self.secret is not None:
            return Secret(self.secret.get_secret_value().encode())
        return Secret.from_file(self.secret_file)


class _FromEnvironment(Settings, BaseSettings):
    """The same settings as texts in environment variables; lists and the like are JSON."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)


def overrides() -> dict[str, Any]:
    """The settings that environment variables give, not checked yet.

    Raises InvalidInput for a variable that begins with the prefix and names no setting, or whose JSON cannot be read.
    """
    names = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields.keys() - {"version"}}
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name.upper() not in names and not _of_channel(name):
            near = did_you_mean(name.upper(), sorted(names))
            raise InvalidInput(f"environment variable {name}: there is no such setting{near}")
    try:
        found: dict[str, Any] = EnvSettingsSource(_FromEnvironment)()
    except SettingsError as error:
        raise InvalidInput(f"environment variable: {error}, which expects JSON") from error
    if "database" not in found and DATABASE_URL in os.environ:
        found["database"] = os.environ[DATABASE_URL]
    return found


def overridden(settings: Settings, given: dict[str, Any]) -> Settings:
    """The settings with those that were given elsewhere over them. Raises InvalidInput where one is not acceptable."""
    try:
        found = Settings.model_validate({name: getattr(settings, name) for name in Settings.model_fields} | given)
        return found.model_copy(update={"channels": _with_secrets(found.channels)})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        if first["type"] == INVALID:
            first, name = first["ctx"]["cause"].errors(include_url=False)[0], "CHANNELS"
        raise InvalidInput(f"environment variable {PREFIX}{name.upper()}: {first['msg']}") from error


def _of_channel(name: str) -> bool:
    return name.upper().startswith(f"{PREFIX}CHANNELS__")


def _with_secrets(channels: dict[str, ChannelSettings]) -> dict[str, ChannelSettings]:
    """The channels with the secrets that variables such as `OPTIMIZER_CHANNELS__EMAIL__PASSWORD` give.

    Raises InvalidInput for one that names no secret of a channel that there is, or is not acceptable.
    """
    left = {name.upper(): value for name, value in os.environ.items() if _of_channel(name)}
    names = sorted(name for channel, settings in channels.items() for name in _secrets(settings, channel))
    for name in left:
        if name not in names:
            near = did_you_mean(name, names)
            raise InvalidInput(f"environment variable {name}: no channel has such a secret{near}")
    return {channel: _filled(settings, left, channel) for channel, settings in channels.items()}


def _secrets(part: Part, *at: str) -> Iterator[str]:
    """The variables that may give the secrets of a channel."""
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, Part):
            yield from _secrets(value, *at, name)
        elif SecretStr in get_args(field.annotation):
            yield variable(*at, name)


def _filled(part: _Part, given: Mapping[str, str], *at: str) -> _Part:
    """The part with those of its secrets that are given."""
    fields: dict[str, Any] = dict(part)
    for name, value in dict(part).items():
        if isinstance(value, Part):
            fields[name] = _filled(value, given, *at, name)
        elif variable(*at, name) in given:
            fields[name] = given[variable(*at, name)]
    try:
        return type(part).model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidInput(f"environment variable {variable(*at, *map(str, first['loc']))}: {first['msg']}") from error
