"""The command of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from api import service
from api.service import Role
from api.visit import Limits
from optimizer.opening import CONFIG, Config, opened, read_campaigns

if TYPE_CHECKING:
    from optimizer.engine import Engine
    from optimizer.settings import Settings

_log = structlog.get_logger(__name__)


def register(app: typer.Typer) -> None:
    """Add `serve` to the command line."""
    app.command()(serve)


def serve(
    config: Config = CONFIG,
    host: Annotated[str | None, typer.Option(help="Instead of the settings' address.", show_default=False)] = None,
    port: Annotated[
        int | None, typer.Option(help="Instead of the settings' port; 0 takes a free one.", min=0, max=65_535)
    ] = None,
    role: Annotated[
        Role, typer.Option(help="api only answers, worker only dispatches, closes and learns; all does both.")
    ] = Role.ALL,
) -> None:
    """Run the service: load the campaigns, answer over HTTP, dispatch, close, learn. SIGTERM ends it cleanly."""
    with opened(config) as (settings, engine):
        load_campaigns(settings, engine)
        service.serve(
            engine,
            settings.host if host is None else host,
            settings.port if port is None else port,
            role=role,
            limits=Limits(settings.rate_limit),
            origins=settings.cors_origins,
        )
    _log.info("service_stopped")


def load_campaigns(settings: Settings, engine: Engine) -> None:
    """Make the versions in the settings' files the current ones. Raises ConfigError, loading none, if one is wrong."""
    for campaign in read_campaigns(settings.campaigns, engine.runtime.attributes):
        changed = engine.load_campaign(campaign)
        _log.info("campaign_loaded", campaign=campaign.id, version=campaign.config_hash, changed=changed)
    if not engine.campaigns():
        _log.warning(
            "no_campaigns", advice="name campaign files in the settings, or load them: optimizer campaign load"
        )
