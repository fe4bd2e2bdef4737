"""The rules once more, just before a touch is sent: whether it may go out now, by what is known now.

The customers are held. What may not go is cancelled or has expired, with its reason; what may go later in its window is
put off. Dates of the arm, eligibility, exclusion, `max_touches` and the budget held when it was decided and are not
asked again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import orjson

from optimizer.choices import Batch
from optimizer.clock import from_us, to_us
from optimizer.contacts import gather
from optimizer.facts import context_of, place_of, schedules_of
from optimizer.ids import words
from optimizer.reasons import ALLOWED, Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.runtime import Runtime
    from optimizer.store.outbox import Plan
    from optimizer.store.rows import CampaignRow, CustomerRow, TouchRow
    from optimizer.versions import Version, Versions

ERASED: Final = "customer_erased"
"""Why a touch is cancelled whose customer was erased."""
PAUSED: Final = "campaign_paused"
"""Why a touch waits."""


class Verdict(NamedTuple):
    """What is to become of a touch: `sending`, `planned` (from `due_us` on), `cancelled` or `expired`, and why."""

    state: str
    reason: str | None = None
    due_us: int | None = None


GO: Final = Verdict("sending")
_HOURS: Final = frozenset({Reason.QUIET_HOURS, Reason.BLACKOUT})
"""What passes: a touch waits for the end of it, if something of its window is left then."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What touches are judged by, kept and held until the transaction ends.

    Attributes:
        campaigns: how each campaign stands, by id.
        people: the customers, by subject; who was erased is not there.
        plans: what was decided, by decision id.
    """

    campaigns: Mapping[str, CampaignRow]
    people: Mapping[str, CustomerRow]
    plans: Mapping[str, Plan]


class Recheck:
    """Judges touches that were leased, inside the transaction that holds their customers."""

    def __init__(self, runtime: Runtime, versions: Versions) -> None:
        self._runtime = runtime
        self._versions = versions

    def verdicts(
        self,
        connection: Connection,
        page: Sequence[TouchRow],
        facts: Facts,
        now_us: int,
        *,
        without: Collection[str],
    ) -> dict[str, Verdict]:
        """What is to become of these touches, one of each customer at most, by decision id.

        The touches of the decisions `without` (these, and those that come after them) are in nobody's way.
        """
        people, plans = facts.people, facts.plans
        found: dict[str, Verdict] = {}
        open_: dict[tuple[str, str], list[TouchRow]] = {}
        for touch in page:
            standing = self._standing(connection, facts.campaigns[touch.campaign_id], touch, now_us)
            if touch.subject_id not in people:
                found[touch.decision_id] = Verdict("cancelled", ERASED)
            elif touch.decision_id not in plans:
                found[touch.decision_id] = Verdict("cancelled", "no_decision")
            elif standing is not None:
                found[touch.decision_id] = standing
            else:
                open_.setdefault((touch.campaign_id, plans[touch.decision_id].config_hash), []).append(touch)
        for (campaign_id, config_hash), mine in open_.items():
            version = self._versions.get(connection, campaign_id, config_hash)
            persons = [people[touch.subject_id] for touch in mine]
            gathered = gather(connection, self._runtime, version, persons, now_us, without=without)
            plan = [plans[touch.decision_id] for touch in mine]
            found |= self._by_rules(version, mine, persons, plan, gathered, now_us)
        return found

    def _standing(self, connection: Connection, row: CampaignRow, touch: TouchRow, now_us: int) -> Verdict | None:
        """What the touch's time and its campaign, as it stands now, say; None: nothing against it."""
        if now_us >= touch.expires_us:
            return Verdict("expired", Reason.EXPIRED_LATE.value)
        settings = self._versions.get(connection, touch.campaign_id, row.config_hash).campaign.campaign
        if settings.ends_at is not None and now_us >= to_us(settings.ends_at):
            return Verdict("expired", Reason.CAMPAIGN_NOT_ACTIVE.value)
        if row.state != "active":
            return Verdict("planned", PAUSED)
        if now_us < to_us(settings.starts_at):
            return _put_off(touch, to_us(settings.starts_at), Reason.CAMPAIGN_NOT_ACTIVE)
        return None

    @staticmethod
    def _by_rules(  # noqa: PLR0913, PLR0917 - the columns of a batch
        version: Version,
        page: Sequence[TouchRow],
        people: Sequence[CustomerRow],
        plans: Sequence[Plan],
        facts: Sequence[dict[str, Any]],
        now_us: int,
    ) -> dict[str, Verdict]:
        """What the contact rules say of touches of one version."""
        contexts = [_context(version, person, plan) for person, plan in zip(people, plans, strict=True)]
        places = [place_of(version, context) for context in contexts]
        distinct = {place: i for i, place in enumerate(dict.fromkeys(places))}
        batch = Batch(
            words=words([touch.decision_id for touch in page]),
            groups=np.zeros(len(page), np.uint8),
            context={},
            history={},
            touches=np.zeros(len(page), np.intp),
            schedules=schedules_of(version, list(distinct), [from_us(now_us)] * len(distinct)),
            schedule_of=np.array([distinct[place] for place in places], np.intp),
            contact=version.contact.reader.read(facts) if version.contact.active or any(facts) else None,
        )
        arms = np.array([version.catalog.index[plan.arm] for plan in plans], np.intp)
        codes, until_us = version.decider.held_back(batch, arms)
        return {
            touch.decision_id: _verdict(touch, code, until)
            for touch, code, until in zip(page, codes.tolist(), until_us.tolist(), strict=True)
        }


def _verdict(touch: TouchRow, code: int, until_us: int) -> Verdict:
    if code == ALLOWED:
        return GO
    reason = Reason.from_code(code)
    if reason in _HOURS:
        return _put_off(touch, until_us, reason)
    return Verdict("cancelled", reason.value)


def _put_off(touch: TouchRow, due_us: int, reason: Reason) -> Verdict:
    """Later in its window, if anything of it is left by then."""
    if 0 < due_us < touch.expires_us:
        return Verdict("planned", reason.value, due_us)
    return Verdict("expired", reason.value)


def _context(version: Version, person: CustomerRow, plan: Plan) -> dict[str, Any]:
    """What is known now, with what only the request said when it was decided."""
    logged, known = orjson.loads(plan.context), orjson.loads(person.attributes)
    asked = {name: value for name, value in logged["attributes"].items() if name not in known}
    zone = logged["timezone"] if logged["timezone_source"] == "request" else None
    return context_of(version, person, asked, zone)
