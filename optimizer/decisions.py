"""From requests and audiences to logged decisions: facts gathered, decided and written in one transaction."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from optimizer import history, metrics
from optimizer.choices import Batch, Choices
from optimizer.clock import from_us
from optimizer.contacts import gather
from optimizer.errors import Conflict, InvalidInput, NotFound, OptimizerError
from optimizer.exclusions import claim, excluded
from optimizer.facts import CONTACT, Subject, batch_of, context_of, history_of
from optimizer.groups import GROUPS, Group, assign
from optimizer.reasons import ALLOWED, Reached, Reason
from optimizer.scalars import ZONES
from optimizer.store import customers, decisions, events, ledgers, touches
from optimizer.store.rows import CampaignRow, CustomerRow, DecisionRow, EventRow
from optimizer.store.transactions import after_commit, only_to_write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from optimizer.budgets import Account, Budgets
    from optimizer.catalog import Arm
    from optimizer.runtime import Runtime
    from optimizer.scorer import Scorer
    from optimizer.serving import Served, Serving
    from optimizer.versions import Version, Versions


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """A caller's question: what to do for this customer now.

    Attributes:
        campaign_id, customer_id: whom to decide for.
        request_id: the caller's own id of the question, unique in the campaign; a repeat gets the stored answer.
        attributes: declared attributes that win over those in the customer table.
        timezone: IANA zone that wins over the customer's.
    """

    campaign_id: str
    customer_id: str
    request_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    timezone: str | None = None

    @property
    def body_hash(self) -> str:
        """What tells a repeat from another question about the same customer under the same id.

        The customer's id is no part of it: whoever guesses ids could find by it whose decision was whose.
        """
        body = [dict(self.attributes), self.timezone]
        try:
            written = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # the standard library's writes whatever JSON can say, such as integers of any size
            written = json.dumps(body, sort_keys=True).encode()
        return sha256(written).hexdigest()


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer, as it is logged."""

    decision_id: str
    campaign_id: str
    customer_id: str
    request_id: str | None
    occasion: str | None
    group: Group
    arm: Arm | None
    reason: Reason | None
    propensity: float | None
    decided_at: datetime
    send_at: datetime | None
    expires_at: datetime | None
    config_hash: str
    snapshot_id: str | None
    replayed: bool = False

    @classmethod
    def of(cls, row: DecisionRow, arm: Arm | None, customer_id: str, *, replayed: bool) -> Decision:
        """The answer that a row of the log stands for."""
        return cls(
            row.decision_id,
            row.campaign_id,
            customer_id,
            row.request_id,
            row.occasion,
            Group(row.group_name),
            arm,
            Reason(row.reason) if row.reason else None,
            row.propensity,
            from_us(row.decided_us),
            None if row.send_us is None else from_us(row.send_us),
            None if row.expires_us is None else from_us(row.expires_us),
            row.config_hash,
            row.snapshot_id,
            replayed,
        )


@dataclass(frozen=True, slots=True)
class _Standing:
    """A campaign as it stands: its current version, and whether it is paused."""

    version: Version
    paused: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """Decisions that are made and not written yet.

    Attributes:
        books: the ledger of each subject, before.
        known: the subjects who have a stored one.
        account: the campaign's budget, if it has one.
        reached: what of it was reached for the last of them.
    """

    version: Version
    rows: Sequence[DecisionRow]
    books: Mapping[str, history.Ledger]
    known: Collection[str]
    account: Account | None = None
    reached: Reached | None = None


