"""The routes that the settings of a service name: a sender for each channel, and what it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.dispatch.kinds import EVENTS, Kit
from optimizer.dispatch.routes import Callbacks, Route, Routes
from optimizer.dispatch.senders import FileSender
from optimizer.dispatch.signing import Signer
from optimizer.dispatch.templates import Templates
from optimizer.errors import InvalidInput
from optimizer.unsubscribing import Links

if TYPE_CHECKING:
    from optimizer.dispatch.kinds import ChannelSettings
    from optimizer.secret import Secret
    from optimizer.settings import Settings


def routes_of(settings: Settings, secret: Secret) -> Routes:
    """The routes that the settings name; every other channel's touches go to files.

    Raises InvalidInput where a channel's settings cannot be used.
    """
    templates = templates_of(settings, secret)
    channels = {
        channel: _route(each, Kit(channel, templates, settings.outbox)) for channel, each in settings.channels.items()
    }
    return Routes(Route(FileSender(settings.outbox)), channels)


def templates_of(settings: Settings, secret: Secret) -> Templates:
    """What messages say, by the settings."""
    links = None if settings.public_url is None else Links(secret, settings.public_url)
    return Templates(settings.templates, links)


def _route(settings: ChannelSettings, kit: Kit) -> Route:
    return Route(
        settings.make(kit),
        settings.rate,
        settings.daily_capacity,
        settings.guarantee == "at_least_once",
        _callbacks(settings, kit),
    )


def _callbacks(settings: ChannelSettings, kit: Kit) -> Callbacks | None:
    if settings.callbacks is None:
        return None
    place = "callbacks", "secret"
    secret = kit.secret(settings.callbacks.secret, *place)
    try:
        signer = Signer(secret)
    except InvalidInput as error:
        raise kit.wrong(error.message, *place) from error
    return Callbacks(signer, {name: name for name in EVENTS} | settings.callbacks.names)
