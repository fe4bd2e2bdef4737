"""Test sends: a message of a campaign to those on its `test_list`, at once, by the channel's own sender.

A test send is no decision: nothing of it is kept but in the audit log, no limit counts it, and nothing is learned from
it. Whoever is on the list has agreed to it, so that no consent is asked; who is suppressed is not reached even so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from optimizer import audit
from optimizer.dispatch.outgoing import outgoing
from optimizer.dispatch.senders import Outcome, Result
from optimizer.errors import InvalidInput
from optimizer.store import customers
from optimizer.suppression import barring, suppressed
from optimizer.tracebacks import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from optimizer.dispatch.routes import Route, Routes
    from optimizer.dispatch.senders import Outgoing
    from optimizer.runtime import Runtime
    from optimizer.versions import Version, Versions

_log = structlog.get_logger(__name__)


class Came(StrEnum):
    """What came of a test send."""

    SENT = "sent"
    REFUSED = "refused"
    """It was not tried; the detail says why."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It may have been sent or not."""


_OF: dict[Result, Came] = {
    Result.SENT: Came.SENT,
    Result.TEMPORARY: Came.FAILED,
    Result.PERMANENT: Came.FAILED,
    Result.UNKNOWN: Came.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of the test send to one customer."""

    customer_id: str
    came: Came
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Trials:
    """Makes test sends of one tenant's campaigns."""

    runtime: Runtime
    versions: Versions
    routes: Routes

    def send(
        self, campaign_id: str, message: str, channel: str, customer_ids: Sequence[str] | None, by: str
    ) -> list[Trial]:
        """Send the message to these customers of the campaign's test list, or to all of it.

        Raises NotFound for the campaign, and InvalidInput where it cannot send this message on this channel, or has no
        test list.
        """
        version = self.runtime.store.read(lambda connection: self.versions.current(connection, campaign_id))
        _check(version, message, channel)
        asked = list(dict.fromkeys(version.campaign.test_list if customer_ids is None else customer_ids))
        route = self.routes.of(channel)

        def prepare(connection: Connection) -> tuple[dict[str, Trial], list[Outgoing]]:
            refused, touches = self._prepared(connection, version, message, channel, asked, route)
            secret = self.runtime.secret
            details = {
                "config_hash": version.campaign.config_hash,
                "message": message,
                "channel": channel,
                "to": [audit.customer_object(secret, touch.customer_id) for touch in touches],
            }
            audit.note(connection, self.runtime, by, audit.Action.TESTED, {f"campaign:{campaign_id}": details})
            return refused, touches

        refused, touches = self.runtime.store.write(prepare)
        sent = dict(zip((touch.customer_id for touch in touches), _sent(route, touches), strict=True))
        return [refused[each] if each in refused else _trial(each, sent[each]) for each in asked]

    def _prepared(  # noqa: PLR0913, PLR0917 -- what is sent, and to whom
        self,
        connection: Connection,
        version: Version,
        message: str,
        channel: str,
        asked: Sequence[str],
        route: Route,
    ) -> tuple[dict[str, Trial], list[Outgoing]]:
        """Who is refused and why, and what goes to the others."""
        people = customers.customers_by_ids(connection, self.runtime.tenant, asked)
        known = list(people.values())
        barred = dict(zip(people, suppressed(connection, self.runtime, known), strict=True))
        now_us, listed = self.runtime.now_us(), set(version.campaign.test_list)
        refused, touches = {}, []
        for customer_id in asked:
            if customer_id not in listed:
                why = "not on the campaign's test list"
            elif customer_id not in people:
                why = "there is no such customer"
            elif barring(barred[customer_id], channel) is not None:
                why = "suppressed"
            else:
                touch = outgoing(
                    version,
                    people[customer_id],
                    message=message,
                    channel=channel,
                    decision_id=f"test-{self.runtime.ids.uuid7(now_us)}",
                    send_us=now_us,
                    test=True,
                )
                if touch.address is not None or not route.sender.needs_address:
                    touches.append(touch)
                    continue
                why = "no address for this channel"
            refused[customer_id] = Trial(customer_id, Came.REFUSED, why)
        return refused, touches


def _check(version: Version, message: str, channel: str) -> None:
    campaign = version.campaign
    creatives = {each.id: each.creatives for each in version.catalog.messages}
    if message not in creatives:
        raise InvalidInput(f"campaign {campaign.id} has no message {message!r}; it has {', '.join(creatives)}")
    service = [each.id for each in version.catalog.channels if each.dispatch == "service"]
    possible = [each for each in service if each in creatives[message]]
    if channel not in possible:
        can = ", ".join(possible) or "none"
        raise InvalidInput(f"the service does not send message {message} on channel {channel!r}; channels: {can}")
    if not campaign.test_list:
        raise InvalidInput(f"campaign {campaign.id} has no test_list: name customers there")


def _sent(route: Route, touches: Sequence[Outgoing]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for start in range(0, len(touches), route.sender.batch):
        page = touches[start : start + route.sender.batch]
        try:
            outcomes += route.sender.send(page)
        except Exception as error:  # noqa: BLE001 -- senders are others' too
            _log.exception("test_send_failed", channel=page[0].channel)
            outcomes += [Outcome(Result.UNKNOWN, f"the sender has failed: {told(error)}")] * len(page)
    return outcomes


def _trial(customer_id: str, outcome: Outcome) -> Trial:
    return Trial(customer_id, _OF[outcome.result], outcome.detail)