class Decisions:
    """Makes decisions inside the store's transactions, which hold the customers.

    Args:
        runtime, versions, serving, budgets: the parts of the service.
        on_parked: takes the parked events of decisions that have just appeared.
    """

    def __init__(
        self,
        runtime: Runtime,
        versions: Versions,
        serving: Serving,
        budgets: Budgets,
        on_parked: Callable[[Connection, Sequence[EventRow]], None],
    ) -> None:
        self._runtime = runtime
        self._versions = versions
        self._serving = serving
        self._budgets = budgets
        self._on_parked = on_parked

    def answer(self, connection: Connection, requests: Sequence[DecisionRequest]) -> list[Decision | OptimizerError]:
        """Decide each request, or say why not, in order; of one customer or request id the later sees the earlier."""
        answers: dict[int, Decision | OptimizerError] = {}
        named = self._versions.kept(connection, dict.fromkeys(request.campaign_id for request in requests))
        standings = {name: self._standing(connection, row) for name, row in named.items()}
        people = self._people(
            connection, [r.customer_id for r in requests if isinstance(standings[r.campaign_id], _Standing)]
        )
        waiting = list(enumerate(requests))
        while waiting:
            wave: list[tuple[int, DecisionRequest]] = []
            later: list[tuple[int, DecisionRequest]] = []
            taken: set[tuple[str, int, str]] = set()
            for place, request in waiting:
                keys = {("", 0, request.customer_id), (request.campaign_id, 1, request.request_id)}
                (later if keys & taken else wave).append((place, request))
                taken |= keys
            for campaign_id, standing in standings.items():
                mine = [(place, request) for place, request in wave if request.campaign_id == campaign_id]
                if isinstance(standing, _Standing):
                    answers |= self._answer_campaign(connection, standing, people, mine)
                else:
                    answers |= dict.fromkeys((place for place, _ in mine), standing)
            waiting = later
        return [answers[place] for place in range(len(requests))]

    def _standing(self, connection: Connection, row: CampaignRow | NotFound) -> _Standing | OptimizerError:
        if isinstance(row, NotFound):
            return row
        try:
            return _Standing(self._versions.get(connection, row.campaign_id, row.config_hash), row.state != "active")
        except OptimizerError as error:
            return error

    def _people(self, connection: Connection, customer_ids: Sequence[str]) -> dict[str, CustomerRow]:
        """The customers, held until the transaction ends, so that nobody decides for them beside us."""
        tenant = self._runtime.tenant
        people = customers.hold_customers(connection, tenant, customer_ids)
        # Again for whoever is erased before they are held.
        while strangers := [customer_id for customer_id in customer_ids if customer_id not in people]:
            now_us = self._runtime.now_us()
            customers.ensure_subjects(connection, tenant, strangers, now_us, self._runtime.ids.uuid4)
            people |= customers.hold_customers(connection, tenant, strangers)
        return people

    def _answer_campaign(
        self,
        connection: Connection,
        standing: _Standing,
        people: Mapping[str, CustomerRow],
        requests: Sequence[tuple[int, DecisionRequest]],
    ) -> dict[int, Decision | OptimizerError]:
        if not requests:
            return {}
        tenant, version = self._runtime.tenant, standing.version
        answers: dict[int, Decision | OptimizerError] = {}
        asked = [request.request_id for _, request in requests]
        known = decisions.decisions_by_requests(connection, tenant, version.campaign.id, asked)
        subjects: list[tuple[int, Subject]] = []
        for place, request in requests:
            try:
                stored = known.get(request.request_id)
                if stored is not None:
                    answers[place] = self._replay(connection, people[request.customer_id], request, stored)
                else:
                    subjects.append((place, self._subject(version, people[request.customer_id], request)))
            except OptimizerError as error:
                answers[place] = error
        rows = self.decide(connection, version, [subject for _, subject in subjects], paused=standing.paused)
        for (place, subject), row in zip(subjects, rows, strict=True):
            arm = version.catalog.arms[version.catalog.index[row.arm]] if row.arm is not None else None
            answers[place] = Decision.of(row, arm, subject.customer_id, replayed=False)
        return answers

    def _replay(
        self, connection: Connection, person: CustomerRow, request: DecisionRequest, stored: DecisionRow
    ) -> Decision:
        if stored.subject_id != person.subject_id or stored.request_hash not in {request.body_hash, None}:
            raise Conflict(
                f"request_id {request.request_id!r} of campaign {request.campaign_id!r} was used for another question: "
                "repeat that one as it was, or take a new request_id"
            )
        version = self._versions.get(connection, stored.campaign_id, stored.config_hash)
        arm = version.catalog.arms[version.catalog.index[stored.arm]] if stored.arm is not None else None
        return Decision.of(stored, arm, request.customer_id, replayed=True)

    def _subject(self, version: Version, row: CustomerRow, request: DecisionRequest) -> Subject:
        clean, problems = self._runtime.attributes.validate_row(request.attributes)
        if problems:
            raise InvalidInput("; ".join(f"attributes.{p.field}: {p.message}" for p in problems))
        if request.timezone is not None and request.timezone not in ZONES:
            raise InvalidInput("timezone: expected an IANA time zone such as America/Mexico_City")
        known = {name: clean.get(name) for name in request.attributes}
        context = context_of(version, row, known, request.timezone)
        return Subject(row, context, request.request_id, request.body_hash)

    def decide(
        self, connection: Connection, version: Version, subjects: Sequence[Subject], *, paused: bool
    ) -> list[DecisionRow]:
        """Decide for these customers, each at most once here, and write decisions, planned touches and ledgers."""
        return self.write(connection, self.prepare(connection, version, subjects, paused=paused))

    def prepare(
        self,
        connection: Connection,
        version: Version,
        subjects: Sequence[Subject],
        *,
        paused: bool,
        first_to_wait: Callable[[], object] = bool,
    ) -> Prepared:
        """Read what is known of these customers, whom the transaction holds, and decide; nothing is written yet.

        `first_to_wait` waits for what may need the campaign's budget, see `Account.within`.
        """
        if not subjects:
            return Prepared(version, [], {}, ())
        runtime = self._runtime
        now_us = runtime.now_us()
        served = self._serving.scorer(version)
        ids = runtime.ids.uuid7s(now_us, len(subjects))
        stored = ledgers.ledgers_by_subjects(connection, runtime.tenant, [s.subject_id for s in subjects])
        books = {s.subject_id: history.loads(stored.get(s.subject_id)) for s in subjects}
        contexts = [s.context for s in subjects]
        histories = history_of(list(books.values()), version, now_us)
        settings = version.campaign.groups
        groups = assign([s.customer_id for s in subjects], settings, settings.salt)
        if paused or not version.runs_at(from_us(now_us)):
            batch = batch_of(version, now_us, ids, groups, contexts, histories)
            choices = nothing(batch, len(version.catalog), Reason.CAMPAIGN_NOT_ACTIVE)
            outcome = _Outcome(now_us, ids, batch, histories, choices, None)
            return Prepared(version, _rows(runtime.tenant, version, subjects, outcome), books, stored.keys())
        self._gather(connection, version, subjects, histories, now_us)
        facts = _Facts(version, now_us, ids, groups, contexts, histories, served.scorer if served else None)
        account = self._budgets.account(connection, version)
        reached = None
        if account is None:
            choices = facts.decide()
        else:
            choices, reached = account.within(len(subjects), facts.decide, first_to_wait)
        assert facts.whole is not None  # noqa: S101 - it was decided for
        outcome = _Outcome(now_us, ids, facts.whole, histories, choices, served)
        rows = _rows(runtime.tenant, version, subjects, outcome)
        return Prepared(version, rows, books, stored.keys(), account, reached)

    def _gather(
        self,
        connection: Connection,
        version: Version,
        subjects: Sequence[Subject],
        histories: Sequence[dict[str, Any]],
        now_us: int,
    ) -> None:
        """Note in the histories what contact rules and other campaigns say of these customers."""
        runtime = self._runtime
        found = gather(connection, runtime, version, [s.person for s in subjects], now_us)
        lost = excluded(connection, runtime, self._versions, version, subjects, histories)
        for place, (row, facts) in enumerate(zip(histories, found, strict=True)):
            if place in lost:
                facts["excluded"] = lost[place].value
            if facts:
                row[CONTACT] = facts

    def write(self, connection: Connection, prepared: Prepared) -> list[DecisionRow]:
        """Write what was prepared in this transaction: decisions, planned touches and ledgers."""
        rows = list(prepared.rows)
        if not rows:
            return []
        only_to_write(connection)
        decisions.insert_decisions(connection, rows)
        counted = [(row.tenant, row.campaign_id, row.group_name, row.reason or metrics.SENT) for row in rows]
        after_commit(connection, partial(metrics.count, metrics.DECISIONS, counted))
        after_commit(connection, partial(metrics.add, metrics.ARMS_REMOVED, _arms_removed(rows)))
        self._plan_touches(connection, prepared)
        claim(connection, prepared.version, rows)
        if prepared.reached is Reached.SENDS:
            campaign = prepared.version.campaign
            after_commit(connection, partial(self._versions.pause_soon, campaign.id, campaign.config_hash))
        found = events.take_parked(connection, self._runtime.tenant, rows)
        if found:
            self._on_parked(connection, found)
        return rows

    def _plan_touches(self, connection: Connection, prepared: Prepared) -> None:
        tenant = self._runtime.tenant
        planned, bodies = [], {}
        for row in prepared.rows:
            touch = prepared.version.touch(tenant, row)
            if touch is None:
                continue
            planned.append(touch)
            bodies[row.subject_id] = history.dumps(history.planned(prepared.books[row.subject_id], row.campaign_id))
        if prepared.account is not None:
            prepared.account.use(sum(touch.reserved_micro for touch in planned), prepared.reached)
        if planned:
            touches.insert_touches(connection, planned, prepared.rows[0].decided_us)
            ledgers.put_ledgers(connection, tenant, bodies, known=prepared.known)


