"""The log sender: says in the service's log that a touch would go out now, for trying a campaign before it is live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import structlog
from pydantic import Field

from optimizer.dispatch.kinds import ChannelSettings, Kit
from optimizer.dispatch.senders.base import SENT, Outcome, Outgoing

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = structlog.get_logger(__name__)


class LogSettings(ChannelSettings):
    """Into the log, and nowhere else: nobody is reached."""

    kind: Literal["log"] = Field(description="log.")

    def make(self, kit: Kit) -> LogSender:  # noqa: ARG002 -- it needs nothing of it
        """The sender of the channel."""
        return LogSender()


class LogSender:
    """Logs each touch by its decision; nothing of the customer, who has no place in a log."""

    batch: int = 1_000
    needs_address: bool = False

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Log them."""
        for touch in touches:
            _log.info(
                "touch_sent",
                decision=touch.decision_id,
                tenant=touch.tenant,
                campaign=touch.campaign_id,
                channel=touch.channel,
                template=touch.template,
                version=touch.version,
                test=touch.test,
            )
        return [SENT] * len(touches)
