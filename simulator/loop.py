"""The closed loop in virtual time: a world of customers around the very engine, jobs and trainer of the service.

The clock stands still while something happens and then jumps to the next instant at which a job has something to do or
the world something to report. Same seed, same log, to the byte: clock and ids are injected, and everything runs in one
order.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from optimizer.clock import VirtualClock, from_us, to_us
from optimizer.dispatch.routes import Routes
from optimizer.dispatch.senders import SENT
from optimizer.engine import Engine
from optimizer.errors import InvalidInput
from optimizer.facts import columns_of
from optimizer.ids import IdSource
from optimizer.recording import EventIn
from optimizer.secret import MIN_LENGTH, Secret
from optimizer.store import Store, decisions
from optimizer.store.customers import Customer
from simulator.measured import Measured
from simulator.worlds.factorial import NO_SEND, FactorialWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from optimizer.attributes import Attributes
    from optimizer.campaign import CampaignFile
    from optimizer.dispatch.senders import Outcome, Outgoing
    from optimizer.store.rows import DecisionRow

REPORT_EVERY = timedelta(minutes=30)
"""The world reports what happened in batches, this far apart at most."""

_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class _Pending:
    """A touch that the world waits for: whom, which arm, and the history at the decision."""

    customer: int
    arm: int
    history: Mapping[str, Any]


class ClosedLoop:
    """A campaign in a factorial world.

    Args:
        campaign: its arms are those of the world, in the same order.
        attributes: the declared attributes.
        world: the customers.
        seed: of ids and outcomes.
        starts: when virtual time begins.
        url: the database.
        publish_every: as in the service, in virtual time.

    Raises `InvalidInput` where the campaign's arms are not those of the world.
    """

    batch = 5_000
    needs_address = False

    def __init__(  # noqa: PLR0913 - what a simulation is made of
        self,
        campaign: CampaignFile,
        attributes: Attributes,
        world: FactorialWorld,
        *,
        seed: int,
        starts: datetime,
        url: str = "sqlite://",
        publish_every: timedelta = timedelta(minutes=1),
    ) -> None:
        self.clock = VirtualClock(starts)
        ids = IdSource(np.random.default_rng([seed, 1]).bytes)
        self.campaign = campaign
        self.world = world
        secret = Secret(np.random.default_rng([seed, 3]).bytes(MIN_LENGTH))
        self.engine = Engine(
            Store(url),
            attributes,
            Routes.to(self),
            clock=self.clock,
            ids=ids,
            publish_every=publish_every,
            secret=secret,
        )
        self._rng = np.random.default_rng([seed, 2])
        self._rows = world.customers()
        self._index = {row["customer_id"]: i for i, row in enumerate(self._rows)}
        self._subjects: dict[str, int] = {}
        self._pending: dict[str, _Pending] = {}
        self._happening: list[tuple[int, int, EventIn]] = []
        self._counter = 0
        self._last_seen = ""
        self._measured: list[Measured] = []
        self.engine.load_campaign(campaign)
        self._version = self.engine.versions.compile(campaign)
        if tuple(self._version.catalog.index) != world.arm_ids:
            raise InvalidInput(
                f"campaign {campaign.id!r} has other arms than the factorial world, or in another order: "
                f"its messages, channels and slots must be those of configs/factorial.yaml"
            )
        self.engine.put_customers([Customer(**row) for row in self._rows])
        self._next_job = {job.name: starts for job in self.engine.jobs()}

    def run(self, until: datetime) -> Iterator[datetime]:
        """Go on to `until`; yields the virtual time after every step."""
        while self.clock.now() < until:
            self.clock.advance_to(min(self._next_instant(), until))
            self._report()
            for job in self.engine.jobs():
                if self._next_job[job.name] <= self.clock.now():
                    job.run()
                    self._next_job[job.name] = self.clock.now() + job.every
            self._look()
            yield self.clock.now()

    @property
    def decided(self) -> int:
        """How many decisions were made so far."""
        return sum(len(part) for part in self._measured)

    @property
    def happened(self) -> int:
        """How many events the world has made, those to come included."""
        return self._counter

    @property
    def measured(self) -> Measured:
        """The true values of every decision so far."""
        return Measured.concatenate(self._measured)

    def close(self) -> None:
        """Close the engine's store."""
        self.engine.close()

    def send(self, touches: Sequence[Outgoing]) -> Sequence[Outcome]:
        """The world's side of every channel: touches arrive, and people respond."""
        self._look()
        waiting = [self._pending.pop(touch.decision_id) for touch in touches]
        self._respond([touch.decision_id for touch in touches], waiting)
        return [SENT] * len(touches)

    def _next_instant(self) -> datetime:
        now = self.clock.now()
        due_us = self.engine.next_due_us()
        instants = [now + REPORT_EVERY] if self._happening else []
        if due_us is not None:
            # What is due now and still there waits for a job that runs only every so often.
            instants.append(max(from_us(due_us), now + timedelta(milliseconds=500)))
        return min(instants, default=now + timedelta(days=1))

    def _report(self) -> None:
        """Report what has happened up to now."""
        now_us = to_us(self.clock.now())
        events = []
        while self._happening and self._happening[0][0] <= now_us:
            events.append(heapq.heappop(self._happening)[2])
        if events:
            self.engine.record(events)

    def _look(self) -> None:
        """See which decisions were made, value them, and let those respond who get nothing."""
        store, tenant = self.engine.runtime.store, self.engine.runtime.tenant
        query = partial(decisions.decision_page, tenant=tenant, campaign_id=self.campaign.id, limit=_PAGE)
        while rows := store.read(partial(query, after_id=self._last_seen)):
            self._last_seen = rows[-1].decision_id
            self._take(rows)

    def _take(self, rows: Sequence[DecisionRow]) -> None:
        version = self._version
        histories = [orjson.loads(row.history) for row in rows]
        _, history = columns_of(version, {}, [{"attributes": {}}] * len(rows), histories)
        people = np.array([self._customer(row.subject_id) for row in rows], np.intp)
        arms = np.array([NO_SEND if row.arm is None else version.catalog.index[row.arm] for row in rows], np.intp)
        expected = self.world.expected(people, history)
        self._measured.append(
            Measured(
                np.array([row.decided_us for row in rows], np.int64),
                np.array([row.group_name for row in rows]),
                expected[np.arange(len(rows)), arms],
                expected.max(axis=1),
                expected.mean(axis=1),
            )
        )
        quiet = []
        for i, row in enumerate(rows):
            facts = {name: column[i] for name, column in history.items()}
            pending = _Pending(int(people[i]), int(arms[i]), facts)
            if row.send_us is None:
                quiet.append((row.decision_id, pending))
            else:
                self._pending[row.decision_id] = pending
        self._respond([decision_id for decision_id, _ in quiet], [pending for _, pending in quiet])

    def _customer(self, subject_id: str) -> int:
        if subject_id not in self._subjects:
            known = self.engine.subjects(list(self._index))
            self._subjects = {subject: self._index[customer] for customer, subject in known.items()}
        return self._subjects[subject_id]

    def _respond(self, decision_ids: Sequence[str], pending: Sequence[_Pending]) -> None:
        if not pending:
            return
        people = np.array([p.customer for p in pending], np.intp)
        history = {name: np.array([p.history[name] for p in pending]) for name in pending[0].history}
        got = self.world.respond(people, np.array([p.arm for p in pending], np.intp), history, self._rng)
        for happened, delay_s, make in (
            (got.opened, got.open_delay_s, self._opened),
            (got.unsubscribed, got.open_delay_s, self._unsubscribed),
            (got.converted, got.conversion_delay_s, self._converted),
        ):
            for i in np.flatnonzero(happened).tolist():
                self._happen(float(delay_s[i]), decision_ids[i], pending[i].customer, make)

    def _happen(self, delay_s: float, decision_id: str, customer: int, make: Callable[..., EventIn]) -> None:
        at_us = to_us(self.clock.now()) + int(delay_s * 1e6)
        self._counter += 1
        event = make(f"sim-{self._counter:09d}", from_us(at_us), decision_id, self._rows[customer]["customer_id"])
        heapq.heappush(self._happening, (at_us, self._counter, event))

    @staticmethod
    def _opened(event_id: str, at: datetime, decision_id: str, _customer_id: str) -> EventIn:
        return EventIn(event_id, "opened", at, decision_id=decision_id)

    @staticmethod
    def _unsubscribed(event_id: str, at: datetime, decision_id: str, _customer_id: str) -> EventIn:
        return EventIn(event_id, "unsubscribed", at, decision_id=decision_id)

    @staticmethod
    def _converted(event_id: str, at: datetime, _decision_id: str, customer_id: str) -> EventIn:
        # As a shop knows it: somebody bought, nobody says why.
        return EventIn(event_id, "converted", at, customer_id=customer_id)