def _arms_removed(rows: Sequence[DecisionRow]) -> dict[tuple[str, ...], int]:
    """How many arms each reason removed from decisions of one campaign, by the labels of the metric."""
    counts = np.bincount(np.frombuffer(b"".join([row.removed for row in rows]), np.uint8))
    whose = rows[0].tenant, rows[0].campaign_id
    return {(*whose, Reason.from_code(code).value): int(counts[code]) for code in np.flatnonzero(counts).tolist()}


def nothing(batch: Batch, k: int, reason: Reason) -> Choices:
    """No arm for anybody, all K removed for the same reason."""
    n = len(batch)
    code = reason.code
    return Choices(
        np.full(n, -1), np.full(n, np.nan), np.full(n, code, np.uint8), np.full((n, k), code, np.uint8), scores=None
    )


@dataclass(slots=True)
class _Facts:
    """What is known of some customers, in their order; `whole` is the batch of them once that was decided for."""

    version: Version
    now_us: int
    ids: Sequence[str]
    groups: NDArray[np.uint8]
    contexts: Sequence[Mapping[str, Any]]
    histories: Sequence[dict[str, Any]]
    scorer: Scorer | None
    whole: Batch | None = None

    def decide(self, start: int = 0, reached: Reached | None = None) -> Choices:
        """Decide for those from a place on, for whom so much of the budget is reached; that is noted."""
        if reached is not None:
            for row in self.histories[start:]:
                row.setdefault(CONTACT, {})["budget_reached"] = reached.value
        logged = (self.ids[start:], self.groups[start:], self.contexts[start:], self.histories[start:])
        batch = batch_of(self.version, self.now_us, *logged)
        if start == 0:
            self.whole = batch
        return self.version.decider.decide(batch, self.scorer)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What was known and what was chosen for some subjects, ready to be written."""

    now_us: int
    ids: Sequence[str]
    batch: Batch
    histories: Sequence[Mapping[str, Any]]
    choices: Choices
    served: Served | None


def _rows(tenant: str, version: Version, subjects: Sequence[Subject], outcome: _Outcome) -> list[DecisionRow]:
    campaign, catalog = version.campaign, version.catalog
    now_us, batch, choices, served = outcome.now_us, outcome.batch, outcome.choices, outcome.served
    policies = version.decider.policies(batch, served.scorer.snapshot if served else None)
    written = {code: orjson.dumps(asdict(policy)).decode() for code, policy in policies.items()}
    close_us, mature_us = version.rewards.close_us(now_us), version.rewards.mature_us(now_us)
    removed = choices.removed
    assert removed is not None  # noqa: S101 - details were asked for
    allowed = removed == ALLOWED
    masks = np.packbits(allowed, axis=1)
    arms, reasons = choices.arm.tolist(), choices.reason.tolist()
    propensities, groups, zones = choices.propensity.tolist(), batch.groups.tolist(), batch.schedule_of.tolist()
    rows = []
    for i, subject in enumerate(subjects):
        arm = arms[i]
        send_us, expires_us = None, None
        if arm >= 0 and reasons[i] == ALLOWED:
            send_us, expires_us = version.send_window(batch.schedules[zones[i]], arm)
        scores = choices.scores
        rows.append(
            DecisionRow(
                tenant=tenant,
                decision_id=outcome.ids[i],
                campaign_id=campaign.id,
                config_hash=campaign.config_hash,
                subject_id=subject.subject_id,
                request_id=subject.request_id,
                request_hash=subject.request_hash,
                occasion=subject.occasion,
                decided_us=now_us,
                group_name=GROUPS[groups[i]].value,
                arm=catalog.arms[arm].id if arm >= 0 else None,
                reason=Reason.from_code(reasons[i]).value if reasons[i] else None,
                propensity=propensities[i] if arm >= 0 else None,
                send_us=send_us,
                expires_us=expires_us,
                close_us=close_us,
                mature_us=mature_us,
                snapshot_id=served.snapshot_id if served else None,
                exploration=written[groups[i]],
                context=orjson.dumps(subject.context, option=orjson.OPT_SORT_KEYS).decode(),
                history=orjson.dumps(outcome.histories[i]).decode(),
                candidates=masks[i].tobytes(),
                removed=removed[i][~allowed[i]].tobytes(),
                scores=b"" if scores is None else scores[i][allowed[i]].tobytes(),
            )
        )
    return rows
