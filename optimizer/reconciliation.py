"""Reconciliation: what became of every decision of a campaign; the numbers add up to the decisions, always.

Each decision is in exactly one of the numbers, as it stands now. Touches of other systems and test sends are no
decisions, and in none of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from optimizer.store.reconciliation import count_decisions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from optimizer.store.reconciliation import Counted

_NUMBERS: Final = {
    "planned": "planned",
    "leased": "planned",
    "sending": "planned",
    "sent": "sent",
    "delivered": "delivered",
    "opened": "delivered",
    "clicked": "delivered",
    "converted": "delivered",
    "bounced": "bounced",
    "expired": "expired",
    "cancelled": "cancelled",
    "failed": "failed",
    "unknown": "unknown",
}
"""By a touch's state, the number that it is in."""

_NO_REASON: Final = "no_reason"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What became of a campaign's decisions.

    Attributes:
        decided: how many decisions there are.
        not_sent: those that send nothing, by their reason.
        planned: those whose touch is to be sent, or is being sent.
        sent: those sent, of which nothing more is known.
        delivered: those delivered, opened, clicked or converted.
        bounced, expired, failed: those that came to that.
        cancelled: those whose touch was taken back, by why.
        unknown: those of which nobody knows whether they were sent; a touch that is not there is one of these.
    """

    decided: int
    not_sent: Mapping[str, int]
    planned: int
    sent: int
    delivered: int
    bounced: int
    expired: int
    cancelled: Mapping[str, int]
    failed: int
    unknown: int

    @classmethod
    def of(cls, counted: list[Counted]) -> Reconciliation:
        """Those numbers, put together."""
        numbers: Counter[str] = Counter()
        not_sent: Counter[str] = Counter()
        cancelled: Counter[str] = Counter()
        for reason, state, because, n in counted:
            if reason is not None:
                not_sent[reason] += n
            elif state == "cancelled":
                cancelled[because or _NO_REASON] += n
            else:
                numbers[_NUMBERS[state] if state is not None else "unknown"] += n
        return cls(
            decided=sum(row.n for row in counted),
            not_sent=dict(sorted(not_sent.items())),
            planned=numbers["planned"],
            sent=numbers["sent"],
            delivered=numbers["delivered"],
            bounced=numbers["bounced"],
            expired=numbers["expired"],
            cancelled=dict(sorted(cancelled.items())),
            failed=numbers["failed"],
            unknown=numbers["unknown"],
        )

    @property
    def accounted(self) -> int:
        """The sum of all numbers but `decided`, which it equals."""
        whole = self.planned + self.sent + self.delivered + self.bounced + self.expired + self.failed + self.unknown
        return whole + sum(self.not_sent.values()) + sum(self.cancelled.values())


def reconcile(
    connection: Connection, tenant: str, campaign_id: str, since_us: int | None = None, until_us: int | None = None
) -> Reconciliation:
    """What became of a campaign's decisions, made from `since_us` on and before `until_us` (None: all of them)."""
    return Reconciliation.of(count_decisions(connection, tenant, campaign_id, since_us, until_us))
