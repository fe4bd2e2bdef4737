"""Everything that is held about one customer, a page at a time, so that a long history needs little memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from optimizer import audit
from optimizer.errors import NotFound
from optimizer.store import audit as audit_log
from optimizer.store import customers, decisions, events, external_touches, ledgers, rewards, touches
from optimizer.store.exclusions import claims_of
from optimizer.suppression import bars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection

    from optimizer.runtime import Runtime
    from optimizer.store.audit import AuditRow
    from optimizer.store.exclusions import ClaimRow
    from optimizer.store.rows import CustomerRow, DecisionRow, EventRow, RewardRow, TouchRow, TransitionRow
    from optimizer.suppression import Bar

T = TypeVar("T")

PAGE: Final = 500
"""How many decisions, events or changes are in memory at once."""


class HeldDecision(NamedTuple):
    """A decision about the customer and what came of it.

    `events` are those that name the decision and not the customer: the others are among the customer's own.
    """

    row: DecisionRow
    touch: TouchRow | None
    transitions: Sequence[TransitionRow]
    reward: RewardRow | None
    events: Sequence[EventRow]


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What is held about one customer.

    Attributes:
        ledger: what decisions read of the past, in the form of `optimizer.history`; None where there is none.
        suppressions: those of the customer and of the customer's addresses, by channel.
        claims: the campaign that the customer is in, of each exclusion group.
    """

    runtime: Runtime
    customer: CustomerRow
    ledger: str | None
    suppressions: Sequence[Bar]
    claims: Sequence[ClaimRow]

    @classmethod
    def of(cls, connection: Connection, runtime: Runtime, customer_id: str) -> Disclosure:
        """What is held about this customer. Raises NotFound."""
        row = customers.customers_by_ids(connection, runtime.tenant, [customer_id]).get(customer_id)
        if row is None:
            raise NotFound(f"there is no customer {customer_id!r}")
        book = ledgers.ledgers_by_subjects(connection, runtime.tenant, [row.subject_id]).get(row.subject_id)
        (barred,) = bars(connection, runtime, [row])
        claims = claims_of(connection, runtime.tenant, row.subject_id)
        return cls(runtime, row, book, sorted(barred), claims)

    def decisions(self) -> Iterator[HeldDecision]:
        """Every decision about the customer, in the order of their making."""
        for page in self._pages(self._decisions, lambda held: held.row.decision_id):
            yield from page

    def events(self) -> Iterator[EventRow]:
        """Every event that names the customer, in the order in which they were received."""
        query = partial(events.events_of_subject, tenant=self.runtime.tenant, subject_id=self.customer.subject_id)
        for page in self._pages(lambda c, after: query(c, after_id=after, limit=PAGE), lambda row: row.record_id):
            yield from page

    def external_touches(self) -> Iterator[TouchRow]:
        """Every touch that other systems made, or will make, in the order in which they were reported."""
        tenant, subject_id = self.runtime.tenant, self.customer.subject_id
        query = partial(external_touches.external_of_subject, tenant=tenant, subject_id=subject_id, limit=PAGE)
        for page in self._pages(lambda c, after: query(c, after_id=after), lambda row: row.decision_id):
            yield from page

    def changes(self) -> Iterator[AuditRow]:
        """Every change of the customer in the audit log, the latest first."""
        object_ = audit.customer_object(self.runtime.secret, self.customer.customer_id)
        query = partial(audit_log.latest_entries, tenant=self.runtime.tenant, object_=object_, limit=PAGE)
        for page in self._pages(lambda c, after: query(c, before_id=after or None), lambda row: row.audit_id):
            yield from page

    def _pages(self, query: Callable[[Connection, str], list[T]], id_of: Callable[[T], str]) -> Iterator[Sequence[T]]:
        """The pages of a query that goes on after an id, each read by itself."""
        after = ""
        while page := self.runtime.store.read(lambda connection: query(connection, after)):  # noqa: B023 - run here
            yield page
            after = id_of(page[-1])

    def _decisions(self, connection: Connection, after_id: str) -> list[HeldDecision]:
        tenant, subject_id = self.runtime.tenant, self.customer.subject_id
        rows = decisions.decisions_of_subject(connection, tenant, subject_id, after_id=after_id, limit=PAGE)
        ids = [row.decision_id for row in rows]
        sent = touches.touches_by_ids(connection, tenant, ids)
        transitions = touches.transitions_by_ids(connection, tenant, sent)
        earned = rewards.rewards_by_ids(connection, tenant, ids)
        told = self._told(connection, rows)
        return [
            HeldDecision(
                row,
                sent.get(row.decision_id),
                transitions.get(row.decision_id, []),
                earned.get(row.decision_id),
                told.get(row.decision_id, []),
            )
            for row in rows
        ]

    def _told(self, connection: Connection, rows: Sequence[DecisionRow]) -> dict[str, list[EventRow]]:
        """The events that name these decisions, by id or by request, and not the customer."""
        tenant, subject_id = self.runtime.tenant, self.customer.subject_id
        ids = {row.decision_id: row.decision_id for row in rows}
        asked = {(row.campaign_id, row.request_id): row.decision_id for row in rows if row.request_id is not None}
        found = [
            (ids[event.decision_id or ""], event) for event in events.events_naming_decisions(connection, tenant, ids)
        ]
        for campaign_id in dict.fromkeys(row.campaign_id for row in rows):
            requests = [row.request_id for row in rows if row.campaign_id == campaign_id and row.request_id is not None]
            found += [
                (asked[campaign_id, event.request_id or ""], event)
                for event in events.events_naming_requests(connection, tenant, campaign_id, requests)
            ]
        told: dict[str, list[EventRow]] = {}
        for decision_id, event in sorted(found, key=lambda each: each[1].record_id):
            if event.subject_id != subject_id:
                told.setdefault(decision_id, []).append(event)
        return told
