"""What contact rules read of customers, from the tables: gathered for many at once, and logged as it was used.

The customers are held before, and until what is decided by it is committed: of two who decide for the same customer,
the second sees what the first has reserved. What is read is logged with the decision, in the form of
`optimizer.contact.facts`, so that `verify` filters by what was known then and not by today's tables.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import orjson

from optimizer.dispatch.senders import addresses_of
from optimizer.history import DAY_US
from optimizer.reasons import Reason
from optimizer.store import contacts, events
from optimizer.suppression import EVERY, suppressed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection

    from optimizer.contact.rules import ContactRules
    from optimizer.runtime import Runtime
    from optimizer.store.rows import CustomerRow
    from optimizer.versions import Version

NAMED_US: Final = 92 * DAY_US
"""How long after a decision an event that names it, and not the customer, is still found."""


def gather(  # noqa: PLR0913 - for whom, for what, and when
    connection: Connection,
    runtime: Runtime,
    version: Version,
    people: Sequence[CustomerRow],
    now_us: int,
    *,
    without: Collection[str] = (),
) -> list[dict[str, Any]]:
    """The contact facts of each customer, as they are logged; all are held. Nothing is read that no rule asks for.

    The touches of the decisions `without` are left out: a touch that is about to be sent is not in its own way.
    """
    rules = version.contact
    distinct = list({person.subject_id: person for person in people}.values())
    subject_ids = [person.subject_id for person in distinct]
    read: dict[str, Mapping[str, Any]] = {
        "consents": _consents(rules, distinct),
        "barred": _barred(connection, runtime, version, distinct),
        "touches": _touches(connection, runtime.tenant, rules, subject_ids, now_us, without),
        "outcomes": _outcomes(connection, runtime.tenant, rules, subject_ids, now_us),
    }
    known = {name: found for name, found in read.items() if found}
    return [
        {name: found[person.subject_id] for name, found in known.items() if person.subject_id in found}
        for person in people
    ]


def _consents(rules: ContactRules, people: Sequence[CustomerRow]) -> dict[str, list[str]]:
    """By subject the names of the consents given, of those that the catalog's channels ask for."""
    given = {}
    for person in people if rules.consents else ():
        stored: Mapping[str, bool] = orjson.loads(person.consents)
        if names := sorted(name for name in rules.consents if stored.get(name) is True):
            given[person.subject_id] = names
    return given


def _barred(
    connection: Connection, runtime: Runtime, version: Version, people: Sequence[CustomerRow]
) -> dict[str, dict[str, str]]:
    """By subject and channel of the catalog (or `EVERY`) why the customer cannot be reached there."""
    needing = [
        channel.id
        for channel in version.catalog.channels
        if channel.dispatch == "service" and _needs_address(runtime, channel.id)
    ]
    barred = {}
    for person, bars in zip(people, suppressed(connection, runtime, people), strict=True):
        if EVERY in bars:
            found = {EVERY: Reason.SUPPRESSED.value}
        else:
            known = addresses_of(person.addresses) if needing else {}
            found = {each: Reason.NO_ADDRESS.value for each in needing if not known.get(each)}
            found |= {each: Reason.SUPPRESSED.value for each in version.channel_ids if each in bars}
        if found:
            barred[person.subject_id] = found
    return barred


def _needs_address(runtime: Runtime, channel: str) -> bool:
    return runtime.routes is not None and runtime.routes.needs_address(channel)


def _touches(  # noqa: PLR0913, PLR0917 - whose, how far back, and which not
    connection: Connection,
    tenant: str,
    rules: ContactRules,
    subject_ids: Sequence[str],
    now_us: int,
    without: Collection[str],
) -> dict[str, list[list[Any]]]:
    """By subject the touches that count, by time, as far back as the rules reach."""
    found: dict[str, list[list[Any]]] = {}
    if rules.reach_us:
        for touch in contacts.counted_touches(connection, tenant, subject_ids, now_us - rules.reach_us):
            if touch.decision_id not in without:
                found.setdefault(touch.subject_id, []).append(list(touch[2:]))
    return _by_time(found)


def _outcomes(
    connection: Connection, tenant: str, rules: ContactRules, subject_ids: Sequence[str], now_us: int
) -> dict[str, list[list[Any]]]:
    """By subject the events that cooldowns follow, by time: those that name a decision, and those that do not."""
    found: dict[str, list[list[Any]]] = {}
    if rules.events:
        after_us = now_us - rules.events_reach_us
        for named in contacts.named_outcomes(
            connection, tenant, subject_ids, after_us=after_us, until_us=now_us, decided_us=after_us - NAMED_US
        ):
            if named.name in rules.events:
                found.setdefault(named.subject_id, []).append(list(named[1:]))
        for event in events.events_of_subjects(connection, tenant, subject_ids, since_us=after_us + 1, until_us=now_us):
            if event.name in rules.events:
                outcome = [event.occurred_us, event.name, event.campaign_id, None, None, None]
                found.setdefault(event.subject_id or "", []).append(outcome)
    return _by_time(found)


def _by_time(found: dict[str, list[list[Any]]]) -> dict[str, list[list[Any]]]:
    for each in found.values():
        if len(each) > 1:
            each.sort(key=itemgetter(0))
    return found
