"""The engine: store, decider, outbox, rewards and trainer composed.

Everything outside the library calls this, the simulator too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
import structlog

from optimizer import audit, metrics
from optimizer.audit import SERVICE
from optimizer.auditing import PropensityAudit
from optimizer.budgets import BudgetReport, Budgets
from optimizer.clock import Clock, SystemClock, from_us, to_us
from optimizer.closing import SETTLE_US, Closing
from optimizer.consents import withdraw
from optimizer.decisions import Decision, DecisionRequest, Decisions
from optimizer.disclosure import Disclosure
from optimizer.dispatch import handling
from optimizer.dispatch.outbox import Outbox
from optimizer.dispatch.trials import Trial, Trials
from optimizer.erasure import erase
from optimizer.errors import NotFound, OptimizerError
from optimizer.facts import CONTACT
from optimizer.ids import DEFAULT_TENANT, IdSource
from optimizer.leases import BEAT_S, Leases
from optimizer.reconciliation import Reconciliation, reconcile
from optimizer.recording import EventIn, Receipt, Recording
from optimizer.removals import Removals, removals
from optimizer.reports import CampaignReport, report
from optimizer.runs import Runs, next_occurrence
from optimizer.runtime import Runtime
from optimizer.secret import Secret
from optimizer.serving import Serving
from optimizer.store import Store, customers, decisions, partitions, rewards, runs
from optimizer.store import audit as audit_log
from optimizer.store.newest import newest_us
from optimizer.suppressing import Whom, about, lift, suppress
from optimizer.trainer import Trainer
from optimizer.verification import Candidate, Check, Logged, Models, verify
from optimizer.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from sqlalchemy import Connection

    from optimizer.attributes import Attributes
    from optimizer.campaign import CampaignFile
    from optimizer.dispatch.handling import TouchReport, Wanted
    from optimizer.dispatch.routes import Routes
    from optimizer.rewards import JoinedReward
    from optimizer.store.audit import AuditRow
    from optimizer.store.customers import Customer
    from optimizer.store.rows import CampaignRow, CustomerRow, DecisionRow, RunRow, TouchRow
    from optimizer.suppression import Bar, Cause

T = TypeVar("T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Something that the scheduler does again and again.

    It may run late, twice or not at all: the tables say what is to be done.
    """

    name: str
    every: timedelta
    run: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with every arm as it saw it, and what came of it.

    `contact` is what contact rules knew of the customer, in the form of `optimizer.contact.facts`. `earned` is what the
    logs say now, with every event beside it, late ones too; it is final once `closed`.
    """

    decision: Decision
    candidates: Sequence[Candidate]
    contact: Mapping[str, Any]
    earned: JoinedReward
    closed: bool


class Engine:
    """One service's logic on one store. Safe to call from any thread.

    Args:
        store: the open database.
        attributes: the declared customer attributes.
        routes: what carries out touches that the service sends.
        clock, ids: time and identifiers, injected so that a simulation is the same code; by default the machine's
            clock, from the newest time on that the store knows of.
        publish_every: how often the trainer learns and publishes, at most.
        secret: what keyed digests are made with; by default a random one that ends with the engine.
        tenant: whose data it is.
        worker: the name under which it takes leases, see `Leases`.
    """

    def __init__(  # noqa: PLR0913 - what a service is made of
        self,
        store: Store,
        attributes: Attributes,
        routes: Routes,
        *,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        publish_every: timedelta = timedelta(minutes=1),
        secret: Secret | None = None,
        tenant: str = DEFAULT_TENANT,
        worker: str | None = None,
    ) -> None:
        clock, ids, secret = clock or _machine_clock(store), ids or IdSource(), secret or Secret.ephemeral()
        runtime = Runtime(store, clock, ids, attributes, secret, tenant, routes=routes)
        self._compose(runtime, routes, publish_every, worker)

    def _compose(self, runtime: Runtime, routes: Routes, publish_every: timedelta, worker: str | None) -> None:
        self.runtime = runtime
        self.versions = Versions(self.runtime)
        self.serving = Serving(self.runtime)
        self._recording = Recording(self.runtime)
        self.leases = Leases(self.runtime, worker)
        self.budgets = Budgets(self.runtime, self.versions, self.leases.worker)
        self._decisions = Decisions(
            self.runtime, self.versions, self.serving, self.budgets, self._recording.take_parked
        )
        self._runs = Runs(self.runtime, self.versions, self._decisions, self.leases)
        self.outbox = Outbox(self.runtime, self.versions, routes)
        self.closing = Closing(self.runtime, self.versions, self.leases)
        self.trainer = Trainer(self.runtime, self.versions, self.serving, self.leases)
        self.auditing = PropensityAudit(self.runtime, self.versions, self.leases)
        self.routes = routes
        self._trials = Trials(self.runtime, self.versions, routes)
        self._publish_every = publish_every
        self.refresh()

    @classmethod
    def at(
        cls, url: str, attributes: Attributes, routes: Routes, publish_every: timedelta, secret: Secret | None = None
    ) -> Engine:
        """An engine on a database URL."""
        store = Store(url)
        try:
            return cls(store, attributes, routes, publish_every=publish_every, secret=secret)
        except BaseException:
            store.close()
            raise

    def of_tenant(self, tenant: str) -> Engine:
        """The engine of another tenant: with data and models of its own, beside this one, and stopped together."""
        other = Engine.__new__(Engine)
        runtime = replace(self.runtime, tenant=tenant)
        other._compose(runtime, self.routes, self._publish_every, self.leases.worker)  # noqa: SLF001 - its own
        return other

    # Campaigns

    def load_campaign(self, campaign: CampaignFile, *, by: str = SERVICE) -> bool:
        """Make a version the current one; whether that changed anything. `by` is who the audit log says did it."""
        changed = self.versions.load(campaign, by)
        self.refresh()
        return changed

    def pause(self, campaign_id: str, *, by: str = SERVICE) -> CampaignRow:
        """Stop deciding and sending for a campaign at once. Raises NotFound."""
        return self.versions.set_state(campaign_id, "paused", by)

    def resume(self, campaign_id: str, *, by: str = SERVICE) -> CampaignRow:
        """Go on with a paused campaign. Raises NotFound."""
        return self.versions.set_state(campaign_id, "resumed", by)

    def rejoin(self, campaign_id: str, *, by: str = SERVICE) -> None:
        """Apply the campaign's current reward to the decisions of the past; they are learned anew. Raises NotFound."""
        self.versions.rejoin(campaign_id, by)

    def campaigns(self) -> list[CampaignReport]:
        """Every campaign as it stands."""
        return self._read(lambda c: [self._report(c, row) for row in self.versions.all(c)])

    def campaign(self, campaign_id: str) -> CampaignReport:
        """One campaign as it stands. Raises NotFound."""
        return self._read(lambda c: self._report(c, self.versions.row(c, campaign_id)))

    def _report(self, connection: Connection, row: CampaignRow) -> CampaignReport:
        return report(connection, self.versions, self.serving, self.budgets, row)

    def budget(self, campaign_id: str) -> BudgetReport | None:
        """How a campaign's budget stands; None where it has none. Raises NotFound."""
        return self._read(lambda c: self.budgets.report(c, self.versions.current(c, campaign_id)))

    def changes(
        self, limit: int, *, object_: str | None = None, since_us: int | None = None, before_id: str | None = None
    ) -> list[AuditRow]:
        """The latest changes of campaigns, keys and customers, the latest first (see `latest_entries`)."""
        query = partial(audit_log.latest_entries, tenant=self.runtime.tenant, limit=limit)
        return self._read(partial(query, object_=object_, since_us=since_us, before_id=before_id))

    # Customers

    def put_customers(self, rows: Sequence[Customer], *, by: str = SERVICE) -> None:
        """Store customers whose facts were checked; each replaces what was known of that customer.

        Of whom that is known already, nothing is written. What was planned by a consent that is gone is cancelled.
        """
        runtime = self.runtime
        now_us = runtime.now_us()

        def change(connection: Connection) -> None:
            known = customers.hold_customers(connection, runtime.tenant, sorted({row.customer_id for row in rows}))
            new = customers.changed_customers(rows, known)
            customers.upsert_customers(connection, runtime.tenant, new, now_us, runtime.ids.uuid4)
            withdraw(connection, runtime, self.versions, new, known)
            audit.note(connection, runtime, by, audit.Action.STORED, audit.stored(runtime.secret, new, known))

        runtime.store.write(change)

    def erase_customer(self, customer_id: str, *, by: str = SERVICE) -> None:
        """Forget who a customer is, and take their planned touches back (see `optimizer.erasure`). Raises NotFound."""
        self.runtime.store.write(lambda c: erase(c, self.runtime, self.outbox, customer_id, by))

    def customer(self, customer_id: str) -> CustomerRow:
        """One customer as stored. Raises NotFound."""
        row = self._read(lambda c: customers.customers_by_ids(c, self.runtime.tenant, [customer_id]).get(customer_id))
        if row is None:
            raise NotFound(f"there is no customer {customer_id!r}")
        return row

    def disclose(self, customer_id: str) -> Disclosure:
        """Everything that is held about a customer. Raises NotFound."""
        return self._read(lambda c: Disclosure.of(c, self.runtime, customer_id))

    def suppress(self, asked: Sequence[tuple[Whom, Cause]], *, by: str = SERVICE) -> None:
        """Have customers or addresses not be reached any more, from now on (see `optimizer.suppressing`)."""
        self.runtime.store.write(lambda connection: suppress(connection, self.runtime, asked, by))

    def lift(self, whom: Whom, *, by: str = SERVICE) -> list[Bar]:
        """Let a customer or an address be reached again; what still bars them."""
        return self.runtime.store.write(lambda connection: lift(connection, self.runtime, whom, by))

    def suppressions(self, whom: Whom) -> list[Bar]:
        """Everything that bars a customer or an address."""
        return self._read(lambda connection: about(connection, self.runtime, whom))

    def subjects(self, customer_ids: Sequence[str]) -> dict[str, str]:
        """The subject id of each known customer."""
        return self._read(lambda c: customers.subjects_by_customers(c, self.runtime.tenant, customer_ids))

    # Decisions

    def decide(self, requests: Sequence[DecisionRequest]) -> list[Decision | OptimizerError]:
        """Decide each request; what cannot be decided gets its error in its place. Durable when this returns."""
        return list(self.deciding(requests).result())

    def deciding(
        self, requests: Sequence[DecisionRequest], *, apart: bool = False
    ) -> Future[Sequence[Decision | OptimizerError]]:
        """Like `decide`, without waiting; callers who ask at the same time are decided in one transaction.

        `apart`: whether each of the requests is a caller's only one, and timed as such.
        """
        began_s = time.perf_counter()
        size = "one" if apart or len(requests) == 1 else "many"

        def note(_deciding: object) -> None:
            took_s = time.perf_counter() - began_s
            for _ in range(len(requests) if apart else 1):
                metrics.observe(metrics.DECIDE_SECONDS, (size,), took_s)

        deciding = self.runtime.store.gather(self._decisions.answer, requests)
        deciding.add_done_callback(note)
        return deciding

    def run(self, campaign_id: str, occasion: str | None = None) -> RunRow:
        """Run a campaign over its audience now, see `Runs.run`."""
        return self._runs.run(campaign_id, occasion)

    def runs(self, campaign_id: str, limit: int = 20) -> list[RunRow]:
        """The campaign's latest runs, the latest first."""
        return self._read(lambda c: runs.runs_of(c, self.runtime.tenant, campaign_id, limit))

    def removals(
        self, campaign_id: str, since: datetime | None = None, until: datetime | None = None
    ) -> Sequence[Removals]:
        """How many arms each reason removed on each day of UTC, see `optimizer.removals`. Raises NotFound."""
        self._read(lambda connection: self.versions.row(connection, campaign_id))
        return removals(self.runtime, campaign_id, since, until)

    def decision(self, decision_id: str) -> Decision:
        """One logged decision. Raises NotFound."""
        return self._read(lambda c: self._decision(c, self._row(c, decision_id)))

    def explain(self, decision_id: str) -> Explanation:
        """One decision: every arm's score and probability, or why it was removed, and its events. Raises NotFound."""

        def look(connection: Connection) -> Explanation:
            row = self._row(connection, decision_id)
            logged = Logged.of(row, self.versions.get(connection, row.campaign_id, row.config_hash))
            tenant = self.runtime.tenant
            heads = decisions.heads_by_ids(connection, tenant, [decision_id])
            (earned,) = self.closing.join(connection, [heads[decision_id]])
            closed = decision_id in rewards.rewards_by_ids(connection, tenant, [decision_id])
            contact = orjson.loads(row.history).get(CONTACT, {})
            return Explanation(self._decision(connection, row), logged.candidates(), contact, earned, closed)

        return self._read(look)

    def verify(self, decision_id: str) -> list[Check]:
        """Recompute one decision from what it stores. Raises NotFound."""
        return self._read(lambda c: self._verify(c, self._row(c, decision_id)))

    def verify_campaign(self, campaign_id: str) -> tuple[int, list[tuple[str, list[Check]]]]:
        """Recompute all decisions of a campaign: how many, and the checks of those of which one does not hold."""
        self.campaign(campaign_id)
        tenant, after, count, models = self.runtime.tenant, "", 0, Models()
        failed: list[tuple[str, list[Check]]] = []
        query = partial(decisions.decision_page, tenant=tenant, campaign_id=campaign_id, limit=1000)
        while page := self._read(partial(query, after_id=after)):
            for row in page:
                checks = self._read(partial(self._verify, row=row, models=models))
                if not all(check.holds for check in checks):
                    failed.append((row.decision_id, checks))
            count += len(page)
            after = page[-1].decision_id
        return count, failed

    def _verify(self, connection: Connection, row: DecisionRow, models: Models | None = None) -> list[Check]:
        version = self.versions.get(connection, row.campaign_id, row.config_hash)
        try:
            logged = Logged.of(row, version)
        except Exception as error:  # noqa: BLE001 - whatever does not fit together, that is the finding
            return [Check("record", holds=False, detail=f"it cannot be read: {error!r}")]
        return verify(connection, logged, models)

    def _row(self, connection: Connection, decision_id: str) -> DecisionRow:
        row = decisions.decision_by_id(connection, self.runtime.tenant, decision_id)
        if row is None:
            raise NotFound(f"there is no decision {decision_id!r}")
        return row

    def _decision(self, connection: Connection, row: DecisionRow) -> Decision:
        catalog = self.versions.get(connection, row.campaign_id, row.config_hash).catalog
        person = customers.customers_by_subjects(connection, self.runtime.tenant, [row.subject_id]).get(row.subject_id)
        arm = catalog.arms[catalog.index[row.arm]] if row.arm is not None else None
        return Decision.of(row, arm, person.customer_id if person else "", replayed=False)

    # Touches

    def reconcile(
        self, campaign_id: str, since: datetime | None = None, until: datetime | None = None
    ) -> Reconciliation:
        """What became of the campaign's decisions, made from `since` on and before `until`. Raises NotFound."""
        self._read(lambda connection: self.versions.row(connection, campaign_id))
        span = (None if since is None else to_us(since), None if until is None else to_us(until))
        return self._read(lambda connection: reconcile(connection, self.runtime.tenant, campaign_id, *span))

    def touches(self, wanted: Wanted, limit: int, before_id: str | None = None) -> list[TouchReport]:
        """Touches, the latest decision first, see `optimizer.dispatch.handling`."""
        return self._read(lambda c: handling.page(c, self.runtime.tenant, wanted, limit, before_id=before_id))

    def retry_touch(self, decision_id: str, *, even_if_sent: bool = False, by: str = SERVICE) -> TouchRow:
        """Have a failed or unknown touch sent after all. Raises NotFound and Conflict, see `handling.retry`."""
        retry = partial(handling.retry, runtime=self.runtime, decision_id=decision_id, by=by)
        return self.runtime.store.write(partial(retry, even_if_sent=even_if_sent))

    def cancel_touch(self, decision_id: str, *, by: str = SERVICE) -> TouchRow:
        """Take a touch back that is not sent yet. Raises NotFound and Conflict."""
        return self.runtime.store.write(partial(handling.cancel, runtime=self.runtime, decision_id=decision_id, by=by))

    # Events

    def record(self, events: Sequence[EventIn]) -> list[Receipt]:
        """Store events, each once, and let them act. Raises InvalidInput, and stores none, where one names nothing."""
        for event in events:
            event.check()
        return list(self.runtime.store.gather(self._recording.record, events).result())

    def receive(self, events: Sequence[EventIn]) -> list[Receipt | OptimizerError]:
        """Like `record`, for a caller who may not report them all: what is refused gets its error in its place."""
        return list(self.record(events))

    def unsubscribe(self, decision_id: str) -> None:
        """The recipient of this decision's touch wants no more of them; again, it changes nothing. Raises NotFound."""
        known = self._read(lambda c: decisions.heads_by_ids(c, self.runtime.tenant, [decision_id]))
        if decision_id not in known:
            raise NotFound(f"there is no decision {decision_id!r}")
        self.record([EventIn(f"unsubscribe:{decision_id}", "unsubscribed", decision_id=decision_id)])

    def send_tests(
        self,
        campaign_id: str,
        message: str,
        channel: str,
        customer_ids: Sequence[str] | None = None,
        *,
        by: str = SERVICE,
    ) -> list[Trial]:
        """Send a message to customers of the campaign's test list, or to all of it now (see `Trials.send`)."""
        return self._trials.send(campaign_id, message, channel, customer_ids, by)

    def void(self, decision_ids: Sequence[str], cause: str) -> None:
        """Leave decisions out of learning and take their planned touches back; the cause must not depend on the arm.

        One that has matured stays as it is. Raises NotFound, and changes nothing, where there is no such decision.
        """
        now_us = self.runtime.now_us()

        def change(connection: Connection) -> None:
            known = decisions.heads_by_ids(connection, self.runtime.tenant, decision_ids)
            for decision_id in decision_ids:
                if decision_id not in known:
                    raise NotFound(f"there is no decision {decision_id!r}")
            decisions.insert_voids(connection, self.runtime.tenant, dict.fromkeys(decision_ids, cause), now_us)
            self.outbox.cancel(connection, decision_ids, cause)

        self.runtime.store.write(change)

    # The jobs

    def refreshing(self) -> Job:
        """What a process does that only answers: it serves what others have published."""
        return Job("refresh", timedelta(seconds=1), self.refresh)

    def jobs(self) -> list[Job]:
        """What the scheduler does, in the order in which it does what is due at one instant."""
        second = timedelta(seconds=1)
        return [
            self.refreshing(),
            Job("beat", timedelta(seconds=BEAT_S), self.leases.beat),
            Job("close", second, self.closing.close_due),
            Job("train", self._publish_every, self.trainer.train_due),
            Job("start_runs", second, self._runs.start_due),
            Job("advance_runs", second, self._runs.advance),
            Job("tend_outbox", second / 2, self.outbox.tend),
            Job("resolve_doubts", 5 * second, self.outbox.resolve),
            Job("dispatch", second / 2, self.outbox.dispatch_rest),
            *(
                Job(f"dispatch_{channel}", second / 2, partial(self.outbox.dispatch, channel))
                for channel in sorted(self.routes.channels)
            ),
            Job("make_partitions", timedelta(hours=1), self._make_partitions),
            Job("audit", timedelta(minutes=1), self.auditing.audit_due),
        ]

    def _make_partitions(self) -> None:
        """Have a place for next month's rows before the first of them comes."""
        now_us = self.runtime.now_us()
        self.runtime.store.write(lambda connection: partitions.make_ahead(connection, now_us))

    def next_due_us(self) -> int | None:
        """The next instant at which a job will find something to do; None while nothing is foreseen."""
        tenant, now_us = self.runtime.tenant, self.runtime.now_us()

        def look(connection: Connection) -> int | None:
            loaded = self.versions.all(connection)
            due = [self.outbox.next_due_us(connection)]
            for row in loaded:
                mature_us = decisions.next_mature_us(connection, tenant, row.campaign_id)
                due.append(None if mature_us is None else mature_us + SETTLE_US)
                settings = self.versions.get(connection, row.campaign_id, row.config_hash).campaign.campaign
                if settings.schedule is not None and row.state == "active":
                    occurrence = next_occurrence(settings.schedule, settings.starts_at, from_us(now_us))
                    due.append((occurrence - from_us(0)) // timedelta(microseconds=1))
            return min((at_us for at_us in due if at_us is not None), default=None)

        return self._read(look)

    def refresh(self) -> None:
        """Serve every campaign's newest readable snapshot."""

        def look(connection: Connection) -> None:
            for row in self.versions.all(connection):
                self.serving.refresh(connection, *self.versions.learning(connection, row.campaign_id))

        self._read(look)

    def stop(self) -> None:
        """Ask runs and jobs to end after the page that they are at; the tables say where they go on."""
        self.runtime.stopping.set()

    def close(self) -> None:
        """Write what is queued, leave the campaigns to the other workers and close the store."""
        self.leases.release()
        self.runtime.store.close()

    def _read(self, query: Callable[[Connection], T]) -> T:
        return self.runtime.store.read(query)


def _machine_clock(store: Store) -> Clock:
    """The machine's clock, which stands still where it is behind what is stored, until it has caught up."""
    newest = from_us(store.read(newest_us))
    clock = SystemClock(newest)
    if clock.now() == newest:
        _log.warning("clock_behind", newest=newest.isoformat(), advice="time stands still until then: set the clock")
    return clock
